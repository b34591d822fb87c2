//! KYAML as kubectl prints it: YAML's flow style, spread over lines, all texts in double quotes.

use std::fmt::Write;

use super::Node;
use super::yaml::escape;

/// Appends the document.
pub(crate) fn write(out: &mut String, node: &Node<'_>) {
    out.push_str("---\n");
    value(out, node, 0);
    out.push('\n');
}

fn value(out: &mut String, node: &Node<'_>, indent: usize) {
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Node::Text(value) => text(out, value),
        Node::Map(fields) if fields.is_empty() => out.push_str("{}"),
        Node::Map(fields) => {
            out.push('{');
            for (name, field) in fields {
                line(out, indent + 2);
                out.push_str(name);
                out.push_str(": ");
                value(out, field, indent + 2);
                out.push(',');
            }
            line(out, indent);
            out.push('}');
        }
        // The braces of maps in a list stand together.
        Node::List(items) if items.iter().all(|item| matches!(item, Node::Map(_))) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                value(out, item, indent);
            }
            out.push(']');
        }
        Node::List(items) => {
            out.push('[');
            for item in items {
                line(out, indent + 2);
                value(out, item, indent + 2);
                out.push(',');
            }
            line(out, indent);
            out.push(']');
        }
    }
}

fn line(out: &mut String, indent: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

fn text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if let Some(escape) = escape(c) {
            out.push_str(escape);
            continue;
        }
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if !is_visible(c) => {
                let code = u32::from(c);
                // Writing to a string does not fail.
                let _ = match code {
                    0..=0x7f => write!(out, "\\x{code:02x}"),
                    0x80..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whether a character can be seen: all that `escape_debug` leaves as they are. Others are written by
/// number. Behind a letter it leaves combining marks as they are, as kubectl does anywhere.
fn is_visible(c: char) -> bool {
    let mut bytes = [b'x'; 5];
    let end = 1 + c.encode_utf8(&mut bytes[1..]).len();
    let text = str::from_utf8(&bytes[..end]).unwrap_or_default();
    c == '\'' || text.escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kubectl 1.37.1 printed this for resources whose kinds are these texts.
    #[test]
    fn escapes_as_kubectl_does() {
        for (given, expected) in [
            ("yes", r#""yes""#),
            ("'sq", r#""'sq""#),
            ("\"dq", r#""\"dq""#),
            ("back\\slash", r#""back\\slash""#),
            ("<a&b>", r#""<a&b>""#),
            ("é日本🎉¡", r#""é日本🎉¡""#),
            ("\u{2028}x", r#""\Lx""#),
            ("\u{1}", r#""\x01""#),
            ("nbsp\u{a0}x", r#""nbsp\_x""#),
            ("\u{feff}bom", r#""\ufeffbom""#),
            (
                "\u{200b}\u{e000}\u{d7ff}\u{10ffff}",
                r#""\u200b\ue000\ud7ff\U0010ffff""#,
            ),
            ("a\rb", r#""a\rb""#),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{301}\u{93c}", "\"\u{301}\u{93c}\""),
            ("soft\u{ad}hyphen", r#""soft\u00adhyphen""#),
            (
                "\u{2003}\u{e0001}\u{e0100}",
                "\"\\u2003\\U000e0001\u{e0100}\"",
            ),
        ] {
            let mut out = String::new();
            text(&mut out, given);
            assert_eq!(out, expected);
        }
    }
}
