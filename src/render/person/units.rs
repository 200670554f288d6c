//! Times as a person reads them.

/// Seconds as milliseconds, with a digit behind the point or, where it is short, up to three.
pub(super) fn milliseconds(seconds: f64) -> String {
    let milliseconds = seconds * 1000.0;
    let digits = match milliseconds {
        ..10.0 => 3,
        ..100.0 => 2,
        _ => 1,
    };
    format!("{milliseconds:.digits$}")
}

/// Seconds since 1970 as a date and a time of day, in UTC.
pub(super) fn date(unix_seconds: f64) -> String {
    let seconds = unix_seconds.floor() as i64;
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years from March on, so that leap days are their last: Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + later;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// How far a time is from another, both in seconds since 1970, in whole days.
pub(super) fn days(from: f64, to: f64) -> String {
    let days = ((to - from).abs() / 86_400.0).floor();
    let word = if days == 1.0 { "day" } else { "days" };
    if to < from { format!("{days} {word} ago") } else { format!("in {days} {word}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_have_digits_that_say_something() {
        for (seconds, expected) in [
            (0.0, "0.000"),
            (0.000_034, "0.034"),
            (0.009_9, "9.900"),
            (0.060_213, "60.21"),
            (0.512_34, "512.3"),
            (12.0, "12000.0"),
        ] {
            assert_eq!(milliseconds(seconds), expected);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0.0, "1970-01-01 00:00:00 UTC"),
            (-1.0, "1969-12-31 23:59:59 UTC"),
            (951_782_399.0, "2000-02-28 23:59:59 UTC"),
            (951_782_400.9, "2000-02-29 00:00:00 UTC"),
            (1_700_000_000.0, "2023-11-14 22:13:20 UTC"),
            (-2_203_891_200.0, "1900-03-01 00:00:00 UTC"),
            (253_402_300_800.0, "10000-01-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn days_are_whole() {
        assert_eq!(days(0.0, 86_399.0), "in 0 days");
        assert_eq!(days(0.0, 90_000.0), "in 1 day");
        assert_eq!(days(200_000.0, 0.0), "2 days ago");
    }
}
