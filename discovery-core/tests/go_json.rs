//! JSON with the bytes that Go writes. kubectl 1.37.1 wrote the expected bytes.

use discovery_core::kube::document::{ApiResourceList, DecodeError, Document, decode, go_json};
use std::error::Error;

#[test]
fn every_character_below_a_hundred() {
    let expected = [
        r"\u0000", r"\u0001", r"\u0002", r"\u0003", r"\u0004", r"\u0005", r"\u0006", r"\u0007",
        r"\b", r"\t", r"\n", r"\u000b", r"\f", r"\r", r"\u000e", r"\u000f", r"\u0010", r"\u0011",
        r"\u0012", r"\u0013", r"\u0014", r"\u0015", r"\u0016", r"\u0017", r"\u0018", r"\u0019",
        r"\u001a", r"\u001b", r"\u001c", r"\u001d", r"\u001e", r"\u001f",
    ];
    for (code, expected) in (0u8..).zip(expected) {
        let text = char::from(code).to_string();
        assert_eq!(go_json::to_string(&text), format!("\"{expected}\""));
    }
    for code in 0x20..=0x7f_u8 {
        let character = char::from(code);
        let expected = match character {
            '"' => r#"\""#.to_owned(),
            '\\' => r"\\".to_owned(),
            '<' => r"\u003c".to_owned(),
            '>' => r"\u003e".to_owned(),
            '&' => r"\u0026".to_owned(),
            // The slash and 0x7f stay as they are.
            other => other.to_string(),
        };
        assert_eq!(
            go_json::to_string(&character.to_string()),
            format!("\"{expected}\"")
        );
    }
}

#[test]
fn beyond_ascii() {
    for (text, expected) in [
        ("\u{2028}", r"\u2028"),
        ("\u{2029}", r"\u2029"),
        // Neighbours that start with the same bytes.
        (
            "\u{2027}\u{202a}\u{20ac}\u{2000}",
            "\u{2027}\u{202a}\u{20ac}\u{2000}",
        ),
        (
            "é\u{80}\u{7ff}\u{800}\u{ffff}",
            "é\u{80}\u{7ff}\u{800}\u{ffff}",
        ),
        ("😀\u{10ffff}", "😀\u{10ffff}"),
        ("\u{fffd}", "\u{fffd}"),
        ("a\u{2028}b<c\u{2029}", r"a\u2028b\u003cc\u2029"),
        ("<>&<>&", r"\u003c\u003e\u0026\u003c\u003e\u0026"),
        ("\n<\"", r#"\n\u003c\""#),
    ] {
        assert_eq!(go_json::to_string(text), format!("\"{expected}\""));
    }
    // Keys are strings too.
    let map = std::collections::BTreeMap::from([("<", "&")]);
    assert_eq!(go_json::to_string(&map), r#"{"\u003c":"\u0026"}"#);
}

/// Escaped characters can be read back, and nothing else changes.
#[test]
fn every_character_comes_back() {
    for start in (0..=0x10_ffff_u32).step_by(0x400) {
        let text: String = (start..start + 0x400).filter_map(char::from_u32).collect();
        let json = go_json::to_string(&text);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}

fn list(name: &[u8]) -> Result<ApiResourceList, DecodeError> {
    let mut json = br#"{"kind":"APIResourceList","resources":[{"name":""#.to_vec();
    json.extend_from_slice(name);
    json.extend_from_slice(br#""}]}"#);
    decode(&json)
}

/// Go makes U+FFFD of each byte; Rust's lossy conversion would make one of a whole sequence.
#[test]
fn bytes_that_are_not_utf8() {
    for (bytes, expected) in [
        (
            &b"p\xe2\x80x\xff\xff"[..],
            "p\u{fffd}\u{fffd}x\u{fffd}\u{fffd}",
        ),
        (b"\xf0\x9f\x98|", "\u{fffd}\u{fffd}\u{fffd}|"),
        (b"\xc0\xaf|", "\u{fffd}\u{fffd}|"),
        (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xf5\x80", "\u{fffd}\u{fffd}"),
        (b"\xe2\x80\xa8", "\u{2028}"),
        (b"\x80", "\u{fffd}"),
        (b"ok", "ok"),
    ] {
        let list = list(bytes).unwrap();
        assert_eq!(list.resources[0].name, expected, "{bytes:?}");
        assert!(go_json::to_string(&list).contains(&expected.replace('\u{2028}', r"\u2028")));
    }
}

#[test]
fn escapes_in_what_is_read() {
    let list = list(br"\u2028 \u001f<\u0026 \b\f\/ \ud83d\ude00").unwrap();
    assert_eq!(list.resources[0].name, "\u{2028} \u{1f}<& \u{8}\u{c}/ 😀");
}

#[test]
fn documents_keep_the_bytes_that_they_were_read_from() {
    let pretty = "{\n \"kind\": \"APIResourceList\", \"extra\": [1, {}], \"resources\": null }\n\n";
    let document = Document::<ApiResourceList>::decode(pretty.into()).unwrap();
    assert_eq!(document.json(), pretty);
    assert_eq!(
        Document::new(document.into_inner()).json(),
        "{\"kind\":\"APIResourceList\",\"groupVersion\":\"\",\"resources\":[]}\n",
    );
}

#[test]
fn what_is_no_document() {
    let kind = "{\"kind\":\"APIResourceList\"";
    let deep = format!("{kind},\"x\":{}", "[".repeat(100_000));
    for (json, message, has_source) in [
        ("", "malformed JSON", true),
        (" \n", "malformed JSON", true),
        ("{", "malformed JSON", true),
        ("\u{feff}{}", "malformed JSON", true),
        (&format!("{kind}}}{{}}"), "malformed JSON", true),
        (&format!("{kind}}} x"), "malformed JSON", true),
        (&format!("{kind},}}"), "malformed JSON", true),
        (&format!("{kind}}}\0"), "malformed JSON", true),
        ("kind: APIResourceList\n", "malformed JSON", true),
        (
            &format!("{kind},\"resources\":{{}}}}"),
            "malformed JSON",
            true,
        ),
        (
            &format!("{kind},\"groupVersion\":1}}"),
            "malformed JSON",
            true,
        ),
        (
            &format!("{kind},\"resources\":[{{\"namespaced\":\"yes\"}}]}}"),
            "malformed JSON",
            true,
        ),
        (
            &format!("{kind},\"resources\":[{{\"verbs\":\"get\"}}]}}"),
            "malformed JSON",
            true,
        ),
        (&deep, "malformed JSON", true),
        ("null", "malformed JSON", true),
        ("1", "malformed JSON", true),
        ("\"APIResourceList\"", "malformed JSON", true),
        ("{}", "expected an APIResourceList, found kind \"\"", false),
        ("[]", "malformed JSON", true),
        (
            "{\"kind\":null}",
            "expected an APIResourceList, found kind \"\"",
            false,
        ),
        (
            "{\"kind\":\"Status\"}",
            "expected an APIResourceList, found kind \"Status\"",
            false,
        ),
        (
            "{\"kind\":\"apiresourcelist\"}",
            "expected an APIResourceList, found kind \"apiresourcelist\"",
            false,
        ),
    ] {
        let error = decode::<ApiResourceList>(json.as_bytes()).unwrap_err();
        let start: String = json.chars().take(80).collect();
        assert_eq!(error.to_string(), message, "{start}");
        assert_eq!(error.source().is_some(), has_source, "{start}");
    }
}
