//! Sizes as blackbox_exporter writes them: `10MB`, `1.5MiB`, `1MB512KB`. All units count by 1024.

use super::duration::amount;

/// The units; each may have an `i` before its `B`.
const UNITS: &str = "KMGTPE";

/// What fits in blackbox_exporter's number.
const LARGEST: u128 = 1 << 63;

/// Reads a size, in bytes.
///
/// # Errors
/// What would be right.
pub(super) fn parse_byte_size(text: &str) -> Result<u64, String> {
    if text.starts_with('-') {
        return Err(format!("{text:?} is negative; a size is 0 or more"));
    }
    let wrong = || {
        format!(
            "{text:?} is not a size; write a number and a unit: B, KB, MB, GB, TB, PB, EB or KiB, MiB and so on (10MB)"
        )
    };
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: u128 = 0;
    let mut binary = None;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        if unit.len() > 1 && *binary.get_or_insert(unit.ends_with("iB")) != unit.ends_with("iB") {
            return Err(format!("{text:?} has two kinds of units; write MB and KB, or MiB and KiB"));
        }
        total += amount(number, unit_of(unit).ok_or_else(wrong)?).ok_or_else(wrong)?;
        if total > LARGEST {
            return Err(format!("{text:?} is larger than 8EiB"));
        }
        rest = tail;
    }
    Ok(total as u64)
}

/// A unit in bytes.
fn unit_of(unit: &str) -> Option<u128> {
    let prefix = unit.strip_suffix("iB").filter(|prefix| !prefix.is_empty()).or_else(|| unit.strip_suffix('B'))?;
    match prefix {
        "" => Some(1),
        prefix if prefix.len() == 1 => UNITS.find(prefix).map(|power| 1 << (10 * (power + 1))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of these was held against blackbox_exporter.
    #[test]
    fn sizes_are_those_of_blackbox_exporter() {
        let cases: [(&str, u64); 21] = [
            ("0", 0),
            ("+0", 0),
            ("0B", 0),
            ("1B", 1),
            ("1KB", 1 << 10),
            ("10MB", 10 << 20),
            ("1MiB", 1 << 20),
            ("1.5MB", 3 << 19),
            (".5MB", 1 << 19),
            ("1.MB", 1 << 20),
            ("007MB", 7 << 20),
            ("+1MB", 1 << 20),
            ("0.5B", 0),
            ("1B1B", 2),
            ("1MB512KB", 3 << 19),
            ("1MiB512KiB", 3 << 19),
            ("1GB", 1 << 30),
            ("1TiB", 1 << 40),
            ("1PB", 1 << 50),
            ("7EiB", 7 << 60),
            ("8EiB", 1 << 63),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_byte_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_it_refuses_is_refused_and_what_is_negative_too() {
        for text in [
            "",
            "+",
            "1024",
            "1K",
            "1kb",
            "1kB",
            "1 MB",
            "1MB ",
            ".MB",
            "1..5MB",
            "1e3B",
            "9EB",
            "iB",
            "1iB",
            "1ZB",
            "99999999999999999999999B",
            "MB",
            "1MB1",
        ] {
            assert!(parse_byte_size(text).is_err(), "{text}");
        }
        assert_eq!(parse_byte_size("-1B").unwrap_err(), "\"-1B\" is negative; a size is 0 or more");
        let mixed = "\"1MiB512KB\" has two kinds of units; write MB and KB, or MiB and KiB";
        assert_eq!(parse_byte_size("1MiB512KB").unwrap_err(), mixed);
        assert_eq!(parse_byte_size("8EB1B").unwrap_err(), "\"8EB1B\" is larger than 8EiB");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}|[0-9.]{1,22}[KMGTPE]?i?B") {
            let _ = parse_byte_size(&text);
        }
    }
}
