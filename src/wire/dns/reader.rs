//! Numbers and bytes of a message, one after the other.

/// A place in a message. What is not there is nothing, and never a panic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    message: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// The beginning of a message.
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { message, position: 0 }
    }

    /// Another place of the same message.
    pub(super) fn at(self, position: usize) -> Self {
        Self { position, ..self }
    }

    /// The same place of a message that ends after so many bytes more.
    pub(super) fn ending_after(self, length: usize) -> Option<Self> {
        Some(Self { message: self.message.get(..self.position.checked_add(length)?)?, ..self })
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(self) -> bool {
        self.position >= self.message.len()
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(length)?;
        let taken = self.message.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = self.message.get(self.position..).unwrap_or_default();
        self.position = self.message.len();
        rest
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
}
