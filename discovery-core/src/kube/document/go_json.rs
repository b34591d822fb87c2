//! JSON with the bytes that Go writes.
//!
//! Go's encoder differs from serde_json's compact form in what it escapes inside strings: besides
//! what JSON demands, `<`, `>`, `&`, U+2028 and U+2029 become `\u003c` and so on. kubectl ends each
//! document with one newline.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// Writes `value` without a newline at the end.
///
/// ```
/// use discovery_core::kube::document::go_json;
///
/// assert_eq!(go_json::to_string("<a & b>\u{2028}\u{7f}"), "\"\\u003ca \\u0026 b\\u003e\\u2028\u{7f}\"");
/// ```
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(to_vec(value)).unwrap_or_default()
}

/// Writes `value` and the newline that ends kubectl's files.
///
/// ```
/// use discovery_core::kube::document::go_json;
///
/// assert_eq!(go_json::to_line(&["a"]), b"[\"a\"]\n");
/// ```
pub fn to_line<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut json = to_vec(value);
    json.push(b'\n');
    json
}

/// Only a map with keys that are no strings, or a `Serialize` that fails of itself, can fail here;
/// the documents have neither. The text that was written until then is not JSON and is not used.
fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut json = Vec::with_capacity(1024);
    match value.serialize(&mut Serializer::with_formatter(&mut json, GoFormatter)) {
        Ok(()) => json,
        Err(error) => {
            tracing::error!(%error, "a document that can't be written as JSON");
            Vec::new()
        }
    }
}

/// The compact form, with Go's additional escapes.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, len, escape)) = first_escape(rest) {
            CompactFormatter.write_string_fragment(writer, &rest[..at])?;
            writer.write_all(escape)?;
            rest = &rest[at + len..];
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

/// The place of the next character to escape, its length in bytes, and the text that stands for it.
fn first_escape(text: &str) -> Option<(usize, usize, &'static [u8])> {
    // Two of the characters start with byte 0xE2; looking at bytes is several times faster.
    let bytes = text.as_bytes();
    bytes.iter().enumerate().find_map(|(at, byte)| match byte {
        b'<' => Some((at, 1, &b"\\u003c"[..])),
        b'>' => Some((at, 1, &b"\\u003e"[..])),
        b'&' => Some((at, 1, &b"\\u0026"[..])),
        0xE2 if bytes[at..].starts_with("\u{2028}".as_bytes()) => Some((at, 3, &b"\\u2028"[..])),
        0xE2 if bytes[at..].starts_with("\u{2029}".as_bytes()) => Some((at, 3, &b"\\u2029"[..])),
        _ => None,
    })
}
