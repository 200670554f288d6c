//! Responses of HTTP: where one begins in the bytes of a connection, what of it can be read although it is not quite right, and what peers end
//! one with.

mod date;
mod head;

pub use date::date;
pub use head::Head;

/// Finds the first byte of the response that a client waits for, in what the server sends.
#[derive(Debug)]
pub enum ResponseStart {
    /// HTTP/1: the first byte of a status line that is not of an interim response (RFC 9110, section 15.2). Status 101 is none: nothing of
    /// HTTP follows it. What is no status line is no response.
    Http1(Http1),
    /// HTTP/2: the first HEADERS frame of stream 1 (RFC 9113, section 4.1), the first that a client opens, that is not of an interim
    /// response.
    Http2(Http2),
}

/// State of the search in HTTP/1.
#[derive(Debug, Default)]
pub struct Http1 {
    /// The first bytes of the head that is being read, its status included.
    start: Vec<u8>,
    /// How much of the empty line at the end of an interim head has been seen, in bytes.
    end: usize,
    /// Whether something else came than a status line.
    strange: bool,
}

/// State of the search in HTTP/2.
#[derive(Debug, Default)]
pub struct Http2 {
    /// What has been seen of a frame's header.
    header: Vec<u8>,
    /// What is left of a frame's payload, in bytes.
    payload: usize,
    /// The flags of a response's HEADERS frame, and what has been seen of its payload.
    response: Option<(u8, Vec<u8>)>,
}

/// Whether a peer that ends a stream or a connection of HTTP/2 with this code says that the protocol was violated, or that it wants another
/// one (RFC 9113, section 7); otherwise it does not want to go on, or cannot, as with a code that nobody knows.
#[must_use]
pub fn is_violation_of_http2(code: u32) -> bool {
    // Of the protocol, flow control, settings without an answer, closed streams, sizes, compression; security, HTTP/1.1.
    matches!(code, 0x1 | 0x3..=0x6 | 0x9 | 0xc..=0xd)
}

/// The same of HTTP/3 (RFC 9114, section 8.1) and its compression (RFC 9204, section 6).
#[must_use]
pub fn is_violation_of_http3(code: u64) -> bool {
    // Of the protocol, streams, frames; ids, settings; requests, messages; versions.
    matches!(code, 0x101 | 0x103..=0x106 | 0x108..=0x10a | 0x10d..=0x10e | 0x110 | 0x200..=0x202)
}

impl ResponseStart {
    /// A search in HTTP/1.
    #[must_use]
    pub fn http1() -> Self {
        Self::Http1(Http1::default())
    }

    /// A search in HTTP/2.
    #[must_use]
    pub fn http2() -> Self {
        Self::Http2(Http2::default())
    }

    /// Takes the next bytes from the server; says whether the response has begun in them. Nothing needs to be fed after that.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Http1(state) => state.feed(bytes),
            Self::Http2(state) => state.feed(bytes),
        }
    }
}

impl Http1 {
    /// A head begins so, or with version 1.0, and with the three digits of its status.
    const VERSION: &'static [u8] = b"HTTP/1.1 ";
    /// The end of the status that begins so and is final.
    const SWITCHING: &'static [u8] = b" 101";
    const EMPTY_LINE: &'static [u8] = b"\r\n\r\n";

    fn feed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            let at = self.start.len();
            if self.strange {
                return false;
            }
            if at < Self::VERSION.len() + 3 {
                // Empty lines before a head count for nothing (RFC 9112, section 2.2).
                if at == 0 && matches!(byte, b'\r' | b'\n') {
                    continue;
                }
                let fits = match Self::VERSION.get(at) {
                    Some(_) if at == 7 => matches!(byte, b'0' | b'1'),
                    Some(expected) => expected == byte,
                    None => byte.is_ascii_digit(),
                };
                if at == Self::VERSION.len() && fits && *byte != b'1' {
                    return true;
                }
                self.strange = !fits;
                self.start.push(*byte);
                if self.start.ends_with(Self::SWITCHING) {
                    return true;
                }
                continue;
            }
            self.end = match *byte {
                byte if byte == Self::EMPTY_LINE[self.end] => self.end + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.end == Self::EMPTY_LINE.len() {
                *self = Self::default();
            }
        }
        false
    }
}

impl Http2 {
    /// Length (3 bytes), type, flags, stream (4).
    const HEADER: usize = 9;
    const HEADERS: u8 = 1;
    /// Flags: the payload begins with the length of its padding; with a priority.
    const PADDED: u8 = 8;
    const PRIORITY: u8 = 0x20;
    /// More than a payload has before the first digit of a status, in bytes.
    const ENOUGH: usize = 64;

    fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let (payload, rest) = bytes.split_at(self.payload.min(bytes.len()));
            self.payload -= payload.len();
            bytes = rest;
            if let Some((flags, seen)) = &mut self.response {
                seen.extend(&payload[..payload.len().min(Self::ENOUGH)]);
                match is_interim(*flags, seen) {
                    Some(true) => self.response = None,
                    None if self.payload > 0 && seen.len() < Self::ENOUGH => {}
                    Some(false) | None => return true,
                }
            }
            let (head, rest) = bytes.split_at((Self::HEADER - self.header.len()).min(bytes.len()));
            self.header.extend(head);
            bytes = rest;
            if let [l0, l1, l2, ty, flags, s0, s1, s2, s3] = self.header[..] {
                // The highest bit of the stream's number is reserved.
                let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
                self.payload = u32::from_be_bytes([0, l0, l1, l2]) as usize;
                if ty == Self::HEADERS && stream == 1 {
                    if self.payload == 0 {
                        return true;
                    }
                    self.response = Some((flags, Vec::new()));
                }
                self.header.clear();
            }
        }
        false
    }
}

/// Whether the HEADERS frame that a response begins with is of an interim one; nothing where more of its payload must be seen. A response that
/// is none of HTTP is no interim one.
///
/// The status is the first field (RFC 9113, section 8.3). It is told without the table of fields that were sent before (RFC 7541), since only
/// interim responses can come before the final one: what stands for a whole field of that table is the status of one of them.
fn is_interim(flags: u8, payload: &[u8]) -> Option<bool> {
    let mut at = usize::from(flags & Http2::PADDED != 0) + if flags & Http2::PRIORITY != 0 { 5 } else { 0 };
    loop {
        let first = *payload.get(at)?;
        let prefix = match first {
            // A field of the table: of the fixed part, where all statuses are final, or of the other (sections 2.3.3 and 6.1).
            0x80.. => return Some(first > 0x80 + 61),
            // A field with its value, which is kept in the table, or is not; the size of the table (sections 6.2 and 6.3).
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let has_name = first & ((1 << prefix) - 1) == 0;
        (_, at) = integer(payload, at, prefix)?;
        if prefix == 5 {
            continue;
        }
        if has_name {
            let (length, name) = integer(payload, at, 7)?;
            at = name.checked_add(length)?;
        }
        let is_huffman = *payload.get(at)? & 0x80 != 0;
        let (length, value) = integer(payload, at, 7)?;
        let digit = *payload.get(value)?;
        // Of Huffman's code, a `1` is the five bits 00001 (appendix B).
        return Some(length > 0 && if is_huffman { digit >> 3 == 1 } else { digit == b'1' });
    }
}

/// An integer whose first byte has so many bits of it (RFC 7541, section 5.1), and where it ends; nothing where it is not all there, or larger
/// than any that is sent.
fn integer(bytes: &[u8], at: usize, prefix: u32) -> Option<(usize, usize)> {
    let most = (1 << prefix) - 1;
    let first = usize::from(*bytes.get(at)?) & most;
    if first < most {
        return Some((first, at + 1));
    }
    let rest = bytes.get(at + 1..)?;
    let count = rest.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let more = rest[..count].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    Some((first + more, at + 1 + count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the response begins, fed in pieces of `size` bytes: the number of the piece.
    fn begins(mut search: ResponseStart, bytes: &[u8], size: usize) -> Option<usize> {
        bytes.chunks(size).position(|piece| search.feed(piece))
    }

    #[test]
    fn the_response_begins_after_interim_responses() {
        let plain = b"HTTP/1.1 200 OK\r\n\r\n";
        let early = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.0 100 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        // The tenth byte is the first that tells 200 from 100.
        assert_eq!(begins(ResponseStart::http1(), plain, 1), Some(9));
        assert_eq!(begins(ResponseStart::http1(), plain, 100), Some(0));
        assert_eq!(begins(ResponseStart::http1(), early, 1), Some(39 + 18 + 9));
        assert_eq!(begins(ResponseStart::http1(), &early[..57], 1), None);
        assert_eq!(begins(ResponseStart::http1(), b"\r\n\nHTTP/1.1 200 OK\r\n\r\n", 1), Some(3 + 9));
        let switching = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n";
        for size in [1, 5, 100] {
            assert_eq!(begins(ResponseStart::http1(), switching, size), Some((25 + 11) / size));
        }
    }

    #[test]
    fn what_is_no_status_line_begins_no_response() {
        let all: [&[u8]; 6] = [
            b"SSH-2.0-x\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"<html>HTTP/1.1 200 OK",
            b"HTTP/1.1 OK\r\n\r\nHTTP/1.1 200 OK",
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1\r\n200 OK\r\n",
            b"\x15\x03\x01\x00\x02\x02\x28",
        ];
        for bytes in all {
            for size in [1, 4, 100] {
                assert_eq!(begins(ResponseStart::http1(), bytes, size), None, "{}", bytes.escape_ascii());
            }
        }
    }

    /// A frame of HTTP/2.
    fn frame(ty: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, ty, flags, 0, 0, 0, stream], payload].concat()
    }

    #[test]
    fn the_response_begins_with_the_headers_of_stream_1() {
        let before = [
            frame(4, 0, 0, &[0, 4, 0, 0, 1, 1]),
            frame(4, 1, 0, &[]),
            frame(8, 0, 1, &[0, 0, 1, 0]),
            frame(1, 4, 3, &[0x88]),
        ]
        .concat();
        let bytes = [&before[..], &frame(1, 4, 1, &[0x88])].concat();
        for size in [1, 2, 5, 9, 64] {
            let decided = before.len() + 9;
            assert_eq!(begins(ResponseStart::http2(), &bytes, size), Some(decided / size), "pieces of {size}");
            assert_eq!(begins(ResponseStart::http2(), &before, size), None);
        }
    }

    #[test]
    fn interim_responses_of_http2_are_told_by_their_status_however_it_is_written() {
        let padded = |payload: &[u8]| [&[2], payload, &[0, 0]].concat();
        let prior = |payload: &[u8]| [&[0, 0, 0, 0, 16], payload].concat();
        let interim: [(u8, Vec<u8>); 12] = [
            // A literal: not kept, never kept, kept.
            (4, b"\x08\x03103".to_vec()),
            (4, b"\x18\x03100\x0f\x1f\x011".to_vec()),
            (4, b"\x48\x03199".to_vec()),
            // By Huffman's code: 103, 100.
            (4, vec![0x48, 0x82, 0x08, 0x19]),
            (4, vec![0x08, 0x82, 0x08, 0x01]),
            // With its name: as it is, by Huffman's code.
            (4, b"\x40\x07:status\x03103".to_vec()),
            (4, b"\x00\x85\xb8\x84\x8d\x36\xa3\x03102".to_vec()),
            // By the name, or all, of an earlier one.
            (4, b"\x7e\x03103".to_vec()),
            (4, vec![0xbe]),
            // Behind a new size of the table; padded; with a priority.
            (4, b"\x20\x3f\xe1\x1f\x08\x03103".to_vec()),
            (12, padded(b"\x08\x03103")),
            (0x2c, padded(&prior(b"\x08\x03103"))),
        ];
        let last: [(u8, Vec<u8>); 12] = [
            (5, vec![0x88]),
            (4, vec![0x8e]),
            (4, b"\x08\x03200".to_vec()),
            (4, b"\x48\x03418".to_vec()),
            // By Huffman's code: 302, 500.
            (4, vec![0x48, 0x82, 0x64, 0x02]),
            (4, vec![0x48, 0x82, 0x6c, 0x00]),
            (4, b"\x00\x85\xb8\x84\x8d\x36\xa3\x03204".to_vec()),
            (12, padded(&[0x88])),
            (0x24, prior(&[0x88])),
            // None of HTTP.
            (4, vec![0x80]),
            (4, b"\x08\x00".to_vec()),
            (0, vec![]),
        ];
        for (flags, payload) in &last {
            let bytes = frame(1, *flags, 1, payload);
            assert!(begins(ResponseStart::http2(), &bytes, 1).is_some(), "{payload:02x?}");
            for (interim_flags, interim) in &interim {
                let early = frame(1, *interim_flags, 1, interim);
                let early = [&early[..], &frame(9, 4, 1, &[1, 2, 3]), &early].concat();
                for size in [1, 2, 64] {
                    assert_eq!(begins(ResponseStart::http2(), &early, size), None, "{interim:02x?}");
                }
                let all = [&early[..], &bytes].concat();
                assert!(
                    begins(ResponseStart::http2(), &all, 3) >= Some(early.len() / 3),
                    "{interim:02x?} {payload:02x?}"
                );
            }
        }
    }
}
