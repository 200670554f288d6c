//! Names as the wire has them, and as people write them.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use hickory_proto::rr::Name;

use super::reader::Reader;

/// An absolute name: labels, each behind its length, and the root's, which is empty (RFC 1035, section 3.1). Its case is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainName(Vec<u8>);

/// The longest label, in bytes.
const LONGEST_LABEL: usize = 63;

/// The longest name on the wire, in bytes.
const LONGEST_NAME: usize = 255;

/// As many labels as a name may have: one pointer for each is enough, more are taken for a circle.
const MOST_POINTERS: usize = 126;

impl DomainName {
    /// The name of the root.
    #[must_use]
    pub fn root() -> Self {
        Self(vec![0])
    }

    /// A name as hickory has it.
    pub(super) fn of(name: &Name) -> Self {
        let labels = name.iter().flat_map(|label| [&[label.len() as u8], label].concat());
        Self(labels.chain([0]).collect())
    }

    /// The name as the wire has it, without compression.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether both are one name: the case of ASCII letters does not count (RFC 4343).
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        // A label's length is less than any letter.
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// Reads a name of a message, and follows its pointers (RFC 1035, section 4.1.4).
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut name = Vec::new();
        let mut elsewhere: Option<Reader<'_>> = None;
        let mut pointers = 0;
        loop {
            let from = elsewhere.as_mut().unwrap_or(&mut *reader);
            let length = from.u8()?;
            match length & 0xc0 {
                0 => {
                    name.push(length);
                    if length == 0 {
                        return Some(Self(name));
                    }
                    name.extend(from.take(length.into())?);
                    if name.len() >= LONGEST_NAME {
                        return None;
                    }
                }
                0xc0 => {
                    let to = usize::from(u16::from_be_bytes([length & 0x3f, from.u8()?]));
                    pointers += 1;
                    if pointers > MOST_POINTERS {
                        return None;
                    }
                    elsewhere = Some(from.at(to));
                }
                _ => return None,
            }
        }
    }
}

impl FromStr for DomainName {
    type Err = String;

    /// Reads a name as master files have it (RFC 1035, section 5.1): `\.` is a dot that ends no label, `\065` a byte by its decimal
    /// number. It is absolute, with or without the dot at its end.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "." {
            return Ok(Self::root());
        }
        let mut wire = vec![0];
        let mut label = 0;
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'.' if wire.len() == label + 1 => {
                    return Err("has an empty label: two dots in a row, or one at its beginning".to_owned());
                }
                b'.' => {
                    label = wire.len();
                    wire.push(0);
                    continue;
                }
                b'\\' => {
                    escaped(&mut bytes).ok_or("has a backslash that no character or three digits up to 255 follow")?
                }
                byte => byte,
            };
            wire.push(byte);
            let length = wire.len() - label - 1;
            if length > LONGEST_LABEL {
                return Err(format!("has a label of more than {LONGEST_LABEL} bytes"));
            }
            wire[label] = length as u8;
        }
        if wire.len() > label + 1 {
            wire.push(0);
        }
        match wire.len() {
            1 => Err("is empty".to_owned()),
            length if length > LONGEST_NAME => Err(format!("is longer than {LONGEST_NAME} bytes on the wire")),
            _ => Ok(Self(wire)),
        }
    }
}

/// The byte that stands behind a backslash.
fn escaped(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let digit = |byte: u8| char::from(byte).to_digit(10);
    let number = digit(first)? * 100 + digit(bytes.next()?)? * 10 + digit(bytes.next()?)?;
    u8::try_from(number).ok()
}

impl fmt::Display for DomainName {
    /// The name with the dot at its end, and escapes where they are needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
        if rest == [0] {
            return f.write_str(".");
        }
        while let [length @ 1..=63, labels @ ..] = rest {
            let (label, behind) = labels.split_at(usize::from(*length).min(labels.len()));
            for byte in label {
                match byte {
                    b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                        f.write_char('\\')?;
                        f.write_char(char::from(*byte))?;
                    }
                    b' '..=b'~' => f.write_char(char::from(*byte))?,
                    byte => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_char('.')?;
            rest = behind;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        text.parse::<DomainName>().map(|name| name.to_string())
    }

    #[test]
    fn names_are_read_and_shown_with_their_escapes_and_case() {
        let cases = [
            (".", "."),
            ("WWW.example", "WWW.example."),
            ("www.example.", "www.example."),
            ("0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa."),
            ("*._tcp.a", "*._tcp.a."),
            (r"a\.b.c", r"a\.b.c."),
            (r"a\065\032\000", r"aA\ \000."),
            (r"a\@\\", r"a\@\\."),
            ("é", r"\195\169."),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_told_why() {
        let (label, name) = ("a".repeat(64), "a.".repeat(128));
        for (text, why) in [
            ("", "is empty"),
            ("a..b", "has an empty label"),
            (".a", "has an empty label"),
            ("..", "has an empty label"),
            (r"a\", "has a backslash"),
            (r"a\256", "has a backslash"),
            (r"a\12", "has a backslash"),
            (&label, "has a label of more than 63"),
            (&name, "is longer than 255"),
        ] {
            let error = shown(text).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
        assert_eq!("a.".repeat(127).parse::<DomainName>().unwrap().as_bytes().len(), 255);
    }

    #[test]
    fn pointers_are_followed_and_circles_are_not() {
        let read = |message: &[u8], at: usize| {
            let mut reader = Reader::new(message).at(at);
            DomainName::read(&mut reader).map(|name| (name.to_string(), message.len() - reader.rest().len()))
        };
        let message = b"\x01a\x00\x01B\xc0\x00\xc0\x03";
        assert_eq!(read(message, 0), Some(("a.".to_owned(), 3)));
        assert_eq!(read(message, 3), Some(("B.a.".to_owned(), 7)));
        assert_eq!(read(message, 7), Some(("B.a.".to_owned(), 9)));
        assert_eq!(read(b"\xc0\x00", 0), None);
        assert_eq!(read(b"\x01a\xc0\x00", 0), None);
        assert_eq!(read(b"\x41a\x00", 0), None);
        assert_eq!(read(b"\x02a\x00", 0), None);
        assert_eq!(read(b"", 0), None);
    }
}
