//! Just enough JSON: Go's string escapes, and the re-indenting that a server does for people.

use std::fmt::Write as _;

/// Appends `"text"` with the escapes of Go's `encoding/json`, which also hides HTML's special
/// characters and the two line separators of JavaScript.
pub(super) fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// Appends `"name":"text"`; `name` needs no escapes.
pub(super) fn field(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, "\"{name}\":");
    string(out, text);
}

/// Appends `,"name":[…]`, or nothing where there are no items.
pub(super) fn list_unless_empty<S: AsRef<str>>(out: &mut String, name: &str, items: &[S]) {
    if !items.is_empty() {
        out.push(',');
        list(out, name, items);
    }
}

/// Appends `"name":[…]`.
pub(super) fn list<S: AsRef<str>>(out: &mut String, name: &str, items: &[S]) {
    let _ = write!(out, "\"{name}\":");
    array(out, items, |out, item| string(out, item.as_ref()));
}

/// Appends `[…]` with one element for each item.
pub(super) fn array<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(']');
}

/// Re-indents a compact document as Go's `json.Indent` does with two spaces; the trailing newline
/// goes away.
pub(super) fn indent(compact: &str) -> String {
    let mut out = String::with_capacity(compact.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let mut chars = compact.trim_end().chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("  "));
    };
    while let Some(c) = chars.next() {
        if quoted {
            out.push(c);
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' if chars.peek().is_some_and(|next| matches!(next, '}' | ']')) => {
                out.push(c);
                out.extend(chars.next());
            }
            '{' | '[' => {
                out.push(c);
                depth += 1;
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                quoted = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        let mut out = String::new();
        string(&mut out, "a\"\\\u{8}\u{c}\n\r\t\u{1}<>&\u{2028}\u{7f}é");
        assert_eq!(
            out,
            "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u003c\\u003e\\u0026\\u2028\u{7f}é\""
        );
    }

    #[test]
    fn indentation_leaves_strings_and_empty_containers_alone() {
        let compact = r#"{"a":{},"b":[],"c":["x,{\"}:\\",1],"d":{"e":true}}"#;
        let pretty = "{\n  \"a\": {},\n  \"b\": [],\n  \"c\": [\n    \"x,{\\\"}:\\\\\",\n    1\n  \
                      ],\n  \"d\": {\n    \"e\": true\n  }\n}";
        assert_eq!(indent(&format!("{compact}\n")), pretty);
    }
}
