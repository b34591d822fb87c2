//! Keys that are chosen to do harm.

use std::collections::HashMap;
use std::path::{Component, Path};

use discovery_core::store::{Store, Value};
use discovery_disk::store::{EscapedNames, FileNames};
use discovery_disk::{DiskStore, KubectlStore};
use tokio_test::block_on;

fn hostile() -> Vec<String> {
    let mut keys: Vec<String> = [
        "",
        ".",
        "..",
        "../x",
        "../../x",
        "a/../../x",
        "/",
        "/etc/passwd",
        "//host/share",
        "\\",
        "..\\x",
        "C:",
        "C:\\x",
        "C:x",
        "a\0b",
        "\0",
        "~",
        "~root",
        "-rf",
        "*",
        "?",
        "a:b",
        "a|b",
        "a<b>",
        "\"",
        "a\nb",
        " ",
        "a ",
        "a.",
        " a",
        // Windows' devices, in any case and with any ending.
        "con",
        "CON",
        "Con",
        "con.txt",
        "nul",
        "NUL",
        "nul.",
        "aux",
        "aux.c",
        "prn",
        "com1",
        "com1.log",
        "lpt9",
        "clock$",
        "conin$",
        "com0",
        "com10",
        "console",
        "null",
        "a/con",
        "con/a",
        // They differ in case, or in how they are composed: é, Å, fi, Kelvin's and a letter; and the Turkish i.
        "a",
        "A",
        "é",
        "e\u{301}",
        "Å",
        "A\u{30a}",
        "\u{212b}",
        "ﬁ",
        "fi",
        "K",
        "\u{212a}",
        "k",
        "İ",
        "i\u{307}",
        "ß",
        "SS",
        "ss",
        "\u{200b}",
        "\u{feff}a",
        "\u{202e}gnp.exe",
        // Names of the store's own.
        ".diskv-temp",
        ".diskv-temp/1",
        ".DISKV-TEMP",
        "%2e",
        "%",
        "%%",
        "%41",
        "%2E",
    ]
    .map(str::to_owned)
    .into();
    for unit in ["x", "X", "/", "..", "é", "%", "\0"] {
        for len in [100, 160, 161, 255, 256, 10_000] {
            keys.push(unit.repeat(len / unit.len()));
            keys.push(format!("{}1", unit.repeat(len / unit.len())));
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

#[test]
fn no_two_keys_share_a_file_and_none_leaves_the_directory() {
    let mut names = HashMap::new();
    for key in hostile() {
        let name = EscapedNames.file_name(&key);
        let parts: Vec<_> = name.components().collect();
        assert!(
            matches!(parts[..], [Component::Normal(_)]),
            "{key:?} {name:?}"
        );
        let text = name.to_str().unwrap();
        assert!(text.len() <= 160 && text.is_ascii(), "{text}");
        assert!(!text.starts_with('.') && !text.ends_with('.'), "{text}");
        let stem = text.split('.').next().unwrap();
        let devices = ["con", "prn", "aux", "nul"];
        let is_port = |port: &str| {
            let number = stem.strip_prefix(port);
            number.is_some_and(|number| number.len() == 1 && number.as_bytes()[0].is_ascii_digit())
        };
        assert!(
            !devices.contains(&stem) && !is_port("com") && !is_port("lpt"),
            "{text}"
        );
        // A file system that ignores case, and one that composes letters, tells them apart as well.
        let other = names.insert(text.to_lowercase(), key.clone());
        assert_eq!(other, None, "{key:?} {text}");
    }
}

#[test]
fn each_key_has_its_own_value() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("a/b/c");
    let stores: [Box<dyn Store>; 2] = [
        Box::new(DiskStore::new(dir.join("disk"))),
        Box::new(KubectlStore::new(dir.join("kubectl"))),
    ];
    let keys = hostile();
    for store in &stores {
        for key in &keys {
            block_on(store.put(key, Value::new("", key.clone()))).unwrap();
        }
        for key in &keys {
            let found = block_on(store.get(key)).unwrap();
            assert!(found == Some(Value::new("", key.clone())), "{key:?}");
        }
        assert_eq!(block_on(store.size()).unwrap().values, keys.len() as u64);
        for key in &keys {
            block_on(store.remove(key)).unwrap();
            assert_eq!(block_on(store.get(key)).unwrap(), None);
        }
    }
    // Nothing anywhere else.
    let count = |path: &Path| path.read_dir().unwrap().count();
    assert_eq!(count(outer.path()), 1);
    assert_eq!(count(&dir), 2);
}
