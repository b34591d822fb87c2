//! Warnings that come with a server's answers (RFC 7234 §5.5, which Kubernetes still uses), shown as kubectl shows them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::header::WARNING;

use crate::errors::Fatal;
use crate::printable::printable;

/// The only code that Kubernetes warns with.
const MISCELLANEOUS: &str = "299";

/// Those that this process has shown: each is shown once.
static SHOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Shows the warnings of an answer on stderr.
pub(crate) fn show(headers: &HeaderMap) {
    for value in headers.get_all(WARNING) {
        for text in value.to_str().map(texts).unwrap_or_default() {
            let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
            if shown.insert(text.clone()) {
                crate::eprint(&format!("Warning: {}\n", printable(&text)));
            }
        }
    }
}

/// An error if there were any.
pub(crate) fn as_errors() -> Result<(), Fatal> {
    let count = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).len();
    match count {
        0 => Ok(()),
        1 => Err(Fatal::new("1 warning received")),
        count => Err(Fatal::new(format_args!("{count} warnings received"))),
    }
}

/// The texts of a list of warnings, up to the first that is malformed.
fn texts(value: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = value;
    while let Some((code, text, behind)) = first(rest) {
        if code == MISCELLANEOUS && !text.is_empty() {
            texts.push(text);
        }
        let Some(next) = behind.trim_start().strip_prefix(',') else {
            break;
        };
        rest = next;
    }
    texts
}

/// The code and the text of the first warning, and what is behind it and its date.
fn first(value: &str) -> Option<(&str, String, &str)> {
    let (code, rest) = value.trim_start().split_once(' ')?;
    let (_agent, rest) = rest.split_once(' ')?;
    let (text, rest) = quoted(rest)?;
    // A date may follow.
    let behind = rest.strip_prefix(' ').and_then(quoted);
    Some((code, text, behind.map_or(rest, |(_, behind)| behind)))
}

/// A quoted string (RFC 9110 §5.6.4), and what is behind it.
fn quoted(value: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = value.strip_prefix('"')?.chars();
    loop {
        match chars.next()? {
            '"' => return Some((text, chars.as_str())),
            '\\' => text.push(chars.next()?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_apart() {
        for (value, expected) in [
            (r#"299 - "a""#, &["a"][..]),
            (
                r#"299 kube "a \"b\" \\", 299 - "c, d""#,
                &["a \"b\" \\", "c, d"],
            ),
            (
                r#"299 - "a" "Mon, 01 Jan 2026 00:00:00 GMT",299 - "b""#,
                &["a", "b"],
            ),
            (r#"199 - "a", 299 - "b", 299 - """#, &["b"]),
            (r#"299 - "a", junk, 299 - "b""#, &["a"]),
            (r#"299 - "a"#, &[]),
            ("", &[]),
        ] {
            assert_eq!(texts(value), expected, "{value}");
        }
    }
}
