//! HTTP dates (RFC 9110 §5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// The first second that no HTTP date can express: the year 10000.
const END: Duration = Duration::from_secs(253_402_300_800);

/// Reads a date in any of the three formats. With `lenient`, also in what Go writes for a time
/// that is not in UTC: the usual format with the zone's abbreviation, of which nobody knows
/// the offset, in place of `GMT`.
pub(crate) fn parse(value: &HeaderValue, lenient: bool) -> Option<SystemTime> {
    let text = value.to_str().ok()?.trim();
    if let Ok(date) = httpdate::parse_http_date(text) {
        return Some(date);
    }
    let (rest, zone) = text.rsplit_once(' ')?;
    if !lenient || !is_zone(zone.as_bytes()) {
        return None;
    }
    httpdate::parse_http_date(&format!("{rest} GMT")).ok()
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

/// The time in the one format that is to be sent. `None` outside the years 1970 to 9999.
pub(crate) fn format(time: SystemTime) -> Option<HeaderValue> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    if since >= END {
        return None;
    }
    HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("Sun, 21 Nov 2027 23:09:51 gmt", None, None),
            ("Sun, 21 Nov 2027 23:09:51 +3", None, None),
            ("Sun, 21 Nov 2027 23:09:51 ABCDEF", None, None),
            ("Sun, 21 Nov 2027 23:09:51", None, None),
            ("Sun, 21 Nov 2027 23:09:51 ", None, None),
            ("Sun, 31 Feb 2027 23:09:51 UTC", None, None),
            ("0", None, None),
            ("-1", None, None),
            ("", None, None),
            (" UTC", None, None),
        ];
        for (text, strict, lenient) in table {
            let value = HeaderValue::from_static(text);
            assert_eq!(parse(&value, false), strict, "{text}");
            assert_eq!(parse(&value, true), lenient, "{text}");
        }
        assert_eq!(format(time).unwrap(), table[0].0);
        assert_eq!(format(UNIX_EPOCH - Duration::from_secs(1)), None);
        assert_eq!(format(UNIX_EPOCH + END), None);
    }
}
