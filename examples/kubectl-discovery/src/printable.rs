//! Text of a server, made safe for a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// The text without characters that move the cursor, start an escape sequence or turn the direction of
/// writing: those are shown as `\u{1b}`.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe, |out, code| write!(out, "\\u{{{code:x}}}"))
}

/// As [`printable`], for a text of several lines.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c| is_unsafe(c) && c != '\n' && c != '\t';
    escaped(text, is_unsafe, |out, code| write!(out, "\\u{{{code:x}}}"))
}

/// As [`printable`], for a JSON document, whose lines and meaning stay as they are.
pub(crate) fn printable_json(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c| is_unsafe(c) && c != '\n';
    escaped(text, is_unsafe, |out, code| write!(out, "\\u{code:04x}"))
}

fn escaped(
    text: &str,
    is_unsafe: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, u32) -> std::fmt::Result,
) -> Cow<'_, str> {
    if is_plain(text) || !text.contains(&is_unsafe) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            // Writing to a string does not fail.
            let _ = escape(&mut out, c.into());
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// Whether all is visible ASCII, as nearly every text is. One look at all of it is faster than one at each character.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'))
}

/// None of these is outside of the first plane, so that JSON has a short escape for each.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_sent_to_the_terminal() {
        assert_eq!(printable("wïdgets"), "wïdgets");
        assert_eq!(
            printable("\u{1b}[2Ja\nb\u{9b}"),
            "\\u{1b}[2Ja\\u{a}b\\u{9b}"
        );
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable_json("{\n\"\u{7f}\"}"), "{\n\"\\u007f\"}");
    }
}
