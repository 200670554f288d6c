//! Heads of responses that are not quite right, and that Go's `net/http` takes.

/// Mends the heads of HTTP/1 in the bytes of a connection, in place: of several blanks before the status one stays, and a blank within the name
/// of a field becomes `_`, so that nobody takes the field for another one. So does the end of `Transfer-Encoding` in HTTP/1.0, which has none.
/// What follows the last head stays as it is.
#[derive(Debug, Default)]
pub struct Head {
    at: Place,
    /// How much was read of the word that is being read, the version or a field's name, in bytes.
    read: usize,
    /// How much of it is as in the word that is sought there.
    same: usize,
    /// Whether the version is 1.0.
    is_1_0: bool,
    /// The status, as far as it was read.
    status: u16,
}

const HTTP_1_0: &[u8] = b"HTTP/1.0";

/// Ignored in HTTP/1.0 by Go, and a violation to hyper (RFC 9112, section 6.1, calls it faulty framing).
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";

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
            (Place::Name, b' ') => {
                self.is_now(byte, TRANSFER_ENCODING);
                return Some(b'_');
            }
            (Place::Version, b' ') => {
                self.is_1_0 = self.same == HTTP_1_0.len() && self.read == self.same;
                Place::Blanks
            }
            (Place::Blanks | Place::Status, b'0'..=b'9') => {
                self.status = self.status.saturating_mul(10).saturating_add((byte - b'0').into());
                Place::Status
            }
            // Interim responses have another head behind them (RFC 9110, section 15.2), but for one.
            (Place::Start, b'\n') => match std::mem::take(&mut self.status) {
                100 | 102..=199 => Place::Version,
                _ => Place::Over,
            },
            (Place::Version, b'\n') => {
                (self.read, self.same) = (0, 0);
                Place::Version
            }
            (Place::Version, _) => {
                self.is_now(byte, HTTP_1_0);
                Place::Version
            }
            (_, b'\n') => {
                (self.read, self.same) = (0, 0);
                Place::Start
            }
            (Place::Start, b'\r') => Place::Start,
            // The line before goes on.
            (Place::Start, b' ' | b'\t') | (Place::Name, b':') => Place::Line,
            (Place::Start | Place::Name, _) => {
                self.at = Place::Name;
                return Some(if self.is_now(byte, TRANSFER_ENCODING) && self.is_1_0 { b'_' } else { byte });
            }
            (Place::Blanks | Place::Status | Place::Line, _) => Place::Line,
            (Place::Over, _) => Place::Over,
        };
        Some(byte)
    }

    /// Reads a byte of a word; whether it ends `sought`, as which the word began.
    fn is_now(&mut self, byte: u8, sought: &[u8]) -> bool {
        let is_next = sought.get(self.read).is_some_and(|next| next.eq_ignore_ascii_case(&byte));
        self.same += usize::from(is_next && self.same == self.read);
        self.read += 1;
        is_next && self.same == sought.len()
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
            (
                "HTTP/1.0 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\nTransfer-Encoding: x",
                "HTTP/1.0 200 OK\r\nA: b\r\nTransfer-Encodin_: chunked\r\n\r\nTransfer-Encoding: x",
            ),
            (
                "\r\nHTTP/1.0  200 OK\r\ntransfer-encoding: chunked\n\n",
                "\r\nHTTP/1.0 200 OK\r\ntransfer-encodin_: chunked\n\n",
            ),
            (
                "HTTP/1.0 200 OK\r\nX-Transfer-Encoding: a\r\nTransfer-Encodings: b\r\n\r\n",
                "HTTP/1.0 200 OK\r\nX-Transfer-Encoding: a\r\nTransfer-Encodin_s: b\r\n\r\n",
            ),
            (
                "HTTP/1.0 103 x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.0 103 x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
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
