//! What records say, as text: the presentation format of master files, byte for byte as Go's `miekg/dns` writes it, since the regular
//! expressions of modules were written for that. (It takes a backslash of CAA and URI for an escape; here it is one character, escaped.)

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::codes::type_text;
use super::name::DomainName;
use super::reader::Reader;

/// A part of what a record says.
#[derive(Debug, Clone, Copy)]
enum Part {
    U8,
    U16,
    U32,
    V4,
    V6,
    Name,
    /// Text behind its length, in quotes.
    Text,
    /// Text behind its length, as it is.
    Word,
    /// Texts to the end.
    Texts,
    /// Text to the end, in quotes.
    LongText,
    /// Bytes to the end, as a number of base 16 in small or capital letters.
    Hex,
    CapitalHex,
    /// Bytes behind their length: in base 16, `-` where there are none.
    Salt,
    /// Bytes behind their length: in base 32 (RFC 4648, section 7).
    Hash,
    /// Bytes to the end.
    Base64,
    /// The name of a type.
    Type,
    /// A bitmap of types (RFC 4034, section 4.1.2).
    Types,
    /// Seconds since 1970.
    Time,
    /// Eight bytes in four groups, in small or capital letters.
    Groups,
    CapitalGroups,
    /// So many bytes, with dashes.
    Eui(usize),
    /// RFC 1876.
    Location,
    /// Parameters of a service (RFC 9460, section 2.1).
    Parameters,
}

/// The parts of what a record of a type says; nothing where they are not known here.
fn parts(ty: u16) -> Option<&'static [Part]> {
    use Part::*;
    Some(match ty {
        1 => &[V4],
        28 => &[V6],
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, NSAP-PTR, DNAME
        2..=5 | 7..=9 | 12 | 23 | 39 => &[Name],
        // SOA
        6 => &[Name, Name, U32, U32, U32, U32, U32],
        // HINFO, ISDN
        13 | 20 => &[Text, Text],
        // MINFO, RP, TALINK
        14 | 17 | 58 => &[Name, Name],
        // MX, AFSDB, RT, KX, LP
        15 | 18 | 21 | 36 | 107 => &[U16, Name],
        // TXT, NINFO, SPF, AVC, RESINFO
        16 | 56 | 99 | 258 | 261 => &[Texts],
        // X25
        19 => &[Word],
        // SIG, RRSIG
        24 | 46 => &[Type, U8, U8, U32, Time, Time, U16, Name, Base64],
        // KEY, DNSKEY, RKEY, CDNSKEY
        25 | 48 | 57 | 60 => &[U16, U8, U8, Base64],
        // PX
        26 => &[U16, Name, Name],
        // GPOS
        27 => &[Word, Word, Word],
        // LOC
        29 => &[Location],
        // NXT, NSEC
        30 | 47 => &[Name, Types],
        // EID, NIMLOC
        31 | 32 => &[CapitalHex],
        // SRV
        33 => &[U16, U16, U16, Name],
        // NAPTR
        35 => &[U16, U16, Text, Text, Text, Name],
        // DS, CDS, TA, DLV
        43 | 59 | 32768 | 32769 => &[U16, U8, U8, CapitalHex],
        // SSHFP
        44 => &[U8, U8, CapitalHex],
        // DHCID, OPENPGPKEY
        49 | 61 => &[Base64],
        // NSEC3
        50 => &[U8, U8, U16, Salt, Hash, Types],
        // NSEC3PARAM
        51 => &[U8, U8, U16, Salt],
        // TLSA, SMIMEA
        52 | 53 => &[U8, U8, U8, Hex],
        // CSYNC
        62 => &[U32, U16, Types],
        // ZONEMD
        63 => &[U32, U8, U8, Hex],
        // SVCB, HTTPS
        64 | 65 => &[U16, Name, Parameters],
        // UINFO
        100 => &[Text],
        // UID, GID
        101 | 102 => &[U32],
        // NID
        104 => &[U16, Groups],
        // L32
        105 => &[U16, V4],
        // L64
        106 => &[U16, CapitalGroups],
        108 => &[Eui(6)],
        109 => &[Eui(8)],
        // URI
        256 => &[U16, U16, LongText],
        // CAA
        257 => &[U8, Word, LongText],
        _ => return None,
    })
}

/// Whether what a record of a type says can be told in words.
pub(super) fn is_known(ty: u16) -> bool {
    parts(ty).is_some()
}

/// What a record of a known type says, up to the reader's end; nothing where that is not as the type wants it. A record that says
/// nothing at all is an empty text.
pub(super) fn data(ty: u16, mut reader: Reader<'_>) -> Option<String> {
    let mut text = String::new();
    if reader.is_at_end() {
        return Some(text);
    }
    for (n, part) in parts(ty)?.iter().enumerate() {
        let list = matches!(part, Part::Types | Part::Parameters);
        if n > 0 && !list {
            text.push(' ');
        }
        part.present(&mut reader, &mut text)?;
    }
    reader.is_at_end().then_some(text)
}

/// Bytes that have no other form (RFC 3597, section 5).
pub(super) fn unknown(bytes: &[u8]) -> String {
    let mut text = format!("\\# {} ", bytes.len());
    hex(bytes, &mut text);
    text
}

impl Part {
    fn present(self, reader: &mut Reader<'_>, text: &mut String) -> Option<()> {
        match self {
            Self::U8 => push(text, reader.u8()?),
            Self::U16 => push(text, reader.u16()?),
            Self::U32 => push(text, reader.u32()?),
            Self::V4 => push(text, Ipv4Addr::from(reader.array::<4>()?)),
            Self::V6 => push(text, Ipv6Addr::from(reader.array::<16>()?)),
            Self::Name => push(text, DomainName::read(reader)?),
            Self::Text => quoted(counted(reader)?, text),
            Self::Word => escaped(counted(reader)?, text),
            Self::Texts => {
                for n in 0.. {
                    if reader.is_at_end() {
                        break;
                    }
                    if n > 0 {
                        text.push(' ');
                    }
                    quoted(counted(reader)?, text);
                }
            }
            Self::LongText => quoted(reader.rest(), text),
            Self::Hex => hex(reader.rest(), text),
            Self::CapitalHex => capital_hex(reader.rest(), text),
            Self::Salt => match counted(reader)? {
                [] => text.push('-'),
                salt => capital_hex(salt, text),
            },
            Self::Hash => base32(counted(reader)?, text),
            Self::Base64 => text.push_str(&BASE64_STANDARD.encode(reader.rest())),
            Self::Type => text.push_str(&type_text(reader.u16()?)),
            Self::Types => types(reader, text)?,
            Self::Time => time(reader.u32()?, text),
            Self::Groups => text.push_str(&groups(reader.array()?)),
            Self::CapitalGroups => text.push_str(&groups(reader.array()?).to_ascii_uppercase()),
            Self::Eui(length) => {
                let bytes: Vec<_> = reader.take(length)?.iter().map(|byte| format!("{byte:02x}")).collect();
                text.push_str(&bytes.join("-"));
            }
            Self::Location => location(reader, text)?,
            Self::Parameters => parameters(reader, text)?,
        }
        Some(())
    }
}

/// Appends what is displayed. Writing to a string cannot fail.
fn push(text: &mut String, shown: impl std::fmt::Display) {
    let _ = write!(text, "{shown}");
}

/// Bytes behind their number.
fn counted<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.u8()?;
    reader.take(length.into())
}

fn quoted(bytes: &[u8], text: &mut String) {
    text.push('"');
    escaped(bytes, text);
    text.push('"');
}

fn escaped(bytes: &[u8], text: &mut String) {
    bytes.iter().for_each(|byte| escape(*byte, b"\"\\", text));
}

/// A byte, behind a backslash where it is one of the `special`, by its number where it cannot be printed.
fn escape(byte: u8, special: &[u8], text: &mut String) {
    match byte {
        b' '..=b'~' if special.contains(&byte) => text.extend(['\\', char::from(byte)]),
        b' '..=b'~' => text.push(char::from(byte)),
        byte => push(text, format_args!("\\{byte:03}")),
    }
}

fn hex(bytes: &[u8], text: &mut String) {
    bytes.iter().for_each(|byte| push(text, format_args!("{byte:02x}")));
}

fn capital_hex(bytes: &[u8], text: &mut String) {
    bytes.iter().for_each(|byte| push(text, format_args!("{byte:02X}")));
}

fn groups(bytes: [u8; 8]) -> String {
    let [a, b, c, d] = [0, 2, 4, 6].map(|at| u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    format!("{a:04x}:{b:04x}:{c:04x}:{d:04x}")
}

/// Base 32 with the extended alphabet, without padding.
fn base32(bytes: &[u8], text: &mut String) {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
    for chunk in bytes.chunks(5) {
        let mut bits = 0_u64;
        for n in 0..5 {
            bits = bits << 8 | u64::from(chunk.get(n).copied().unwrap_or(0));
        }
        let digits = (chunk.len() * 8).div_ceil(5);
        for n in 0..digits {
            text.push(char::from(ALPHABET[(bits >> (35 - 5 * n) & 31) as usize]));
        }
    }
}

fn types(reader: &mut Reader<'_>, text: &mut String) -> Option<()> {
    let mut windows = 0;
    while !reader.is_at_end() {
        let window = reader.u8()?;
        let bitmap = counted(reader)?;
        // Blocks are in their order, and none is empty.
        if u16::from(window) < windows || bitmap.is_empty() || bitmap.len() > 32 {
            return None;
        }
        windows = u16::from(window) + 1;
        for (n, byte) in bitmap.iter().enumerate() {
            for bit in 0..8 {
                if byte & 0x80 >> bit != 0 {
                    let ty = u16::from(window) << 8 | (n * 8 + bit) as u16;
                    push(text, format_args!(" {}", type_text(ty)));
                }
            }
        }
    }
    Some(())
}

/// Seconds since 1970 as `YYYYMMDDHHmmSS` (RFC 4034, section 3.2), by the algorithm of H. Hinnant's "chrono-compatible low-level date
/// algorithms".
fn time(seconds: u32, text: &mut String) {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months are counted from March.
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    push(text, format_args!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"));
}

fn location(reader: &mut Reader<'_>, text: &mut String) -> Option<()> {
    const EQUATOR: u32 = 1 << 31;
    let [_version, size, horizontal, vertical] = reader.array()?;
    for (plus, minus) in [('N', 'S'), ('E', 'W')] {
        let angle = reader.u32()?;
        let direction = if angle > EQUATOR { plus } else { minus };
        let thousandths = angle.abs_diff(EQUATOR);
        let (degrees, minutes) = (thousandths / 3_600_000, thousandths / 60_000 % 60);
        let seconds = f64::from(thousandths % 60_000) / 1e3;
        push(text, format_args!("{degrees:02} {minutes:02} {seconds:.3} {direction} "));
    }
    let centimetres = reader.u32()?;
    let altitude = f64::from(centimetres) / 1e2 - 100_000.0;
    let digits = if centimetres.is_multiple_of(100) { 0 } else { 2 };
    push(text, format_args!("{altitude:.digits$}m"));
    for precision in [size, horizontal, vertical] {
        let (digit, exponent) = (precision >> 4, precision & 0xf);
        match exponent {
            0 => push(text, format_args!(" 0.{digit:02}m")),
            1 => push(text, format_args!(" 0.{digit}0m")),
            exponent => push(text, format_args!(" {digit}{}m", "0".repeat(usize::from(exponent) - 2))),
        }
    }
    Some(())
}

fn parameters(reader: &mut Reader<'_>, text: &mut String) -> Option<()> {
    let mut keys = 0;
    while !reader.is_at_end() {
        let (key, length) = (reader.u16()?, reader.u16()?);
        // Keys are in their order, and the last number is none.
        if u32::from(key) < keys || key == u16::MAX {
            return None;
        }
        keys = u32::from(key) + 1;
        let mut value = reader.ending_after(length.into())?;
        reader.take(length.into())?;
        push(text, format_args!(" {}=\"", parameter_key(key)));
        parameter(key, &mut value, text)?;
        text.push('"');
    }
    Some(())
}

fn parameter_key(key: u16) -> String {
    const KEYS: [&str; 9] =
        ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"];
    KEYS.get(usize::from(key)).map_or_else(|| format!("key{key}"), |name| (*name).to_owned())
}

fn parameter(key: u16, value: &mut Reader<'_>, text: &mut String) -> Option<()> {
    match key {
        0 => text.push_str(&joined(value, |value| value.u16().map(parameter_key))?),
        1 => text.push_str(&joined(value, |value| counted(value).map(protocol))?),
        2 | 8 => {}
        3 => push(text, value.u16()?),
        // At least one address.
        4 | 6 if value.is_at_end() => return None,
        4 => text.push_str(&joined(value, |value| value.array().map(|bytes| Ipv4Addr::from(bytes).to_string()))?),
        5 => text.push_str(&BASE64_STANDARD.encode(value.rest())),
        6 => text.push_str(&joined(value, |value| value.array().map(|bytes| Ipv6Addr::from(bytes).to_string()))?),
        _ => value.rest().iter().for_each(|byte| escape(*byte, b"\"; \\", text)),
    }
    value.is_at_end().then_some(())
}

/// All that is left, one after the other, with commas.
fn joined(value: &mut Reader<'_>, one: fn(&mut Reader<'_>) -> Option<String>) -> Option<String> {
    let mut all = Vec::new();
    while !value.is_at_end() {
        all.push(one(value)?);
    }
    Some(all.join(","))
}

/// The name of a protocol, in which what would end it is escaped twice (RFC 9460, appendix A.1).
fn protocol(name: &[u8]) -> String {
    let mut text = String::new();
    for byte in name {
        match byte {
            b',' => text.push_str(r"\\\044"),
            b'\\' => text.push_str(r"\\\092"),
            byte => escape(*byte, b"\"; ", &mut text),
        }
    }
    text
}
