use super::Suite;
use super::tools::{get, put, remove, stream};
use crate::store::{Store, Value};

/// Any string is a key, and no two of them are the same.
pub async fn odd_keys(store: &dyn Store, suite: &Suite) {
    let keys = keys();
    let value = |at: usize| Value::new("value ", at.to_string());
    for (at, key) in keys.iter().enumerate() {
        let got = get(store, key).await;
        suite.expect(got.as_ref(), None, &format!("key {key:.40?} is new"));
        if at % 2 == 0 {
            put(store, key, &value(at)).await;
        } else {
            stream(store, key, &value(at), 2).await;
        }
    }
    for (at, key) in keys.iter().enumerate() {
        let what = format!("key {key:.40?} of {} bytes", key.len());
        suite.expect(get(store, key).await.as_ref(), Some(&value(at)), &what);
    }
    for (at, key) in keys.iter().enumerate() {
        let what = format!("key {key:.40?} of {} bytes", key.len());
        suite.expect(get(store, key).await.as_ref(), Some(&value(at)), &what);
        remove(store, key).await;
        suite.expect(get(store, key).await.as_ref(), None, &what);
    }
}

/// Keys that a careless store would take for each other, or for something else.
pub(super) fn keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        // Empty, and all but empty.
        "",
        " ",
        "  ",
        "\0",
        "\0\0",
        ".",
        "..",
        "...",
        "/",
        "//",
        "\\",
        "\n",
        "\r\n",
        "\t",
        "~",
        "%",
        "%%",
        "-",
        "*",
        "?",
        ":",
        "|",
        "\"",
        "'",
        "\u{7f}",
        "\u{feff}",
        // Paths, relative, absolute and leaving.
        "a",
        "a/",
        "/a",
        "a/b",
        "a//b",
        "a/./b",
        "a/../b",
        "./a",
        "../a",
        "../../a",
        "a/..",
        "/..",
        "/../a",
        "/etc/passwd",
        "~/a",
        "a\\b",
        "..\\a",
        "C:\\a",
        "C:a",
        "\\\\host\\share",
        "file:///etc/passwd",
        ".diskv-temp",
        ".diskv-temp/1",
        "1234567890",
        // The same in other clothes.
        "A",
        "a ",
        " a",
        "a.",
        ".a",
        "a\0",
        "\0a",
        "a\0b",
        "ab",
        "aB",
        "Ab",
        "AB",
        "a_b",
        "a-b",
        "a+b",
        "a%2fb",
        "a%2Fb",
        "a%252fb",
        "a%00",
        "%2e%2e",
        "%61",
        "%41",
        "%",
        "a\nb",
        "a\r\nb",
        // Names with a meaning elsewhere.
        "con",
        "CON",
        "nul",
        "aux.txt",
        "lpt1",
        "desktop.ini",
        ".git",
        "$HOME",
        "`id`",
        "a;b",
        "-rf",
        // Unicode, composed and not, and what looks the same.
        "é",
        "e\u{301}",
        "É",
        "ß",
        "SS",
        "ss",
        "ſ",
        "İ",
        "i",
        "ı",
        "I",
        "\u{130}\u{307}",
        "а",
        "ａ",
        "日本語",
        "🦀",
        "\u{202e}a",
        "a\u{200b}",
        // Real ones.
        "https://10.0.0.1:6443/api?timeout=32s",
        "https://10.0.0.1:6443/apis?timeout=32s",
        "HTTPS://10.0.0.1:6443/api?timeout=32s",
        "HEAD https://10.0.0.1:6443/api?timeout=32s",
        "https://u:p@10.0.0.1:6443/api?timeout=32s",
    ]
    .map(str::to_owned)
    .into();
    keys.extend((1u8..32).map(|byte| char::from(byte).to_string()));
    // Long ones that differ late, early or in length only.
    for len in [
        100, 127, 128, 129, 159, 160, 161, 200, 254, 255, 256, 1024, 4095, 4096, 4097,
    ] {
        let long = "k".repeat(len);
        keys.push(format!("{long}1"));
        keys.push(format!("{long}2"));
        keys.push(format!("1{long}"));
        keys.push(format!("{long}/"));
        keys.push(long.to_uppercase());
        keys.push("/".repeat(len));
        keys.push("../".repeat(len));
        keys.push("é".repeat(len));
        keys.push(long);
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}
