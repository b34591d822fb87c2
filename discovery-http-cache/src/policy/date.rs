//! HTTP dates (RFC 9110 §5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// The first second that no HTTP date can express: the year 10000.
const END: Duration = Duration::from_secs(253_402_300_800);

/// Fifty years of 365.2425 days.
const FIFTY_YEARS: Duration = Duration::from_secs(50 * 31_556_952);

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Reads a date in any of the three formats, in upper or lower case (RFC 9111 §4.2). With
/// `lenient`, also in what Go writes for a time that is not in UTC: the zone's abbreviation, of which
/// nobody knows the offset, in place of `GMT`.
///
/// The name of the day has to be one, but not the right one: the rest says all. `now` tells
/// which century a year of two digits is of.
pub(crate) fn parse(value: &HeaderValue, lenient: bool, now: SystemTime) -> Option<SystemTime> {
    usual(value.as_bytes()).or_else(|| any(value, lenient, now))
}

/// The format that is to be sent, and nearly always is: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn usual(text: &[u8]) -> Option<SystemTime> {
    let text: &[u8; 29] = text.try_into().ok()?;
    let separators = [3, 4, 7, 11, 16, 19, 22].map(|at| text[at]);
    if separators != *b",    ::" || text[25..] != *b" GMT" {
        return None;
    }
    let number = |at: usize| {
        let [tens, ones] = [text[at], text[at + 1]].map(|b| u64::from(b.wrapping_sub(b'0')));
        (tens <= 9 && ones <= 9).then_some(tens * 10 + ones)
    };
    let (hours, minutes, seconds) = (number(17)?, number(20)?, number(23)?);
    let is_day = matches!(
        &text[..3],
        b"Mon" | b"Tue" | b"Wed" | b"Thu" | b"Fri" | b"Sat" | b"Sun"
    );
    if !is_day || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let fields = Fields {
        year: number(12)? * 100 + number(14)?,
        month: match &text[8..11] {
            b"Jan" => 0,
            b"Feb" => 1,
            b"Mar" => 2,
            b"Apr" => 3,
            b"May" => 4,
            b"Jun" => 5,
            b"Jul" => 6,
            b"Aug" => 7,
            b"Sep" => 8,
            b"Oct" => 9,
            b"Nov" => 10,
            b"Dec" => 11,
            _ => return None,
        },
        day: number(5)?,
        seconds: hours * 3600 + minutes * 60 + seconds,
    };
    time(fields.year, &fields)
}

fn any(value: &HeaderValue, lenient: bool, now: SystemTime) -> Option<SystemTime> {
    let text = value.to_str().ok()?.trim();
    let Some((day, rest)) = text.split_once(", ") else {
        return asctime(text);
    };
    let is = |name: &&str| name.eq_ignore_ascii_case(day);
    if DAYS.iter().any(|name| is(&&name[..3])) {
        imf(rest, lenient)
    } else if DAYS.iter().any(is) {
        rfc850(rest, lenient, now)
    } else {
        None
    }
}

/// The time in the one format that is to be sent. `None` outside the years 1970 to 9999.
pub(crate) fn format(time: SystemTime) -> Option<HeaderValue> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    if since >= END {
        return None;
    }
    HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()
}

/// `06 Nov 1994 08:49:37 GMT`
fn imf(text: &str, lenient: bool) -> Option<SystemTime> {
    let fields = fields(text, "DD NNN YYYY hh:mm:ss ", lenient)?;
    time(fields.year, &fields)
}

/// `06-Nov-94 08:49:37 GMT`
fn rfc850(text: &str, lenient: bool, now: SystemTime) -> Option<SystemTime> {
    let fields = fields(text, "DD-NNN-YY hh:mm:ss ", lenient)?;
    // More than fifty years from now is in the past.
    let latest = now.checked_add(FIFTY_YEARS)?;
    (0..100)
        .rev()
        .filter_map(|century| time(century * 100 + fields.year, &fields))
        .find(|time| *time <= latest)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &str) -> Option<SystemTime> {
    let (day, rest) = text.split_at_checked(3)?;
    if !DAYS.iter().any(|name| name[..3].eq_ignore_ascii_case(day)) {
        return None;
    }
    let padded;
    let rest = match rest.as_bytes().get(5)? {
        // A day of one digit.
        b' ' => {
            padded = format!("{}0{}", rest.get(..5)?, rest.get(6..)?);
            &*padded
        }
        _ => rest,
    };
    let fields = fields(&format!("{rest} GMT"), " NNN DD hh:mm:ss YYYY ", false)?;
    time(fields.year, &fields)
}

#[derive(Default)]
struct Fields {
    year: u64,
    month: usize,
    day: u64,
    seconds: u64,
}

/// Takes a text apart that has the form of `pattern`, with a zone behind it.
fn fields(text: &str, pattern: &str, lenient: bool) -> Option<Fields> {
    let (text, zone) = text.split_at_checked(pattern.len())?;
    let is_gmt = zone.eq_ignore_ascii_case("GMT");
    if !is_gmt && (!lenient || !is_zone(zone.as_bytes())) {
        return None;
    }
    let mut fields = Fields::default();
    let (mut hours, mut minutes, mut seconds) = (0, 0, 0);
    for (b, kind) in text.bytes().zip(pattern.bytes()) {
        let number = match kind {
            b'Y' => &mut fields.year,
            b'D' => &mut fields.day,
            b'h' => &mut hours,
            b'm' => &mut minutes,
            b's' => &mut seconds,
            b'N' => continue,
            separator if separator == b => continue,
            _ => return None,
        };
        let digit = char::from(b).to_digit(10)?;
        *number = *number * 10 + u64::from(digit);
    }
    let at = pattern.find('N')?;
    let month = text.get(at..at + 3)?;
    fields.month = MONTHS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(month))?;
    // There are leap seconds.
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    fields.seconds = hours * 3600 + minutes * 60 + seconds;
    Some(fields)
}

/// The instant. `None` for a day that the month does not have.
fn time(year: u64, fields: &Fields) -> Option<SystemTime> {
    /// How many days of the year were before the month, if it is no leap year.
    const BEFORE: [u64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let leap_day = u64::from(is_leap);
    let before = BEFORE[fields.month];
    let length = BEFORE[fields.month + 1] - before + if fields.month == 1 { leap_day } else { 0 };
    if !(1..=length).contains(&fields.day) {
        return None;
    }
    let leap_day_before = if fields.month > 1 { leap_day } else { 0 };
    let days = days_before(year) + before + leap_day_before + fields.day - 1;
    let [days, epoch] =
        [days, days_before(1970)].map(|days| Duration::from_secs(days * 24 * 60 * 60));
    let seconds = Duration::from_secs(fields.seconds);
    match days.checked_sub(epoch) {
        Some(since) => UNIX_EPOCH.checked_add(since + seconds),
        None => UNIX_EPOCH.checked_sub(epoch - days)?.checked_add(seconds),
    }
}

/// From the beginning of the year 0 to that of `year`.
fn days_before(year: u64) -> u64 {
    // The years before that are multiples of something, the year 0 among them.
    let multiples = |of: u64| year.div_ceil(of);
    year * 365 + multiples(4) - multiples(100) + multiples(400)
}

/// `EST`, `CEST`, and for zones without a name `+03` or `-0330`.
fn is_zone(zone: &[u8]) -> bool {
    match zone {
        [b'+' | b'-', digits @ ..] => {
            (2..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        letters => (1..=5).contains(&letters.len()) && letters.iter().all(u8::is_ascii_uppercase),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T23:10:00Z
    const NOW: Duration = Duration::from_secs(1_795_302_600);

    fn read(text: &str, lenient: bool) -> Option<SystemTime> {
        let value = HeaderValue::from_str(text).unwrap();
        parse(&value, lenient, UNIX_EPOCH + NOW)
    }

    #[test]
    fn dates() {
        let time = UNIX_EPOCH + Duration::from_secs(1_826_838_591);
        let second = Some(time);
        let table = [
            ("Sun, 21 Nov 2027 23:09:51 GMT", second, second),
            ("Sunday, 21-Nov-27 23:09:51 GMT", second, second),
            ("Sun Nov 21 23:09:51 2027", second, second),
            ("Sun, 21 Nov 2027 23:09:51 UTC", None, second),
            ("Sun, 21 Nov 2027 23:09:51 EST", None, second),
            ("Sun, 21 Nov 2027 23:09:51 ACWST", None, second),
            ("Sun, 21 Nov 2027 23:09:51 +03", None, second),
            ("Sun, 21 Nov 2027 23:09:51 -0330", None, second),
            // RFC 9111 §4.2: in any case.
            ("sUN, 21 NOV 2027 23:09:51 gmt", second, second),
            ("SUNDAY, 21-nov-27 23:09:51 Gmt", second, second),
            ("SUN nov 21 23:09:51 2027", second, second),
            // The day's name says nothing new.
            ("Mon, 21 Nov 2027 23:09:51 GMT", second, second),
            ("Mon Nov 21 23:09:51 2027", second, second),
            ("Xxx, 21 Nov 2027 23:09:51 GMT", None, None),
            ("Sun, 21 Nov 2027 23:09:51 +3", None, None),
            ("Sun, 21 Nov 2027 23:09:51 ABCDEF", None, None),
            ("Sun, 21 Nov 2027 23:09:51", None, None),
            ("Sun, 21 Nov 2027 23:09:51 ", None, None),
            ("Sun, 31 Feb 2027 23:09:51 UTC", None, None),
            ("Sun, 00 Nov 2027 23:09:51 GMT", None, None),
            ("Sun, 21 Nov 2027 24:09:51 GMT", None, None),
            ("Sun, 21 Nov 2027 23:60:51 GMT", None, None),
            ("Sun, 21 Nov 2027 23:09:61 GMT", None, None),
            ("Sun, 21 Nov 2027 3:09:51 GMT", None, None),
            ("Sun, 21 Nov 2027 23.09.51 GMT", None, None),
            ("Sun,  21 Nov 2027  23:09:51 GMT", None, None),
            ("Sun 21 Nov 2027 23:09:51 GMT", None, None),
            ("Sun, 21-Nov-2027 23:09:51 GMT", None, None),
            ("Sun, 21 Nov 27 23:09:51 GMT", None, None),
            ("Sun, +1 Nov 2027 23:09:51 GMT", None, None),
            ("Sun Nov 21 23:09:51 2027 GMT", None, None),
            ("Sun Nov  21 23:09:51 2027", None, None),
            ("0", None, None),
            ("-1", None, None),
            ("", None, None),
            (" UTC", None, None),
            ("Sun, ", None, None),
            ("Sun Nov ", None, None),
        ];
        for (text, strict, lenient) in table {
            assert_eq!(read(text, false), strict, "{text}");
            assert_eq!(read(text, true), lenient, "{text}");
        }
        assert_eq!(format(time).unwrap(), table[0].0);
        assert_eq!(format(UNIX_EPOCH - Duration::from_secs(1)), None);
        assert_eq!(format(UNIX_EPOCH + END), None);
    }

    /// RFC 9110 §5.6.7: more than fifty years ahead means the past.
    #[test]
    fn years_of_two_digits() {
        for (year, expected) in [
            ("27", 2027),
            ("76", 2076),
            ("77", 1977),
            ("94", 1994),
            ("26", 2026),
        ] {
            let short = read(&format!("Sunday, 06-Nov-{year} 08:49:37 GMT"), false);
            let long = read(&format!("Sun, 06 Nov {expected} 08:49:37 GMT"), false);
            assert_eq!(short, long, "{year}");
            assert!(short.is_some());
        }
        // Some days too many.
        assert_eq!(
            read("Sunday, 06-Dec-76 08:49:37 GMT", false),
            read("Sun, 06 Dec 1976 08:49:37 GMT", false)
        );
    }

    /// Each day for four hundred years, as another implementation writes it.
    #[test]
    fn all_days() {
        for day in 0..146_097 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + 42);
            assert_eq!(read(&httpdate::fmt_http_date(time), false), Some(time));
        }
        let asctime = read("Sun Nov  6 08:49:37 1994", false);
        assert_eq!(asctime, read("Sun, 06 Nov 1994 08:49:37 GMT", false));
        let leap = read("Sat, 31 Dec 2016 23:59:60 GMT", false);
        assert_eq!(leap, read("Sun, 01 Jan 2017 00:00:00 GMT", false));
        let before = read("Thu, 01 Jan 1960 00:00:00 GMT", false).unwrap();
        let days = UNIX_EPOCH.duration_since(before).unwrap().as_secs() / 86_400;
        assert_eq!(days, 3653);
    }

    /// There is no panic, and the quick way to read a date agrees with the slow one.
    #[test]
    fn odd_texts() {
        let good = "Sun, 06 Nov 1994 08:49:37 GMT";
        let mut usual_ones = 0;
        for at in 0..good.len() {
            for b in 0x20..0x7f_u8 {
                let mut text = good.as_bytes().to_vec();
                text[at] = b;
                if let Some(time) = usual(&text) {
                    let value = HeaderValue::from_bytes(&text).unwrap();
                    assert_eq!(any(&value, false, time), Some(time), "{value:?}");
                    usual_ones += 1;
                }
                let _ = read(std::str::from_utf8(&text).unwrap(), true);
            }
            let _ = read(&good[at..], true);
            let _ = read(&good[..at], true);
        }
        assert!(usual_ones > good.len());
    }
}
