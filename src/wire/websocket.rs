//! Frames and messages of WebSocket (RFC 6455), as a client.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, Bytes, BytesMut};

/// What is sent in one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole message of UTF-8.
    Text,
    /// A whole message of bytes.
    Binary,
    /// The end.
    Close,
    /// A question whether one is there.
    Ping,
    /// The answer to it.
    Pong,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole message of UTF-8.
    Text(Bytes),
    /// A whole message of bytes.
    Binary(Bytes),
    /// A question that is to be answered by a pong with the same payload.
    Ping(Bytes),
    /// An answer to a ping.
    Pong,
    /// The end, with its code (section 7.4) and reason, where it has one.
    Close(Option<(u16, String)>),
}

/// What a server may not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The code that the connection is to be closed with (section 7.4.1).
    pub code: u16,
    /// What is wrong, as a predicate of what came.
    pub what: &'static str,
}

/// Codes to close with: all is said; the protocol was violated; text was not UTF-8; a message was too long.
pub const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const INVALID_DATA: u16 = 1007;
/// See [`NORMAL`].
pub const TOO_LONG: u16 = 1009;

/// The first opcode of frames that are no messages (section 5.5).
const CONTROL: u8 = 8;
/// The most that they may carry, in bytes.
const LONGEST_CONTROL: u64 = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The `Sec-WebSocket-Key` of a handshake, from random bytes.
#[must_use]
pub fn key(random: [u8; 16]) -> String {
    BASE64_STANDARD.encode(random)
}

/// The `Sec-WebSocket-Accept` that a key is answered with (section 4.2.2).
#[must_use]
pub fn accept(key: &str) -> String {
    let joined = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, joined.as_bytes()))
}

/// A frame with a whole payload, masked as those of a client must be (section 5.3).
#[must_use]
pub fn frame(kind: Kind, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let opcode = match kind {
        Kind::Text => 1,
        Kind::Binary => 2,
        Kind::Close => 8,
        Kind::Ping => 9,
        Kind::Pong => 10,
    };
    let mut frame = vec![FIN | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(MASKED | short as u8),
        medium @ 126..0x1_0000 => {
            frame.push(MASKED | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(MASKED | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    let start = frame.len();
    frame.extend(payload);
    let (words, rest) = frame[start..].as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    frame
}

/// The payload of a frame that ends a connection.
#[must_use]
pub fn close(code: u16) -> [u8; 2] {
    code.to_be_bytes()
}

/// Reads frames, and puts the fragments of messages together.
#[derive(Debug)]
pub struct Decoder {
    /// The longest message that is taken, in bytes.
    limit: usize,
    /// The message whose end has not come, and whether it is text.
    open: Option<(bool, BytesMut)>,
}

/// The head of a frame.
struct Head {
    fin: bool,
    opcode: u8,
    /// Of the payload.
    length: u64,
    /// Its own, in bytes.
    size: usize,
}

impl Decoder {
    /// Takes messages of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, open: None }
    }

    /// Takes the next thing out of what has been received; nothing where more must come first. Nothing can be read after a violation.
    ///
    /// # Errors
    /// What the server violates.
    pub fn next(&mut self, received: &mut BytesMut) -> Result<Option<Event>, Violation> {
        while let Some(head) = Head::of(received)? {
            let open = self.open.as_ref().map_or(0, |(_, message)| message.len());
            if head.opcode < CONTROL && head.length > (self.limit - open) as u64 {
                return Err(Violation { code: TOO_LONG, what: "is longer than what is taken" });
            }
            // Not more than the limit, or than a control frame has, so it fits.
            let length = head.length as usize;
            if received.len() < head.size + length {
                return Ok(None);
            }
            received.advance(head.size);
            if let Some(event) = self.take(&head, received.split_to(length))? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Takes a frame; a fragment that is not the last makes nothing yet.
    fn take(&mut self, head: &Head, payload: BytesMut) -> Result<Option<Event>, Violation> {
        let (text, message) = match (head.opcode, self.open.take()) {
            (0, None) => return Err(violation("continues a message that did not begin")),
            (0, Some((text, mut message))) => {
                message.unsplit(payload);
                (text, message)
            }
            (1 | 2, Some(_)) => return Err(violation("begins a message before the end of another")),
            (opcode @ (1 | 2), None) => (opcode == 1, payload),
            (opcode, open) => {
                self.open = open;
                return control(opcode, payload.freeze()).map(Some);
            }
        };
        if !head.fin {
            self.open = Some((text, message));
            return Ok(None);
        }
        let message = message.freeze();
        if text && std::str::from_utf8(&message).is_err() {
            return Err(Violation { code: INVALID_DATA, what: "is text that is not UTF-8" });
        }
        Ok(Some(if text { Event::Text(message) } else { Event::Binary(message) }))
    }
}

impl Head {
    /// Reads the head of the first frame (section 5.2); nothing where more must come first.
    fn of(received: &[u8]) -> Result<Option<Self>, Violation> {
        let &[first, second, ref rest @ ..] = received else { return Ok(None) };
        let (fin, opcode) = (first & FIN != 0, first & 0x0f);
        if first & RESERVED != 0 {
            return Err(violation("has reserved bits, and no extension was agreed on"));
        }
        if second & MASKED != 0 {
            return Err(violation("is masked, as only those of clients are"));
        }
        if !matches!(opcode, 0..=2 | 8..=10) {
            return Err(violation("has an opcode that does not exist"));
        }
        let (length, size, least) = match second {
            126 => match rest.first_chunk::<2>() {
                Some(length) => (u16::from_be_bytes(*length).into(), 4, 126),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(length) => (u64::from_be_bytes(*length), 10, 0x1_0000),
                None => return Ok(None),
            },
            short => (short.into(), 2, 0),
        };
        if length < least || length > i64::MAX.cast_unsigned() {
            return Err(violation("has a length that is not written as it must be"));
        }
        if opcode >= CONTROL && (!fin || length > LONGEST_CONTROL) {
            return Err(violation("is a control frame that is longer than 125 bytes or a fragment"));
        }
        Ok(Some(Self { fin, opcode, length, size }))
    }
}

/// A frame that is no message.
fn control(opcode: u8, payload: Bytes) -> Result<Event, Violation> {
    match opcode {
        9 => return Ok(Event::Ping(payload)),
        10 => return Ok(Event::Pong),
        _ => {}
    }
    match payload.split_first_chunk::<2>() {
        None if payload.is_empty() => Ok(Event::Close(None)),
        None => Err(violation("closes with half a code")),
        Some((code, reason)) => {
            let code = u16::from_be_bytes(*code);
            // Section 7.4, and what IANA has registered since.
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(violation("closes with a code that may not be sent"));
            }
            match std::str::from_utf8(reason) {
                Ok(reason) => Ok(Event::Close(Some((code, reason.to_owned())))),
                Err(_) => Err(Violation { code: INVALID_DATA, what: "closes with a reason that is not UTF-8" }),
            }
        }
    }
}

fn violation(what: &'static str) -> Violation {
    Violation { code: PROTOCOL_ERROR, what }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads all that is in some bytes, fed in pieces.
    fn read(limit: usize, bytes: &[u8], piece: usize) -> Result<Vec<Event>, Violation> {
        let mut decoder = Decoder::new(limit);
        let (mut received, mut events) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            received.extend_from_slice(piece);
            while let Some(event) = decoder.next(&mut received)? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn text(text: &'static str) -> Event {
        Event::Text(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_key_is_answered_as_in_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn frames_are_those_of_the_rfc() {
        // Section 5.7.
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(frame(Kind::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]), hello);
        assert_eq!(frame(Kind::Close, &close(NORMAL), [0; 4]), [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]);
        let long = |length| frame(Kind::Binary, &vec![0xa5; length], [0xff; 4]);
        assert_eq!((long(125)[..2].to_vec(), long(125).len()), (vec![0x82, 0xfd], 2 + 4 + 125));
        assert_eq!((long(126)[..4].to_vec(), long(126)[8]), (vec![0x82, 0xfe, 0, 126], 0x5a));
        assert_eq!(long(65_536)[..10], [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn messages_are_read_in_any_pieces() {
        let mut bytes = vec![0x81, 5];
        bytes.extend(b"Hello");
        bytes.extend([0x01, 3, b'H', b'e', b'l']); // The first fragment of text,
        bytes.extend([0x89, 2, b'h', b'i']); // a ping between,
        bytes.extend([0x00, 0]); // a fragment of nothing,
        bytes.extend([0x80, 2, b'l', b'o']); // the last one.
        bytes.extend([0x82, 126, 0, 126]);
        bytes.extend([0xa5; 126]);
        bytes.extend([0x8a, 0]);
        bytes.extend([0x88, 5, 0x03, 0xe9, b'b', b'y', b'e']);
        let expected = vec![
            text("Hello"),
            Event::Ping(Bytes::from_static(b"hi")),
            text("Hello"),
            Event::Binary(Bytes::from(vec![0xa5; 126])),
            Event::Pong,
            Event::Close(Some((1001, "bye".to_owned()))),
        ];
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(read(126, &bytes, piece), Ok(expected.clone()), "pieces of {piece}");
        }
        assert_eq!(read(10, &[0x88, 0], 1), Ok(vec![Event::Close(None)]));
        let whole = [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 0x1_0000]].concat();
        assert_eq!(read(0x1_0000, &whole, 5000), Ok(vec![Event::Binary(Bytes::from(vec![7; 0x1_0000]))]));
    }

    #[test]
    fn what_a_server_may_not_say_is_refused_as_soon_as_it_is_seen() {
        let (bad, data) = (PROTOCOL_ERROR, INVALID_DATA);
        let cases: [(&[u8], u16, &str); 24] = [
            (&[0xc1, 0], bad, "reserved"),
            (&[0x91, 0], bad, "reserved"),
            (&[0xa1, 0], bad, "reserved"),
            (&[0x81, 0x80], bad, "masked"),
            (&[0x83, 0], bad, "opcode"),
            (&[0x8b, 0], bad, "opcode"),
            (&[0x8f, 0], bad, "opcode"),
            (&[0x80, 0], bad, "did not begin"),
            (&[0x01, 0, 0x81, 0], bad, "before the end"),
            (&[0x01, 0, 0x02, 0], bad, "before the end"),
            (&[0x82, 126, 0, 125], bad, "a length"),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], bad, "a length"),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], bad, "a length"),
            (&[0x89, 126, 0, 126], bad, "control"),
            (&[0x09, 0], bad, "control"),
            (&[0x08, 0], bad, "control"),
            (&[0x88, 1, 3], bad, "half a code"),
            (&[0x88, 2, 3, 0xed], bad, "a code"),
            (&[0x88, 2, 0, 0], bad, "a code"),
            (&[0x88, 2, 0xff, 0xff], bad, "a code"),
            (&[0x88, 3, 3, 0xe8, 0xff], data, "not UTF-8"),
            (&[0x81, 1, 0xff], data, "not UTF-8"),
            (&[0x01, 1, 0xe2, 0x80, 1, 0x82], data, "not UTF-8"),
            (&[0x82, 127, 0, 0, 0, 0, 0x40, 0, 0, 0], TOO_LONG, "longer"),
        ];
        for (bytes, code, what) in cases {
            for piece in [1, 100] {
                let violation = read(1000, bytes, piece).unwrap_err();
                assert!(violation.code == code && violation.what.contains(what), "{bytes:x?}: {violation:?}");
            }
        }
        // Text is UTF-8 as a whole, not each of its fragments.
        assert_eq!(read(10, &[0x01, 1, 0xc3, 0x80, 1, 0xa9], 1), Ok(vec![text("é")]));
        // Fragments count together.
        assert_eq!(read(5, &[0x02, 3, 1, 2, 3, 0x80, 2, 4, 5], 1).map(|events| events.len()), Ok(1));
        assert_eq!(read(5, &[0x02, 3, 1, 2, 3, 0x80, 3], 1).unwrap_err().code, TOO_LONG);
        assert_eq!(read(1, &[0x02, 1, 1, 0x89, 2, 1, 2, 0x80, 0], 1).map(|events| events.len()), Ok(2));
    }

    /// What a server sends of a client's frame.
    fn unmasked(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(kind, payload, [0; 4]);
        frame[1] &= !MASKED;
        let payload = frame.split_off(frame.len() - payload.len());
        frame.truncate(frame.len() - 4);
        [frame, payload].concat()
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes: Vec<u8>, piece in 1_usize..20) {
            let _ = read(100, &bytes, piece);
        }

        #[test]
        fn what_is_sent_is_read_again(payload in proptest::collection::vec(any::<u8>(), 0..70_000), mask: [u8; 4]) {
            let bytes = unmasked(Kind::Binary, &payload);
            prop_assert_eq!(read(70_000, &bytes, 4096), Ok(vec![Event::Binary(payload.clone().into())]));
            let masked = frame(Kind::Binary, &payload, mask);
            let head = masked.len() - payload.len();
            let back: Vec<u8> = masked[head..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            prop_assert_eq!(back, payload);
        }
    }
}
