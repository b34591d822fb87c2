//! HTTP dates (RFC 9110 §5.6.7), the slow way: the numbers are taken out of the text, and the text
//! is right if writing the date down in one of the three forms gives it again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// The date in a text, in seconds since 1970, in any case and with any day of the week.
///
/// With `zones`, `GMT` may be another abbreviation. Years of two digits are those that are at most
/// fifty years after `now`.
///
/// ```
/// use discovery_http_cache_fuzz::model::date;
/// use std::time::SystemTime;
///
/// let now = SystemTime::UNIX_EPOCH;
/// assert_eq!(date("Thu, 01 Jan 1970 00:01:00 GMT", false, now), Some(60));
/// assert_eq!(date("thursday, 01-jan-70 00:01:00 gmt", false, now), Some(60));
/// assert_eq!(date("Thu Jan  1 00:01:00 1970", false, now), Some(60));
/// assert_eq!(date("Thu, 31 Feb 1970 00:01:00 GMT", false, now), None);
/// ```
#[must_use]
pub fn date(text: &str, zones: bool, now: SystemTime) -> Option<i64> {
    let text = text.trim_matches([' ', '\t']).to_ascii_lowercase();
    let words: Vec<&str> = text
        .split([' ', ',', '-', ':'])
        .filter(|word| !word.is_empty())
        .collect();
    let [day, words @ ..] = &words[..] else {
        return None;
    };
    let (zone, numbers) = match words {
        // Day Mon 1 00:00:00 1970
        [month, day, hour, minute, second, year] if DAYS.contains(day) || month.len() == 3 => {
            ("gmt", [*year, *month, *day, *hour, *minute, *second])
        }
        [day, month, year, hour, minute, second, zone] => {
            (*zone, [*year, *month, *day, *hour, *minute, *second])
        }
        // A zone such as -03 is parted from its sign.
        [day, month, year, hour, minute, second] => {
            ("", [*year, *month, *day, *hour, *minute, *second])
        }
        _ => return None,
    };
    let [year, month, dom, hour, minute, second] = numbers;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let number = |word: &str| word.parse::<u32>().ok();
    let (dom, hour) = (number(dom)?, number(hour)?);
    let (minute, second) = (number(minute)?, number(second)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let zone = match text.rsplit_once(' ') {
        Some((_, last)) if zones && is_zone(last) => last,
        _ => zone,
    };
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    let name = MONTHS[month];
    let (of_day, date) = (i64::from(hour * 3600 + minute * 60 + second), dom);
    let good_zone = zone == "gmt" || zones && is_zone(zone);

    let imf = format!("{day}, {dom:02} {name} {year:0>4} {clock} {zone}");
    let asctime = format!("{day} {name} {dom:>2} {clock} {year:0>4}");
    let asctime_padded = format!("{day} {name} {dom:02} {clock} {year:0>4}");
    let rfc850 = format!("{day}, {dom:02}-{name}-{year:0>2} {clock} {zone}");
    if DAYS.contains(day)
        && year.len() == 4
        && (text == imf && good_zone || text == asctime || text == asctime_padded)
    {
        return Some(days(number(year)?, month, date)? * 86_400 + of_day);
    }
    if LONG_DAYS.contains(day) && year.len() == 2 && text == rfc850 && good_zone {
        let limit = now.checked_add(Duration::from_secs(50 * 31_556_952))?;
        let limit = i64::try_from(limit.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
        let year = number(year)?;
        return (0..100)
            .filter_map(|century| days(century * 100 + year, month, date))
            .map(|days| days * 86_400 + of_day)
            .filter(|time| *time <= limit)
            .max();
    }
    None
}

fn is_zone(zone: &str) -> bool {
    let sign = zone.strip_prefix(['+', '-']);
    match sign {
        Some(digits) => {
            (2..=4).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit())
        }
        None => (1..=5).contains(&zone.len()) && zone.chars().all(|c| c.is_ascii_lowercase()),
    }
}

/// The days from 1970 to a date, counted one by one for the year's part. `None` for a date that is
/// not in the calendar.
fn days(year: u32, month: usize, date: u32) -> Option<i64> {
    let is_leap = |year: u32| {
        let of = |n| year.is_multiple_of(n);
        of(4) && !of(100) || of(400)
    };
    let length = |month: usize| match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    if date == 0 || date > length(month) {
        return None;
    }
    let years: i64 = (0..year)
        .map(|year| if is_leap(year) { 366 } else { 365 })
        .sum();
    let months: u32 = (0..month).map(length).sum();
    Some(years + i64::from(months + date) - 1 - 719_528)
}
