//! Durations as Go writes them: `1m30s`, `1.5s`, `300ms`; and days, weeks, years.

use std::time::Duration;

/// A second's worth of nanoseconds.
const SECOND: u128 = 1_000_000_000;

/// The longest duration that Go's type holds, some 292 years.
const LONGEST: u128 = i64::MAX as u128;

/// Reads a duration.
///
/// # Errors
/// What would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return Err(format!("{text:?} is negative; a duration is 0s or more"));
    }
    let wrong =
        || format!("{text:?} is not a duration; write a number and a unit: ns, us, ms, s, m, h, d, w, y (5s, 1m30s)");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        total += amount(number, unit_of(unit).ok_or_else(wrong)?).ok_or_else(wrong)?;
        if total > LONGEST {
            return Err(format!("{text:?} is longer than 292y"));
        }
        rest = tail;
    }
    Ok(Duration::new((total / SECOND) as u64, (total % SECOND) as u32))
}

/// A unit in nanoseconds.
fn unit_of(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        "d" => 86_400 * SECOND,
        "w" => 7 * 86_400 * SECOND,
        "y" => 365 * 86_400 * SECOND,
        _ => return None,
    })
}

/// A decimal number of units, in whole nanoseconds (or bytes); what is smaller is cut off, as Go does.
pub(super) fn amount(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 20 || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Eighteen digits are finer than a nanosecond of a year.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u128>().ok()? * unit / 10_u128.pow(fraction.len() as u32)
    };
    Some(whole * unit + part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        let cases: [(&str, u64); 16] = [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("1m", 60_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("500ms", 500_000_000),
            ("5us", 5_000),
            ("5µs", 5_000),
            ("7ns", 7),
            ("+2s", 2_000_000_000),
            ("1d", 86_400_000_000_000),
            ("0.1234567891s", 123_456_789),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
        assert_eq!(parse_duration("1w1d"), Ok(Duration::from_secs(8 * 86_400)));
        assert_eq!(parse_duration("1y"), Ok(Duration::from_secs(365 * 86_400)));
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in
            ["", "+", "5", "s", ".s", "1e3s", "30 s", "1m30", "1..5s", "5S", "five", "5s ", "99999999999999999999999s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_negative_or_too_long_is_told_so() {
        assert_eq!(parse_duration("-5s").unwrap_err(), "\"-5s\" is negative; a duration is 0s or more");
        assert_eq!(parse_duration("300y").unwrap_err(), "\"300y\" is longer than 292y");
        assert!(parse_duration("292y").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn whole_milliseconds_survive(ms in 0_u64..10_000_000) {
            proptest::prop_assert_eq!(parse_duration(&format!("{ms}ms")), Ok(Duration::from_millis(ms)));
        }
    }
}
