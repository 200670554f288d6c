//! Responses of HTTP: where one begins in the bytes of a connection, and what of it can be read although it is not quite right.

mod date;
mod head;

pub use date::date;
pub use head::Head;

/// Finds the first byte of the response that a client waits for, in what the server sends.
#[derive(Debug)]
pub enum ResponseStart {
    /// HTTP/1: the first byte that is not of an interim response (RFC 9110, section 15.2). Status 101 is none: nothing of HTTP follows it.
    Http1(Http1),
    /// HTTP/2: the first HEADERS frame of stream 1 (RFC 9113, section 4.1), the first that a client opens. Interim responses are
    /// HEADERS too, told apart by their compressed content only; the first of them counts.
    Http2(Http2),
}

/// State of the search in HTTP/1.
#[derive(Debug, Default)]
pub struct Http1 {
    /// The first bytes of the head that is being read, its status included.
    start: Vec<u8>,
    /// How much of the empty line at the end of an interim head has been seen, in bytes.
    end: usize,
}

/// State of the search in HTTP/2.
#[derive(Debug, Default)]
pub struct Http2 {
    /// What has been seen of a frame's header.
    header: Vec<u8>,
    /// What is left of a frame's payload, in bytes.
    payload: usize,
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
    /// A head begins with `HTTP/1.1 1…` if it is an interim one.
    const INTERIM: &'static [u8] = b"HTTP/1.1 1";
    /// The end of the status that begins so and is final.
    const SWITCHING: &'static [u8] = b" 101";
    const EMPTY_LINE: &'static [u8] = b"\r\n\r\n";

    fn feed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            let at = self.start.len();
            if at < Self::INTERIM.len() + 2 {
                // The minor version is as it may be.
                if at != 7 && Self::INTERIM.get(at).is_some_and(|expected| expected != byte) {
                    return true;
                }
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

    fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = &bytes[skipped..];
            let (head, rest) = bytes.split_at((Self::HEADER - self.header.len()).min(bytes.len()));
            self.header.extend(head);
            bytes = rest;
            if let [l0, l1, l2, ty, _, s0, s1, s2, s3] = self.header[..] {
                // The highest bit of the stream's number is reserved.
                let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
                if ty == Self::HEADERS && stream == 1 {
                    return true;
                }
                self.payload = u32::from_be_bytes([0, l0, l1, l2]) as usize;
                self.header.clear();
            }
        }
        false
    }
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
        assert_eq!(begins(ResponseStart::http1(), b"SSH-2.0-x", 1), Some(0));
        let switching = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n";
        for size in [1, 5, 100] {
            assert_eq!(begins(ResponseStart::http1(), switching, size), Some((25 + 11) / size));
        }
    }

    #[test]
    fn the_response_begins_with_the_headers_of_stream_1() {
        let mut bytes = vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 1, 1];
        bytes.extend([0, 0, 0, 4, 1, 0, 0, 0, 0]);
        bytes.extend([0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 1, 0]);
        let before = bytes.len();
        bytes.extend([0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88]);
        for size in [1, 2, 5, 9, 64] {
            assert_eq!(begins(ResponseStart::http2(), &bytes, size), Some((before + 8) / size), "pieces of {size}");
            assert_eq!(begins(ResponseStart::http2(), &bytes[..before], size), None);
        }
    }
}
