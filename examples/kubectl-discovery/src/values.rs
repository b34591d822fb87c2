//! Flag values as Go reads them.

use std::time::Duration;

/// The longest duration that Go has.
const LONGEST: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

/// A boolean: `1`, `t`, `true` and so on.
pub(crate) fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false"),
    }
}

/// A duration: `10m`, `1h30m`, `1.5s`, `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const WANTED: &str = "not a duration, such as 30s, 10m or 1h30m";
    const TOO_LONG: &str = "too long a duration";
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(WANTED);
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| c != '.' && !c.is_ascii_digit())
            .ok_or(WANTED)?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(WANTED),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(WANTED);
        }
        let whole: u128 = match whole {
            "" => 0,
            whole => whole.parse().map_err(|_| TOO_LONG)?,
        };
        // An hour has 3.6e12 nanoseconds: further digits change nothing.
        let fraction = &fraction[..fraction.len().min(15)];
        let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or_default());
        let part = fraction.parse().unwrap_or(0) * unit / scale;
        total = whole
            .checked_mul(unit)
            .and_then(|whole| total.checked_add(whole)?.checked_add(part))
            .ok_or(TOO_LONG)?;
        rest = tail;
    }
    let total = u64::try_from(total).map_err(|_| TOO_LONG)?;
    in_go(Duration::from_nanos(total)).ok_or(TOO_LONG)
}

/// A duration that Go has as well: it counts nanoseconds in 64 bits, with a sign.
fn in_go(duration: Duration) -> Option<Duration> {
    i64::try_from(duration.as_nanos())
        .is_ok()
        .then_some(duration)
}

/// A timeout: whole seconds or a duration. Zero means none, and so does nothing at all or a duration below zero.
pub(crate) fn timeout(text: &str) -> Result<Duration, &'static str> {
    let below = text.strip_prefix('-').filter(|rest| duration(rest).is_ok());
    if text.is_empty() || below.is_some() {
        return Ok(Duration::ZERO);
    }
    match text.parse::<i64>() {
        // More than Go can count is as long as it can count.
        Ok(seconds) if seconds >= 0 => {
            let timeout = Duration::from_secs(seconds.unsigned_abs());
            Ok(in_go(timeout).unwrap_or(LONGEST))
        }
        _ => duration(text).map_err(
            |_| "must be a single integer in seconds, or an integer followed by a time unit (1s, 2m, 3h)",
        ),
    }
}

/// A verbosity: any number; one below zero shows nothing.
pub(crate) fn verbosity(text: &str) -> Result<u8, &'static str> {
    let number: i32 = text.parse().map_err(|_| "not a number")?;
    Ok(u8::try_from(number.clamp(0, 255)).unwrap_or_default())
}

/// The levels of klog's `--vmodule`, which mean nothing here: `pattern=N`, with commas between them.
pub(crate) fn levels(text: &str) -> Result<String, &'static str> {
    for level in text.split(',').filter(|level| !level.is_empty()) {
        let number = match level.split_once('=') {
            Some((pattern, number)) if !pattern.is_empty() => number.parse::<i32>().ok(),
            _ => None,
        };
        match number {
            Some(0..) => {}
            Some(_) => return Err("negative value for vmodule level"),
            None => return Err("syntax error: expect comma-separated list of filename=N"),
        }
    }
    Ok(text.to_owned())
}

/// Texts with commas between them, where quotes hold a comma: one line of CSV.
pub(crate) fn list(text: &str) -> Result<List, &'static str> {
    let mut texts = Vec::new();
    let mut rest = text;
    while !text.is_empty() {
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return Err("a quote inside of a text without quotes");
            }
            texts.push(rest[..end].to_owned());
            match rest.get(end + 1..) {
                Some(tail) => rest = tail,
                None => break,
            }
            continue;
        };
        let mut item = String::new();
        let mut tail = quoted;
        loop {
            let (part, after) = tail.split_once('"').ok_or("a quote that does not end")?;
            item.push_str(part);
            // Two quotes stand for one.
            match after.strip_prefix('"') {
                Some(after) => {
                    item.push('"');
                    tail = after;
                }
                None => {
                    tail = after;
                    break;
                }
            }
        }
        texts.push(item);
        match tail.strip_prefix(',') {
            Some(after) => rest = after,
            None if tail.is_empty() => break,
            None => return Err("something behind the end of a quote"),
        }
    }
    Ok(List(texts))
}

/// The texts that [`list`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List(Vec<String>);

impl List {
    /// Several lists as one.
    pub(crate) fn join(lists: Vec<Self>) -> Vec<String> {
        lists.into_iter().flat_map(|list| list.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_go() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("+250ms", 250),
            ("2m0.25s", 120_250),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "", "1", "-1s", "1d", "s", ".s", "1..5s", "1h30", "9999999h", "1e3s", "10 m",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(timeout("5"), Ok(Duration::from_secs(5)));
        assert_eq!(timeout("5s"), Ok(Duration::from_secs(5)));
        for none in ["", "-1s", "-0.5h", "0"] {
            assert_eq!(timeout(none), Ok(Duration::ZERO), "{none}");
        }
        assert!(timeout("-1").is_err());
        assert_eq!(
            [verbosity("-1"), verbosity("6"), verbosity("999")],
            [Ok(0), Ok(6), Ok(255)]
        );
        assert!(verbosity("x").is_err());
        assert!(timeout("abc").is_err());
        // The longest that Go has, and more than that.
        let longest = Duration::from_nanos(i64::MAX.unsigned_abs());
        assert_eq!(duration("9223372036854775807ns"), Ok(longest));
        assert_eq!(
            timeout("9223372036"),
            Ok(Duration::from_secs(9_223_372_036))
        );
        for long in ["9223372037", "9223372036854775807"] {
            assert_eq!(timeout(long), Ok(longest), "{long}");
        }
        for long in ["18446744073709551615", "9223372036854775808ns"] {
            assert!(timeout(long).is_err(), "{long}");
        }
        for long in [
            "94522879700260684295381835.99h",
            "340282366920938463463374607431768211455ns1ns",
            "340282366920938463463374607431768211456ns",
        ] {
            assert_eq!(duration(long), Err("too long a duration"), "{long}");
        }
    }

    #[test]
    fn lists_are_read_as_a_line_of_csv() {
        let texts = |text| list(text).map(|list| list.0);
        assert_eq!(texts(""), Ok(vec![]));
        assert_eq!(texts("get,list"), Ok(vec!["get".into(), "list".into()]));
        assert_eq!(texts("get, list"), Ok(vec!["get".into(), " list".into()]));
        assert_eq!(texts("\"get\",list"), Ok(vec!["get".into(), "list".into()]));
        assert_eq!(texts("\"a,\"\"b\""), Ok(vec!["a,\"b".into()]));
        assert_eq!(texts("a,"), Ok(vec!["a".into(), String::new()]));
        for bad in ["get \"", "\"a", "\"a\"b"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn levels_are_read_as_in_klog() {
        for good in ["", ",", "x=2", "a=2,b*=3,", "a=+1"] {
            assert!(levels(good).is_ok(), "{good}");
        }
        for bad in ["x", "a=b", "=5", "a=-1", "a=1=2", "a=", "a=99999999999"] {
            assert!(levels(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn booleans_are_read_as_in_go() {
        assert_eq!(boolean("T"), Ok(true));
        assert_eq!(boolean("0"), Ok(false));
        assert!(boolean("maybe").is_err());
    }
}
