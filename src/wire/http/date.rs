//! Dates of HTTP, as Go's `net/http` reads them: what a server that is not quite right says is understood in the same way.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Reads a date in one of its three forms (RFC 9110, section 5.6.7). The name of the day need not be that of the date; nothing where the date
/// is none.
#[must_use]
pub fn date(text: &str) -> Option<SystemTime> {
    let seconds = fixdate(text).or_else(|| rfc850(text)).or_else(|| asctime(text))?;
    let span = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn fixdate(text: &str) -> Option<i64> {
    let mut rest = Rest(text);
    rest.name(&DAYS.map(|day| &day[..3]))?;
    rest.is(",")?;
    rest.blanks()?;
    let day = rest.digits(2)?;
    rest.blanks()?;
    let month = rest.name(&MONTHS)?;
    rest.blanks()?;
    let year = rest.digits(4)?;
    rest.blanks()?;
    let time = rest.time()?;
    rest.blanks()?;
    rest.is("GMT")?;
    rest.seconds(year, month, day, time)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`. Of other time zones the letters do not say which they are.
fn rfc850(text: &str) -> Option<i64> {
    let mut rest = Rest(text);
    rest.name(&DAYS)?;
    rest.is(",")?;
    rest.blanks()?;
    let day = rest.digits(2)?;
    rest.is("-")?;
    let month = rest.name(&MONTHS)?;
    rest.is("-")?;
    let year = rest.digits(2)?;
    rest.blanks()?;
    let time = rest.time()?;
    rest.blanks()?;
    let zone = rest.0.bytes().take_while(u8::is_ascii_uppercase).count();
    if !(3..=5).contains(&zone) {
        return None;
    }
    rest.0 = &rest.0[zone..];
    rest.seconds(if year < 69 { 2000 } else { 1900 } + year, month, day, time)
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime(text: &str) -> Option<i64> {
    let mut rest = Rest(text);
    rest.name(&DAYS.map(|day| &day[..3]))?;
    rest.blanks()?;
    let month = rest.name(&MONTHS)?;
    rest.blanks()?;
    let day = rest.up_to_two_digits()?;
    rest.blanks()?;
    let time = rest.time()?;
    rest.blanks()?;
    let year = rest.digits(4)?;
    rest.seconds(year, month, day, time)
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn is(&mut self, expected: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn blanks(&mut self) -> Option<()> {
        self.is(" ")?;
        self.0 = self.0.trim_start_matches(' ');
        Some(())
    }

    /// The place of a name in a list, in letters of either case.
    fn name(&mut self, names: &[&str]) -> Option<i64> {
        let starts = |name: &&str| self.0.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        let at = names.iter().position(starts)?;
        self.0 = &self.0[names[at].len()..];
        Some(at as i64)
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    }

    fn up_to_two_digits(&mut self) -> Option<i64> {
        let both = self.0.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        self.digits(if both { 2 } else { 1 })
    }

    /// Seconds since midnight; a fraction of one counts for nothing.
    fn time(&mut self) -> Option<i64> {
        let hour = self.up_to_two_digits()?;
        self.is(":")?;
        let minute = self.digits(2)?;
        self.is(":")?;
        let second = self.digits(2)?;
        if let Some(fraction) =
            self.0.strip_prefix(['.', ',']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        {
            self.0 = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        (hour < 24 && minute < 60 && second < 60).then_some((hour * 60 + minute) * 60 + second)
    }

    /// Seconds since 1970, where nothing is left and there is such a day; months from 0.
    fn seconds(&self, year: i64, month: i64, day: i64, time: i64) -> Option<i64> {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            1 => 28 + i64::from(leap(year)),
            3 | 5 | 8 | 10 => 30,
            _ => 31,
        };
        if !self.0.is_empty() || !(1..=length).contains(&day) {
            return None;
        }
        // Years begin with March, so that the day which is not in each of them is the last.
        let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
        let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        // Days from 1 March of the year 0 to 1 January 1970.
        let days = days + (month * 153 + 2) / 5 + day - 1 - 719_468;
        Some(days * DAY + time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        let date = date(text)?;
        let of = |span: Duration| span.as_secs().cast_signed();
        Some(date.duration_since(UNIX_EPOCH).map_or_else(|before| -of(before.duration()), of))
    }

    #[test]
    fn dates_are_read_as_servers_write_them() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Sun Nov 16 08:49:37 1994", 784_975_777),
            // Not quite right.
            ("Tue, 02 Jan 2006 15:04:05 GMT", 1_136_214_245),
            ("mon,  02 JAN 2006 15:04:05.999 GMT", 1_136_214_245),
            ("Monday, 02-Jan-06 15:04:05 UTC", 1_136_214_245),
            ("Mon, 02 Jan 1906 15:04:05 GMT", -2_019_545_755),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
            ("Sat, 01 Jan 0000 00:00:00 GMT", -62_167_219_200),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        // As httpdate writes them, over more than four centuries.
        for day in 0..160_000 {
            let date = UNIX_EPOCH + Duration::from_secs(day * 86_400 + day % 86_400);
            assert_eq!(super::date(&httpdate::fmt_http_date(date)), Some(date));
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "yesterday",
            "Mon, 2 Jan 2006 15:04:05 GMT",
            "Mon, 02 Jan 2006 15:04:05 UTC",
            "Mon, 02 Jan 2006 15:04:05 +0100",
            "Mon, 02 Jan 2006 15:04:05 GMT ",
            "Mon, 30 Feb 2006 15:04:05 GMT",
            "Wed, 29 Feb 1900 15:04:05 GMT",
            "Mon, 00 Jan 2006 15:04:05 GMT",
            "Mon, 02 Jan 2006 24:00:00 GMT",
            "Mon, 02 Jan 2006 15:60:05 GMT",
            "Mon, 02 Jan 2006 15:04:60 GMT",
            "Mon, +2 Jan 2006 15:04:05 GMT",
            "Moo, 02 Jan 2006 15:04:05 GMT",
            "Monday, 02-Jan-06 15:04:05 mst",
            "Mon, 02 Jän 2006 15:04:05 GMT",
            "1136214245",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
