//! Keys and addresses as names of files.

use std::path::{Component, Path};

use bolero::TypeGenerator;
use discovery_core::http::uri::server_directory;
use discovery_disk::partition;
use discovery_disk::store::{EscapedNames, FileNames, FileOf};
use discovery_http_cache_fuzz::target;

#[derive(Clone, Debug, TypeGenerator)]
struct Keys {
    one: Vec<Part>,
    other: Vec<Part>,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Part {
    Known(u8),
    Char(char),
    Many(char, u8),
}

const KNOWN: [&str; 20] = [
    "/",
    "..",
    ".",
    "\\",
    ":",
    "%",
    "%2f",
    "~",
    "con",
    "nul",
    "https://",
    "user:pass@",
    "?token=secret",
    "#",
    "\0",
    "\n",
    " ",
    "é",
    "e\u{301}",
    "A",
];

fn key(parts: &[Part]) -> String {
    let text = |part: &Part| match part {
        Part::Known(n) => KNOWN[usize::from(*n) % KNOWN.len()].to_owned(),
        Part::Char(c) => c.to_string(),
        Part::Many(c, n) => c.to_string().repeat(usize::from(*n)),
    };
    parts.iter().take(12).map(text).collect()
}

fn is_below(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[test]
fn names() {
    target!(Keys, 2_000, |keys| {
        let (one, other) = (key(&keys.one), key(&keys.other));
        let name = EscapedNames.file_name(&one);
        assert_eq!(name.components().count(), 1, "{one:?}");
        assert!(is_below(&name), "{one:?}");
        match EscapedNames.file_of(&name) {
            FileOf::Key(told) => assert_eq!(told, one),
            told => assert_eq!(told, FileOf::UnknownKey, "{one:?}"),
        }
        let lower = |key: &str| EscapedNames.file_name(key).to_string_lossy().to_lowercase();
        assert_eq!(
            lower(&one) == lower(&other),
            one == other,
            "{one:?} {other:?}"
        );

        if let Ok(directory) = server_directory(&one) {
            let directory = Path::new("discovery").join(&directory);
            assert!(is_below(&directory), "{one:?} {directory:?}");
            assert!(is_below(&partition(&directory, other.as_bytes())));
        }
    });
}
