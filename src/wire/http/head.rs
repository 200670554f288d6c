//! Heads of responses that are not quite right, and that Go's `net/http` takes.

/// Mends the heads of HTTP/1 in the bytes of a connection, in place: of several blanks before the status one stays, and a blank within the name
/// of a field becomes `_`, so that nobody takes the field for another one. What follows the last head stays as it is.
#[derive(Debug, Default)]
pub struct Head {
    at: Place,
    /// The status, as far as it was read.
    status: u16,
}

/// Where in a head.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first blank of its first line.
    #[default]
    Version,
    /// Before the status.
    Blanks,
    /// In the status.
    Status,
    /// Behind it, or behind a field's name.
    Line,
    /// At the beginning of a line.
    Start,
    /// In the name of a field.
    Name,
    /// Behind the head.
    Over,
}

impl Head {
    /// Mends the next bytes from the server; says how many of them are left, at their beginning.
    pub fn mend(&mut self, bytes: &mut [u8]) -> usize {
        let mut left = 0;
        for read in 0..bytes.len() {
            if self.at == Place::Over {
                bytes.copy_within(read.., left);
                return left + bytes.len() - read;
            }
            if let Some(byte) = self.byte(bytes[read]) {
                bytes[left] = byte;
                left += 1;
            }
        }
        left
    }

    /// What becomes of a byte.
    fn byte(&mut self, byte: u8) -> Option<u8> {
        self.at = match (self.at, byte) {
            (Place::Blanks, b' ') => return None,
            (Place::Name, b' ') => return Some(b'_'),
            (Place::Version, b' ') => Place::Blanks,
            (Place::Blanks | Place::Status, b'0'..=b'9') => {
                self.status = self.status.saturating_mul(10).saturating_add((byte - b'0').into());
                Place::Status
            }
            // Interim responses have another head behind them (RFC 9110, section 15.2), but for one.
            (Place::Start, b'\n') => match std::mem::take(&mut self.status) {
                100 | 102..=199 => Place::Version,
                _ => Place::Over,
            },
            (Place::Version, _) => Place::Version,
            (_, b'\n') => Place::Start,
            (Place::Start, b'\r') => Place::Start,
            // The line before goes on.
            (Place::Start, b' ' | b'\t') | (Place::Name, b':') => Place::Line,
            (Place::Start | Place::Name, _) => Place::Name,
            (Place::Blanks | Place::Status | Place::Line, _) => Place::Line,
            (Place::Over, _) => Place::Over,
        };
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_mended_and_bodies_are_not() {
        let cases = [
            ("HTTP/1.1  200  OK\r\nA: b\r\n\r\nA  B : c\r\n\r\n", "HTTP/1.1 200  OK\r\nA: b\r\n\r\nA  B : c\r\n\r\n"),
            ("HTTP/1.1 200 OK\r\nServer : a b : c\r\n\r\n", "HTTP/1.1 200 OK\r\nServer_: a b : c\r\n\r\n"),
            ("HTTP/1.0 200 OK\nBad Header: x\n\n x", "HTTP/1.0 200 OK\nBad_Header: x\n\n x"),
            (
                "HTTP/1.1 200\r\nA: b\r\n  c : d\r\n\te f: g\r\n\r\n",
                "HTTP/1.1 200\r\nA: b\r\n  c : d\r\n\te f: g\r\n\r\n",
            ),
            (
                "HTTP/1.1   103 x\r\nA B: c\r\n\r\nHTTP/1.1  200 OK\r\nC D: e\r\n\r\nF G: h",
                "HTTP/1.1 103 x\r\nA_B: c\r\n\r\nHTTP/1.1 200 OK\r\nC_D: e\r\n\r\nF G: h",
            ),
            ("HTTP/1.1 101 x\r\n\r\nA  B : c", "HTTP/1.1 101 x\r\n\r\nA  B : c"),
            ("HTTP/1.1 99999999999 x\r\n\r\nA  B : c", "HTTP/1.1 99999999999 x\r\n\r\nA  B : c"),
            ("SSH-2.0-x y z\r\n", "SSH-2.0-x y z\r\n"),
            ("<html>\r\n a  b", "<html>\r\n a  b"),
            ("", ""),
        ];
        for (text, expected) in cases {
            for size in [1, 2, 3, 7, 1000] {
                let mut head = Head::default();
                let mended = text.as_bytes().chunks(size).flat_map(|piece| {
                    let mut piece = piece.to_vec();
                    let left = head.mend(&mut piece);
                    piece.truncate(left);
                    piece
                });
                let mended: Vec<u8> = mended.collect();
                assert_eq!(String::from_utf8(mended).unwrap(), expected, "pieces of {size}");
            }
        }
    }
}
