//! One kubeconfig file, read as client-go reads it.
//!
//! Files that templates have made are full of empty fields and odd entries, which are no reason to refuse the whole file. So
//! it is read as plain data here, and only what the chosen context uses becomes typed.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::errors::{Fatal, go_words};

/// Fields that name files.
const FILES: [&str; 4] = [
    "certificate-authority",
    "client-certificate",
    "client-key",
    "tokenFile",
];

/// Fields that hold base64, which may be broken into lines.
const BASE64: [&str; 3] = [
    "certificate-authority-data",
    "client-certificate-data",
    "client-key-data",
];

/// The number of nodes that aliases may make of a short file.
const MAX_NODES: usize = 250_000;

/// The content of one or several files.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(super) current: String,
    pub(super) contexts: Vec<Entry>,
    pub(super) clusters: Vec<Entry>,
    pub(super) users: Vec<Entry>,
}

/// A named entry of a list.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) fields: Map<String, Value>,
    /// The file that it is from.
    pub(super) file: PathBuf,
    /// Why it can't be used.
    pub(super) broken: Option<String>,
}

impl Content {
    pub(super) fn read(file: &Path) -> Result<Self, Fatal> {
        let failed = |why: &dyn std::fmt::Display| {
            Fatal::new(format_args!(
                "error loading config file \"{}\": {why}",
                file.display()
            ))
        };
        let bytes = fs::read(file).map_err(|error| {
            failed(&format_args!(
                "open {}: {}",
                file.display(),
                go_words(&error)
            ))
        })?;
        let text = decoded(bytes).ok_or_else(|| failed(&"it is neither UTF-8 nor UTF-16"))?;
        let document = parse(first_document(&text)).map_err(|why| failed(&why))?;
        let mut fields = match document {
            Value::Null => Map::new(),
            Value::Object(fields) => fields,
            _ => return Err(failed(&"it is not a mapping")),
        };
        for (field, expected) in [("kind", "Config"), ("apiVersion", "v1")] {
            match fields.get(field) {
                None | Some(Value::Null) => {}
                Some(Value::String(found)) if found.is_empty() || found == expected => {}
                // The group's name is empty, too, as in client-go.
                Some(Value::String(found)) if field == "apiVersion" && found == "/v1" => {}
                Some(_) => return Err(failed(&format_args!("its {field} is not {expected}"))),
            }
        }
        let mut list = |name: &str, inner: &str| match fields.remove(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(entries)) => Ok(unambiguous(
                entries
                    .into_iter()
                    .filter_map(|entry| Entry::read(entry, inner, file))
                    .collect(),
            )),
            Some(_) => Err(failed(&format_args!("its {name} are not a list"))),
        };
        let (contexts, clusters, users) = (
            list("contexts", "context")?,
            list("clusters", "cluster")?,
            list("users", "user")?,
        );
        let current = match fields.remove("current-context") {
            Some(Value::String(name)) => name,
            None | Some(Value::Null) => String::new(),
            Some(_) => return Err(failed(&"its current-context is not a text")),
        };
        Ok(Self {
            current,
            contexts,
            clusters,
            users,
        })
    }

    /// Adds what another file has and this one has not.
    pub(super) fn merge(&mut self, other: Self) {
        if self.current.is_empty() {
            self.current = other.current;
        }
        let add = |own: &mut Vec<Entry>, others: Vec<Entry>| {
            for entry in others {
                if !own.iter().any(|known| known.name == entry.name) {
                    own.push(entry);
                }
            }
        };
        add(&mut self.contexts, other.contexts);
        add(&mut self.clusters, other.clusters);
        add(&mut self.users, other.users);
    }
}

/// Without the fields, which may be secrets.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Entry {
    fn read(entry: Value, inner: &str, file: &Path) -> Option<Self> {
        let Value::Object(mut entry) = entry else {
            return None;
        };
        let name = match entry.remove("name") {
            Some(Value::String(name)) => name,
            None | Some(Value::Null) => String::new(),
            // It can't be named.
            Some(_) => return None,
        };
        let (fields, broken) = match entry.remove(inner) {
            Some(Value::Object(fields)) => (fields, None),
            None | Some(Value::Null) => (Map::new(), None),
            Some(_) => (Map::new(), Some(format!("its {inner} is not a mapping"))),
        };
        let mut this = Self {
            name,
            fields,
            file: file.to_owned(),
            broken,
        };
        this.tidy();
        Some(this)
    }

    /// Takes out what counts as absent, and makes paths absolute.
    fn tidy(&mut self) {
        drop_empty(&mut self.fields);
        if let Some(Value::Array(extensions)) = self.fields.get_mut("extensions") {
            extensions.retain(Value::is_object);
        } else {
            self.fields.remove("extensions");
        }
        let dir = std::path::absolute(&self.file).unwrap_or_else(|_| self.file.clone());
        let dir = dir.parent().unwrap_or(Path::new("/"));
        for name in FILES {
            if let Some(Value::String(path)) = self.fields.get_mut(name) {
                *path = below(dir, path);
            }
        }
        for name in BASE64 {
            if let Some(Value::String(data)) = self.fields.get_mut(name) {
                if data.trim_start().starts_with("-----BEGIN ") {
                    // YAML has decoded it already: it was marked as binary.
                    *data = STANDARD.encode(&*data);
                }
                data.retain(|letter| !letter.is_ascii_whitespace());
            }
        }
        if let Some(Value::Object(exec)) = self.fields.get_mut("exec") {
            drop_empty(exec);
            if let Some(Value::String(command)) = exec.get_mut("command")
                && command.contains('/')
            {
                *command = below(dir, command);
            }
            if let Some(Value::Array(variables)) = exec.get_mut("env") {
                for variable in variables {
                    match variable {
                        Value::Null => *variable = Value::Object(Map::new()),
                        Value::Object(variable) => drop_empty(variable),
                        _ => {}
                    }
                }
            }
        }
        if let Some(Value::Object(provider)) = self.fields.get_mut("auth-provider") {
            drop_empty(provider);
        }
    }

    /// Whether its data can be decoded, of use or not.
    pub(super) fn check_data(&self) -> Result<(), Fatal> {
        let is_bad = |name: &&&str| {
            let data = self.fields.get(**name).and_then(Value::as_str);
            data.is_some_and(|data| STANDARD.decode(data).is_err())
        };
        BASE64.iter().find(is_bad).map_or(Ok(()), |name| {
            Err(Fatal::new(format_args!(
                "error loading config file \"{}\": illegal base64 data in {name} of {:?}",
                self.file.display(),
                self.name
            )))
        })
    }

    /// A field that is a text; empty if it is not there, and `None` if it is something else.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.fields.get(name) {
            None => Some(""),
            Some(field) => field.as_str(),
        }
    }
}

/// Entries of one list: client-go refuses a name that is there twice, for nobody can say which one is meant.
fn unambiguous(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut names = HashMap::new();
    for entry in &entries {
        *names.entry(entry.name.clone()).or_insert(0) += 1;
    }
    for entry in entries.iter_mut().filter(|entry| names[&entry.name] > 1) {
        entry.broken = Some("its name is there more than once".into());
    }
    entries
}

/// The text of a file. One in UTF-16, as PowerShell writes what it redirects, begins with a byte order mark.
fn decoded(bytes: Vec<u8>) -> Option<String> {
    let number: fn([u8; 2]) -> u16 = match bytes.get(..2) {
        Some([0xff, 0xfe]) => u16::from_le_bytes,
        Some([0xfe, 0xff]) => u16::from_be_bytes,
        _ => return String::from_utf8(bytes).ok(),
    };
    let (pairs, rest) = bytes[2..].as_chunks::<2>();
    let units: Vec<_> = pairs.iter().copied().map(number).collect();
    let text = String::from_utf16(&units).ok()?;
    rest.is_empty().then_some(text)
}

fn drop_empty(fields: &mut Map<String, Value>) {
    fields.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}

/// A path as it is meant in a file of this directory, as Go joins the two: without dot segments, unless it is absolute.
fn below(dir: &Path, path: &str) -> String {
    if Path::new(path).is_absolute() {
        return path.to_owned();
    }
    without_dots(&dir.join(path)).display().to_string()
}

/// A path without `.` and `..`, whatever is there.
pub(crate) fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(clean.components().next_back(), Some(Component::Normal(_))) =>
            {
                clean.pop();
            }
            Component::ParentDir if clean.has_root() => {}
            part => clean.push(part),
        }
    }
    clean
}

/// The documents of a file, one after the other.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = Result<Value, String>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.trim().is_empty() {
            return None;
        }
        let first = first_document(rest);
        rest = rest[first.len()..].trim_start_matches("...");
        Some(parse(first))
    })
}

fn parse(text: &str) -> Result<Value, String> {
    yaml(text).or_else(|why| {
        // client-go looks at nothing behind a first value in braces.
        let mut values = serde_json::Deserializer::from_str(text).into_iter();
        match values.next() {
            Some(Ok(first)) if text.trim_start().starts_with('{') => Ok(first),
            _ => Err(why),
        }
    })
}

/// The first document of a text that is JSON, and nothing else, if it begins like that.
pub(crate) fn first_yaml(text: &str) -> Result<Value, String> {
    let is_json = text.trim_start().starts_with('{');
    yaml(if is_json { text } else { first_document(text) })
}

/// The one document of a text. Of fields with the same name, the last one counts.
fn yaml(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // A file may be as long as it is; aliases may make somewhat more of it.
            max_nodes: MAX_NODES.max(text.len()),
            max_events: 4 * MAX_NODES.max(text.len()),
            enforce_alias_anchor_ratio: false,
        },
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // Behind the first line comes a piece of the text, which may have secrets.
        let error = error.to_string();
        let first = error.lines().next().unwrap_or_default();
        // Behind the first sentence come hints for programmers.
        first.split(". If ").next().unwrap_or_default().to_owned()
    })
}

/// All that client-go reads of a file.
fn first_document(text: &str) -> &str {
    let (mut at, mut begun) = (0, false);
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let marks = |mark: &str| {
            content
                .strip_prefix(mark)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        };
        if begun && (marks("---") || marks("...")) {
            return &text[..at];
        }
        // A document that is marked has begun, even if there is nothing in it.
        begun |= !content.is_empty() && !content.starts_with(['#', '%']);
        at += line.len();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Content {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        fs::write(&file, text).unwrap();
        Content::read(&file).unwrap()
    }

    #[test]
    fn odd_entries_do_no_harm() {
        let content = read(
            "kind: ''\nclusters: null\npreferences: 5\nextensions: [{}]\n\
             contexts: [{}, null, 5, {name: a}, {name: b, context: null}, {name: c, context: {cluster: one, cluster: two}}]\n\
             users: [{name: u, user: {exec: {env: [null], args: [null, a], interactiveMode: Often}}}]\n---\n}{",
        );
        assert_eq!(content.contexts.len(), 4);
        assert_eq!(content.contexts[3].text("cluster"), Some("two"));
        assert!(content.clusters.is_empty() && content.current.is_empty());
        let exec = &content.users[0].fields["exec"];
        assert_eq!(exec["args"], serde_json::json!([null, "a"]));
        assert_eq!(exec["env"], serde_json::json!([{}]));
    }

    #[test]
    fn empty_fields_are_absent_and_data_has_no_line_breaks() {
        let content = read(
            "clusters:\n- name: c\n  cluster:\n    tls-server-name: ''\n    certificate-authority: ''\n    server: s\n    \
             certificate-authority-data: |\n      QUJD\n      REVG\n- name: d\n  cluster:\n    \
             certificate-authority-data: \"QUJD\\r\\nREVG\"\n",
        );
        let [c, d] = &content.clusters[..] else {
            panic!()
        };
        assert_eq!(c.fields.len(), 2);
        assert_eq!(c.text("certificate-authority-data"), Some("QUJDREVG"));
        assert_eq!(d.text("certificate-authority-data"), Some("QUJDREVG"));
    }

    /// As Go's YAML does.
    #[test]
    fn binary_text_is_decoded() {
        let content = read("current-context: !!binary eA==\nusers: [{name: !!binary dQ==}]");
        assert_eq!(content.current, "x");
        assert_eq!(content.users[0].name, "u");
        assert!(parse("a: !!binary '%'").is_err());
    }

    #[test]
    fn the_first_file_counts() {
        let mut first = read("current-context: ''\nusers: [{name: u, user: {token: one}}]");
        first.merge(read(
            "current-context: b\nusers: [{name: u, user: {token: two}}, {name: v}]",
        ));
        assert_eq!(first.current, "b");
        assert_eq!(first.users.len(), 2);
        assert_eq!(first.users[0].text("token"), Some("one"));
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        for (path, expected) in [
            ("token", "/home/me/token"),
            ("./a/../b", "/home/me/b"),
            ("../../../x", "/x"),
            ("/a/../b", "/a/../b"),
        ] {
            assert_eq!(below(Path::new("/home/me"), path), expected);
        }
    }

    #[test]
    fn a_name_that_is_there_twice_is_nobody_s() {
        let content = read("users: [{name: u}, {name: v}, {name: u}, {name: 5}]");
        let broken: Vec<_> = content
            .users
            .iter()
            .map(|user| (user.name.as_str(), user.broken.is_some()))
            .collect();
        assert_eq!(broken, [("u", true), ("v", false), ("u", true)]);
    }

    #[test]
    fn utf_16_begins_with_a_mark() {
        let text = "current-context: \u{1f600}";
        let units: Vec<_> = text.encode_utf16().collect();
        let little: Vec<_> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<_> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for bytes in [
            [&[0xff, 0xfe], &little[..]].concat(),
            [&[0xfe, 0xff], &big[..]].concat(),
            text.into(),
        ] {
            assert_eq!(decoded(bytes).as_deref(), Some(text));
        }
        let cut = [&[0xff, 0xfe], &little[..little.len() - 1]].concat();
        for bytes in [cut, b"caf\xe9".to_vec()] {
            assert_eq!(decoded(bytes), None);
        }
    }

    #[test]
    fn what_is_behind_a_value_in_braces_is_left_alone() {
        for behind in ["garbage", "\n{\"current-context\": \"b\"}", ""] {
            let content = read(&format!("{{\"current-context\": \"a\"}}{behind}"));
            assert_eq!(content.current, "a", "{behind}");
        }
        assert!(parse("a: [1\n").is_err());
    }

    #[test]
    fn long_files_and_many_aliases_are_read_and_bombs_are_not() {
        let users: String = (0..90_000).map(|n| format!("- {{name: u{n}}}\n")).collect();
        assert_eq!(read(&format!("users:\n{users}")).users.len(), 90_000);
        let aliases = "*a, ".repeat(3000);
        assert!(parse(&format!("a: &a {{b: 1}}\nc: [{aliases}]\n")).is_ok());
        let mut bomb = String::from("a0: &a0 [x]\n");
        for n in 1..9 {
            let nine = format!("*a{}, ", n - 1).repeat(9);
            bomb.push_str(&format!("a{n}: &a{n} [{nine}]\n"));
        }
        assert!(parse(&bomb).is_err());
    }

    #[test]
    fn a_document_ends_where_the_next_begins() {
        for (text, first) in [
            ("a: 1\n---\nb: 2\n", "a: 1\n"),
            ("---\na: 1\n", "---\na: 1\n"),
            ("# c\n---\na: 1\n...\nx", "# c\n---\na: 1\n"),
            ("a: |\n  ---\nb: 1", "a: |\n  ---\nb: 1"),
            ("---\n---\na: 1\n", "---\n"),
            ("# c\n---\n# d\n---\na: 1\n", "# c\n---\n# d\n"),
            ("%YAML 1.1\n---\na: 1\n", "%YAML 1.1\n---\na: 1\n"),
            ("", ""),
        ] {
            assert_eq!(first_document(text), first);
        }
    }
}
