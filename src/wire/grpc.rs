//! gRPC over HTTP/2 as far as a health check goes: `grpc/doc/PROTOCOL-HTTP2.md` and `grpc/doc/health-checking.md` of the gRPC project.

use std::borrow::Cow;

/// The path of the call.
pub const CHECK: &str = "/grpc.health.v1.Health/Check";

/// What a service says of itself: `grpc.health.v1.HealthCheckResponse.ServingStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// It does not know.
    Unknown,
    /// It serves.
    Serving,
    /// It does not.
    NotServing,
    /// There is no such service (streaming calls only).
    ServiceUnknown,
    /// A number that has no name.
    Other(i32),
}

impl Serving {
    /// The names, in the order of their numbers.
    pub const NAMES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

    fn of(number: i32) -> Self {
        match number {
            0 => Self::Unknown,
            1 => Self::Serving,
            2 => Self::NotServing,
            3 => Self::ServiceUnknown,
            number => Self::Other(number),
        }
    }

    /// Its name, or its number where it has none.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        let named = match self {
            Self::Unknown => 0,
            Self::Serving => 1,
            Self::NotServing => 2,
            Self::ServiceUnknown => 3,
            Self::Other(number) => return Cow::Owned(number.to_string()),
        };
        Cow::Borrowed(Self::NAMES[named])
    }
}

/// The name of a status code of gRPC (`grpc/doc/statuscodes.md`).
#[must_use]
pub fn code_name(code: u32) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::try_from(code).ok()?).copied()
}

/// The body of the call: whether it is compressed (no), its length, and a `HealthCheckRequest` whose first field is the service.
#[must_use]
pub fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | LENGTH_DELIMITED);
        put_varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let mut body = vec![0];
    // No service's name is that long: it is text of a configuration.
    body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend(message);
    body
}

/// Reads the body of the answer: one message that is not compressed, a `HealthCheckResponse` whose first field is the status. Other
/// fields are passed over.
///
/// # Errors
/// What is wrong with it.
pub fn response(body: &[u8]) -> Result<Serving, &'static str> {
    let Some(([compressed, length @ ..], message)) = body.split_first_chunk::<5>() else {
        return Err("it has no message");
    };
    if *compressed != 0 {
        return Err("its message is compressed, and that was not asked for");
    }
    if u32::from_be_bytes(*length) as usize != message.len() {
        return Err("its message has another length than it says");
    }
    let mut reader = Reader(message);
    // A field with its default value is not sent.
    let mut status = 0;
    while !reader.0.is_empty() {
        let wrong = "its message is not a HealthCheckResponse";
        let tag = reader.varint().ok_or(wrong)?;
        match ((tag >> 3), (tag & 7) as u8) {
            (0, _) => return Err(wrong),
            (1, VARINT) => status = reader.varint().ok_or(wrong)?,
            (_, wire_type) => reader.skip(wire_type).ok_or(wrong)?,
        }
    }
    // An enum has 32 bits; a negative one is sent with its sign extended to 64.
    Ok(Serving::of(status as u32 as i32))
}

/// A `grpc-message`, percent-decoded; what is no escape stays, and what is not UTF-8 is replaced.
#[must_use]
pub fn message(encoded: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (*first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high << 4 | low) as u8);
                rest = &behind[2..];
            }
            (byte, ..) => {
                decoded.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Wire types of Protocol Buffers.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED32: u8 = 5;

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// What is left of a message of Protocol Buffers.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Passes over a field's value.
    fn skip(&mut self, wire_type: u8) -> Option<()> {
        let length = match wire_type {
            VARINT => return self.varint().map(drop),
            FIXED64 => 8,
            LENGTH_DELIMITED => usize::try_from(self.varint()?).ok()?,
            FIXED32 => 4,
            // Groups are gone since 2008.
            _ => return None,
        };
        self.0 = self.0.get(length..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_these_bytes() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 0x01, 0x2f, 0x0a, 0xac, 0x02]);
        assert_eq!(long.len(), 5 + 3 + 300);
    }

    #[test]
    fn responses_are_read() {
        let good: [(&[u8], Serving); 8] = [
            (&[0, 0, 0, 0, 0], Serving::Unknown),
            (&[0, 0, 0, 0, 2, 8, 1], Serving::Serving),
            (&[0, 0, 0, 0, 2, 8, 2], Serving::NotServing),
            (&[0, 0, 0, 0, 2, 8, 3], Serving::ServiceUnknown),
            (&[0, 0, 0, 0, 3, 8, 0x80, 1], Serving::Other(128)),
            (&[0, 0, 0, 0, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], Serving::Other(-1)),
            // Fields that are not known, of every type; and the last of two.
            (&[0, 0, 0, 0, 11, 0x12, 2, 8, 9, 8, 2, 0x18, 0x80, 1, 8, 1], Serving::Serving),
            (&[0, 0, 0, 0, 16, 0x15, 1, 2, 3, 4, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1], Serving::Serving),
        ];
        for (body, expected) in good {
            assert_eq!(response(body), Ok(expected), "{body:?}");
        }
        let bad: [(&[u8], &str); 9] = [
            (&[], "no message"),
            (&[0, 0, 0, 0], "no message"),
            (&[1, 0, 0, 0, 2, 8, 1], "compressed"),
            (&[0, 0, 0, 0, 3, 8, 1], "another length"),
            (&[0, 0, 0, 0, 2, 8, 1, 0], "another length"),
            (&[0, 0, 0, 0, 1, 8], "not a HealthCheckResponse"),
            (&[0, 0, 0, 0, 2, 0, 0], "not a HealthCheckResponse"),
            (&[0, 0, 0, 0, 2, 0x12, 9], "not a HealthCheckResponse"),
            (&[0, 0, 0, 0, 1, 0x0b], "not a HealthCheckResponse"),
        ];
        for (body, why) in bad {
            assert!(response(body).unwrap_err().contains(why), "{body:?}");
        }
    }

    #[test]
    fn messages_are_percent_decoded() {
        let cases: [(&[u8], &str); 5] = [
            (b"plain", "plain"),
            (b"no%20such%0aservice %ED%95%9c", "no such\nservice 한"),
            (b"100%", "100%"),
            (b"%zz%4", "%zz%4"),
            (b"%ff", "\u{fffd}"),
        ];
        for (encoded, decoded) in cases {
            assert_eq!(message(encoded), decoded);
        }
    }

    #[test]
    fn codes_have_their_names() {
        assert_eq!(
            [0, 5, 12, 16, 17, u32::MAX].map(code_name),
            [Some("OK"), Some("NOT_FOUND"), Some("UNIMPLEMENTED"), Some("UNAUTHENTICATED"), None, None]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(body: Vec<u8>) {
            let _ = response(&body);
            let _ = message(&body);
            let framed = [&[0][..], &(body.len() as u32).to_be_bytes(), &body].concat();
            let _ = response(&framed);
        }
    }
}
