//! YAML as kubectl prints it: fields sorted, lists not indented, quotes only where needed.
//!
//! Names in discovery documents are DNS labels and the like; for texts that no server sends (of
//! several lines, or longer than a line) it is YAML with the same meaning, in double quotes and
//! unfolded, and not kubectl's bytes.

use std::fmt::Write;

use super::Node;

/// Appends the document.
pub(crate) fn write(out: &mut String, node: &Node<'_>) {
    match node {
        Node::Map(fields) => map(out, fields, 0),
        Node::List(items) => list(out, items, 0),
        scalar => line(out, scalar),
    }
}

fn map(out: &mut String, fields: &[(&'static str, Node<'_>)], indent: usize) {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    for (at, (name, value)) in fields.into_iter().enumerate() {
        // The first line is where the caller is already: behind a dash, or at the beginning.
        if at > 0 {
            pad(out, indent);
        }
        out.push_str(name);
        out.push(':');
        match value {
            Node::List(items) if !items.is_empty() => {
                out.push('\n');
                list(out, items, indent);
            }
            Node::Map(fields) if !fields.is_empty() => {
                out.push('\n');
                pad(out, indent + 2);
                map(out, fields, indent + 2);
            }
            scalar => {
                out.push(' ');
                line(out, scalar);
            }
        }
    }
}

fn list(out: &mut String, items: &[Node<'_>], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push_str("- ");
        match item {
            Node::Map(fields) if !fields.is_empty() => map(out, fields, indent + 2),
            scalar => line(out, scalar),
        }
    }
}

fn line(out: &mut String, node: &Node<'_>) {
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Node::Text(text) => scalar(out, text),
        Node::List(_) => out.push_str("[]"),
        Node::Map(_) => out.push_str("{}"),
    }
    out.push('\n');
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(out: &mut String, text: &str) {
    if means_something_else(text) || !text.chars().all(is_printable) {
        double_quoted(out, text);
    } else if can_be_plain(text) {
        out.push_str(text);
    } else {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    }
}

/// Whether the text without quotes would be read as null, a boolean, a number or a time: by the
/// rules of YAML 1.1, which has more of all these than YAML 1.2.
fn means_something_else(text: &str) -> bool {
    const WORDS: [&str; 22] = [
        "~", "y", "n", "yes", "no", "on", "off", "true", "false", "null", ".nan", ".inf", "+.inf",
        "-.inf", ".NaN", ".Inf", "+.Inf", "-.Inf", "Y", "N", "", ".INF",
    ];
    let lower = text.to_ascii_lowercase();
    let is_cased = || {
        let title = lower
            .get(..1)
            .map(|first| first.to_ascii_uppercase() + &lower[1..]);
        text == lower || text == lower.to_ascii_uppercase() || Some(text) == title.as_deref()
    };
    if WORDS.contains(&text) || (WORDS.contains(&lower.as_str()) && is_cased()) {
        return true;
    }
    match text.as_bytes()[0] {
        b'+' | b'-' | b'.' | b'0'..=b'9' => {
            is_number(text) || is_sexagesimal(text) || is_time(text)
        }
        _ => false,
    }
}

fn is_number(text: &str) -> bool {
    // Underscores are for the eye.
    let text = text.replace('_', "");
    let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let radix = |prefix: [&str; 2], radix: u32| {
        let digits = prefix
            .into_iter()
            .find_map(|prefix| digits.strip_prefix(prefix));
        digits
            .is_some_and(|digits| is_unsigned(digits) && u64::from_str_radix(digits, radix).is_ok())
    };
    // Go's parser does the same behind this prefix.
    let has_inner_sign = text.strip_prefix("0b");
    if has_inner_sign.is_some_and(|digits| i64::from_str_radix(digits, 2).is_ok()) {
        return true;
    }
    if radix(["0x", "0X"], 16) || radix(["0o", "0O"], 8) || radix(["0b", "0B"], 2) {
        return true;
    }
    // Rust's own parser takes words as well.
    let numeric =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    is_unsigned(digits) && digits.bytes().all(numeric) && digits.parse().is_ok_and(f64::is_finite)
}

/// Rust's parsers take a sign themselves, which would be one too many.
fn is_unsigned(digits: &str) -> bool {
    !digits.starts_with(['+', '-'])
}

/// `12:30`, which YAML 1.1 reads as a number in base 60.
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    let mut parts = text.split(':');
    let first = parts
        .next()
        .is_some_and(|part| digits(part) && !part.starts_with('_'));
    let rest: Vec<_> = parts.collect();
    let Some((last, middle)) = rest.split_last() else {
        return false;
    };
    let sixtieth = |part: &str| {
        part.len() < 3 && is_unsigned(part) && part.parse().is_ok_and(|value: u8| value < 60)
    };
    first
        && middle.iter().all(|part| sixtieth(part))
        && sixtieth(last.split('.').next().unwrap_or(last))
}

/// A date, or a date and a time.
fn is_time(text: &str) -> bool {
    let date_end = text.find(['T', 't', ' ']).unwrap_or(text.len());
    let (date, time) = text.split_at(date_end);
    let parts: Vec<_> = date.split('-').collect();
    let within = |part: &str, max: u8| {
        part.len() < 3
            && is_unsigned(part)
            && part
                .parse()
                .is_ok_and(|value: u8| (1..=max).contains(&value))
    };
    let is_date = matches!(parts[..], [year, month, day]
        if year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit())
            && within(month, 12) && within(day, 31));
    let clock = |byte: u8| byte.is_ascii_digit() || b":.+-Z".contains(&byte);
    is_date && (time.is_empty() || (time.contains(':') && time.bytes().skip(1).all(clock)))
}

/// Whether a character is written as it is. None beyond the first plane is.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{fffd}')
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Whether a printable text can stand without quotes.
fn can_be_plain(text: &str) -> bool {
    let indicator = |rest: &str| {
        let next_is_space = || rest[1..].is_empty() || rest[1..].starts_with(' ');
        match rest.as_bytes()[0] {
            b'#' | b',' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\''
            | b'"' | b'%' | b'@' | b'`' => true,
            b'?' | b':' | b'-' => next_is_space(),
            _ => false,
        }
    };
    !(text.starts_with(' ')
        || text.ends_with([' ', ':'])
        || text.starts_with("---")
        || text.starts_with("...")
        || text.contains(": ")
        || text.contains(" #")
        || indicator(text))
}

/// The name that YAML has for a character in double quotes, if it has one (YAML 1.2.2 §5.7).
pub(super) fn escape(c: char) -> Option<&'static str> {
    Some(match c {
        '\0' => "\\0",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\x0b' => "\\v",
        '\x0c' => "\\f",
        '\r' => "\\r",
        '\x1b' => "\\e",
        '\u{85}' => "\\N",
        '\u{a0}' => "\\_",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        _ => return None,
    })
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => {
                if let Some(escape) = escape(c) {
                    out.push_str(escape);
                    continue;
                }
                let code = u32::from(c);
                // Writing to a string does not fail.
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02X}"),
                    0x100..=0xffff => write!(out, "\\u{code:04X}"),
                    _ => write!(out, "\\U{code:08X}"),
                };
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        let mut out = String::new();
        scalar(&mut out, text);
        out
    }

    /// kubectl 1.37.1 printed this for resources whose kinds are these texts.
    #[test]
    fn quotes_as_kubectl_does() {
        for plain in [
            "a:b",
            "?x",
            "é",
            "日本",
            "<a&b>",
            "back\\slash",
            "=",
            "<<",
            "comma, x",
            "x,",
            "a'b",
            "a\"b",
            "1.2.3",
            "..",
            "_1",
            "0x",
            "e3",
            "NaN",
            "Infinity",
            "nil",
            "None",
            "http://a",
            "key=val",
            "nbsp\u{a0}x",
            "1e",
            "1e400",
            "tRue",
            "yEs",
            "~x",
            "a]",
            "a}",
            "a,b",
            "a{b",
            "++1",
            "+-1",
            "--1",
            "0x+1f",
            "0o+7",
            "1:30:+5",
            "12:+3",
            "2001-+1-01",
            "2001-1-+1",
            "\u{200b}",
            "\u{e000}",
            "\u{d7ff}",
            "¡",
        ] {
            assert_eq!(text(plain), plain);
        }
        for single in [
            "a: b", "#x", "a #b", "-", "- a", "[a", "{b", "*star", "&amp", "!bang", "|pipe", ">gt",
            "%pct", "@at", "`bt", "\"dq", "  lead", "trail ", "::", "---", "...", "x:", "[]", "{}",
            "?", "? x", ":", "!", "|", ">", "%", "@", "*", "&",
        ] {
            assert_eq!(text(single), format!("'{single}'"));
        }
        assert_eq!(text("'sq"), "'''sq'");
        for double in [
            "yes",
            "no",
            "null",
            "~",
            "1.0",
            "0x1f",
            "1e3",
            "true",
            "Off",
            "0o17",
            "017",
            "1_000",
            "2026-01-01",
            "12:30",
            ".inf",
            ".nan",
            "+1",
            "N",
            "y",
            "-1",
            "-.5",
            "0b11",
            "0b+1",
            "2001-12-14t21:59:43.10-05:00",
            "1:30",
            "0.",
            "1.",
            "on",
            "ON",
            "1E5",
            "+.5",
            "-0",
            "00",
            "08",
            "09",
            "1__0",
            "0X1F",
            "0B1",
            "0O7",
            "1_0.5",
            "0x_1",
            "12345678901234567890123",
            "TRUE",
            "True",
            "Null",
            "NULL",
            "Yes",
            "YES",
            "Y",
            "n",
            "NO",
            "2026-1-1",
            "2026-01-01 10:00:00",
            "2026-01-01T10:00:00Z",
            "",
        ] {
            assert_eq!(text(double), format!("\"{double}\""));
        }
        for (escaped, expected) in [
            ("tab\there", r#""tab\there""#),
            ("\u{1}", r#""\x01""#),
            ("🎉", r#""\U0001F389""#),
            ("\r", r#""\r""#),
            ("\u{10ffff}", r#""\U0010FFFF""#),
        ] {
            assert_eq!(text(escaped), expected);
        }
    }

    #[test]
    fn nests() {
        let node = Node::Map(vec![
            (
                "b",
                Node::Map(vec![("z", Node::Bool(true)), ("a", Node::Text("x"))]),
            ),
            (
                "a",
                Node::List(vec![Node::Map(vec![
                    ("k", Node::List(vec![Node::Text("1")])),
                    ("j", Node::Null),
                ])]),
            ),
        ]);
        let mut out = String::new();
        write(&mut out, &node);
        assert_eq!(
            out,
            "a:\n- j: null\n  k:\n  - \"1\"\nb:\n  a: x\n  z: true\n"
        );
    }
}
