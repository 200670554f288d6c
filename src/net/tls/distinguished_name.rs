//! Distinguished names in the words of Go's `crypto/x509`.

use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::x509::X509Name;

use super::certificate::hexadecimal;

/// The attribute types that Go has names for, in the order in which it puts them (`pkix.Name.ToRDNSequence`), and whether it
/// keeps only the last of several.
const NAMED: [(&str, &str, bool); 9] = [
    ("2.5.4.6", "C", false),
    ("2.5.4.8", "ST", false),
    ("2.5.4.7", "L", false),
    ("2.5.4.9", "STREET", false),
    ("2.5.4.17", "POSTALCODE", false),
    ("2.5.4.10", "O", false),
    ("2.5.4.11", "OU", false),
    ("2.5.4.3", "CN", true),
    ("2.5.4.5", "SERIALNUMBER", true),
];

/// A distinguished name as Go's `pkix.Name.String()` writes it: RFC 2253, with attributes of one type joined in one RDN, in an order of
/// its own, and attributes without a name at the end, as DER. So is a value that is no text, of which Go would not take the certificate.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let attributes: Vec<(String, Result<String, String>)> = name
        .iter_attributes()
        .map(|attribute| (attribute.attr_type().to_id_string(), value(attribute.attr_value())))
        .collect();
    let mut parts = Vec::new();
    for (oid, short, last_only) in NAMED.into_iter().rev() {
        let mut values: Vec<_> = attributes.iter().filter(|(ty, _)| ty == oid).map(|(_, value)| value).collect();
        if last_only {
            values.drain(..values.len().saturating_sub(1));
        }
        if !values.is_empty() {
            let written =
                |value: &Result<String, String>| value.as_ref().map_or_else(String::clone, |text| escaped(text));
            let values: Vec<String> = values.iter().map(|value| format!("{short}={}", written(value))).collect();
            parts.push(values.join("+"));
        }
    }
    let unnamed = attributes.iter().rev().filter(|(ty, _)| NAMED.iter().all(|(oid, ..)| ty != oid));
    parts.extend(unnamed.map(|(oid, value)| {
        let der = value.as_ref().map_or_else(String::clone, |text| format!("#{}", hexadecimal(&string_der(text))));
        format!("{oid}={der}")
    }));
    parts.join(",")
}

/// The text of an attribute; where it is none, its DER as RFC 2253, section 2.4, writes it.
fn value(value: &Any<'_>) -> Result<String, String> {
    text(value.tag(), value.data)
        .ok_or_else(|| format!("#{}", hexadecimal(&value.to_der_vec().unwrap_or_else(|_| value.data.to_vec()))))
}

/// A string (X.680, section 41) as UTF-8.
fn text(tag: Tag, bytes: &[u8]) -> Option<String> {
    match tag {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        }
        // T.61 has long been written as Latin-1, and is read so.
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        // UCS-2, which has no surrogates; some end it with a zero.
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            let units = units.strip_suffix(&[[0, 0]]).unwrap_or(units);
            let characters = units.iter().map(|unit| char::from_u32(u16::from_be_bytes(*unit).into()));
            characters.collect::<Option<_>>().filter(|_| rest.is_empty())
        }
        // UCS-4.
        Tag::UniversalString => {
            let (units, rest) = bytes.as_chunks::<4>();
            let characters = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            characters.collect::<Option<_>>().filter(|_| rest.is_empty())
        }
        _ => None,
    }
}

/// Escapes what RFC 2253, section 2.4, says.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        let special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at + 1 == value.len(),
            '#' => at == 0,
            _ => false,
        };
        if special {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// DER of a string: a PrintableString where its characters allow it, otherwise a UTF8String (X.690, sections 8.1.3 and 8.23).
fn string_der(value: &str) -> Vec<u8> {
    let printable = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte));
    let mut der = vec![if printable { 0x13 } else { 0x0c }];
    let length = value.len().to_be_bytes();
    match value.len() {
        short @ 0..0x80 => der.push(short as u8),
        _ => {
            let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
            der.push(0x80 | length.len() as u8);
            der.extend(length);
        }
    }
    der.extend(value.bytes());
    der
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer;

    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let bytes = parts.concat();
        assert!(bytes.len() < 0x80);
        [&[tag, bytes.len() as u8], &*bytes].concat()
    }

    /// A name of attributes, by the ends of their types (2.5.4 before them) and the DER of their values.
    fn written(attributes: &[(u8, Vec<u8>)]) -> String {
        let rdns = attributes.iter().map(|(ty, value)| der(0x31, &[&der(0x30, &[&[6, 3, 0x55, 4, *ty], value])]));
        let name = der(0x30, &[&rdns.collect::<Vec<_>>().concat()]);
        distinguished_name(&X509Name::from_der(&name).unwrap().1)
    }

    const CN: u8 = 3;

    #[test]
    fn strings_of_every_kind_are_text() {
        for (tag, bytes, expected) in [
            (0x0c, "Zoë".as_bytes(), "Zoë"),
            (0x13, b"Zoe", "Zoe"),
            (0x12, b"17", "17"),
            (0x16, b"a@b", "a@b"),
            (0x1a, b"Zoe", "Zoe"),
            // Go reads T.61 as Latin-1.
            (0x14, b"Zo\xeb", "Zoë"),
            (0x1e, b"\0Z\0o\0\xeb", "Zoë"),
            (0x1e, b"\x67\x71\x4e\xac", "東京"),
            (0x1e, b"\0Z\0\0", "Z"),
            (0x1c, b"\0\0\0Z\0\x01\xf4\x00", "Z\u{1f400}"),
        ] {
            assert_eq!(written(&[(CN, der(tag, &[bytes]))]), format!("CN={expected}"), "{tag:#x}");
        }
    }

    #[test]
    fn what_is_no_text_is_shown_as_it_is() {
        for (tag, bytes, expected) in [
            (0x0c, &b"\xff"[..], "CN=#0c01ff"),
            (0x1e, b"\0Z\0", "CN=#1e03005a00"),
            (0x1e, b"\xd8\x3d\xdc\x00", "CN=#1e04d83ddc00"),
            (0x1c, b"\0\0Z", "CN=#1c0300005a"),
            (0x1c, b"\x7f\xff\xff\xff", "CN=#1c047fffffff"),
            (0x02, b"\x05", "CN=#020105"),
            (0x03, b"\x00\x80", "CN=#03020080"),
            (0x30, b"\x02\x01\x05", "CN=#3003020105"),
            (0x1b, b"Zoe", "CN=#1b035a6f65"),
        ] {
            assert_eq!(written(&[(CN, der(tag, &[bytes]))]), expected, "{tag:#x}");
        }
        // Of types without a name, text is as Go writes it, and the rest as it is.
        let name = written(&[(65, der(0x1e, &[b"\0Z"])), (65, der(0x1e, &[b"Z"])), (CN, der(0x13, &[b"a"]))]);
        assert_eq!(name, "CN=a,2.5.4.65=#1e015a,2.5.4.65=#13015a");
    }

    #[test]
    fn attributes_are_joined_and_escaped_as_go_does_it() {
        let text = |ty, text: &str| (ty, der(0x0c, &[text.as_bytes()]));
        let name =
            [text(6, "US"), text(11, "b"), text(11, "a"), text(3, "first"), text(10, "Example, Inc"), text(3, " é")];
        assert_eq!(written(&name), "CN=\\ é,OU=b+OU=a,O=Example\\, Inc,C=US");
        let all: Vec<_> = [5, 17, 9, 8, 7, 3, 10, 11, 6].into_iter().map(|ty| text(ty, &ty.to_string())).collect();
        assert_eq!(written(&all), "SERIALNUMBER=5,CN=3,OU=11,O=10,POSTALCODE=17,STREET=9,L=7,ST=8,C=6");
        assert_eq!(written(&[]), "");
    }
}
