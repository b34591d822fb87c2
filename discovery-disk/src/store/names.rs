use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use discovery_core::http::uri::{Redacted, file_name};

/// Decides in which file a [`DiskStore`](super::DiskStore) keeps a key.
///
/// The name is relative to the store's directory and may have several parts; the directories are
/// made when needed. A name that would leave the directory (absolute, or with `..`), has a NUL, is
/// empty or lies in the temporary directory is refused: such a key is never there, and can't be
/// put. Two keys must not share a name, nor may the name of one be a directory in the name of
/// another. File systems that ignore case make one name of two that differ in nothing else.
///
/// A name stands in the directory for all to see, and in error texts: it must not hold a password or
/// a token of the key.
///
/// Closures `Fn(&str) -> PathBuf` are file names. A store with such names can't be listed, cleared or
/// counted, because nothing tells which file is whose.
///
/// ```
/// use discovery_core::store::{Store, Value};
/// use discovery_disk::DiskStore;
/// use discovery_disk::store::DiskStoreOptions;
///
/// # tokio_test::block_on(async {
/// let dir = tempfile::tempdir()?;
/// let options = DiskStoreOptions::new().file_names(|key: &str| format!("v1/{key}").into());
/// let store = DiskStore::with_options(dir.path(), options);
/// store.put("key", Value::new("", "value")).await?;
/// assert_eq!(std::fs::read(dir.path().join("v1/key"))?, b"value");
///
/// assert!(store.put("../../key", Value::default()).await.is_err());
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub trait FileNames: Send + Sync + 'static {
    /// The file for `key`, relative to the store's directory.
    fn file_name(&self, key: &str) -> PathBuf;

    /// Tells whose file a name is, for a name relative to the store's directory.
    /// [`FileOf::Unsupported`] unless implemented.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use discovery_disk::store::{EscapedNames, FileNames, FileOf};
    ///
    /// let file_of = |name: &str| EscapedNames.file_of(Path::new(name));
    /// assert_eq!(file_of("a%2fb"), FileOf::Key("a/b".to_owned()));
    /// assert_eq!(file_of("README"), FileOf::Nobody);
    /// ```
    fn file_of(&self, file_name: &Path) -> FileOf {
        let _ = file_name;
        FileOf::Unsupported
    }
}

/// Whose file a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileOf {
    /// This key's.
    Key(String),
    /// Some key's; the name does not tell which.
    UnknownKey,
    /// No key's.
    Nobody,
    /// The file names can't tell.
    Unsupported,
}

/// One flat, portable name for any key: the default.
///
/// Lower-case letters, digits, `-`, `_` and inner dots stand for themselves, every other byte is
/// `%` and two hexadecimal digits, and the empty key is `%`. The first letter of a name that Windows has for a device, as
/// `con`, is written so as well. A name that would be longer than 160
/// bytes is cut, and ends in `~` and the key's SHA-256.
///
/// A file name is no place for a secret: of a key that has user-info, a query, a fragment or a
/// control character, the name has what [`Redacted`] shows, and ends in `~` and the key's SHA-256.
///
/// ```
/// use discovery_disk::store::{EscapedNames, FileNames};
///
/// let name = |key| EscapedNames.file_name(key).into_os_string();
/// assert_eq!(name("https://host/Api"), "https%3a%2f%2fhost%2f%41pi");
/// let secret = name("https://me:secret@host/Api?token=secret").into_string().unwrap();
/// assert!(secret.starts_with("https%3a%2f%2fhost%2f%41pi~"));
/// assert_eq!(name(".."), "%2e%2e");
/// assert_eq!(name(""), "%");
/// assert_eq!(name(&"x".repeat(4_000)).len(), 160);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct EscapedNames;

/// Below the 255 bytes of common file systems by more than a temporary name's suffix.
const MAX_NAME: usize = 160;

/// `~` and a sum.
const SUM_SUFFIX: usize = 65;

impl<F> FileNames for F
where
    F: Fn(&str) -> PathBuf + Send + Sync + 'static,
{
    fn file_name(&self, key: &str) -> PathBuf {
        self(key)
    }
}

impl FileNames for EscapedNames {
    fn file_name(&self, key: &str) -> PathBuf {
        if key.is_empty() {
            return "%".into();
        }
        let shown = Redacted::new(key).to_string();
        let is_whole = shown == key;
        let room = MAX_NAME - SUM_SUFFIX;
        let mut name = String::with_capacity(MAX_NAME + 3);
        // Where the name is cut if it gets too long: not inside an escape.
        let mut cut = 0;
        let is_device = is_device(&shown);
        for (at, byte) in shown.bytes().enumerate() {
            if name.len() <= room {
                cut = name.len();
            }
            match byte {
                _ if at == 0 && is_device => push_escaped(&mut name, byte),
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
                // Hidden at the start, dropped at the end by some file systems.
                b'.' if at > 0 && at + 1 < shown.len() => name.push('.'),
                _ => push_escaped(&mut name, byte),
            }
            if name.len() > MAX_NAME {
                break;
            }
        }
        if name.len() <= room {
            cut = name.len();
        }
        if !is_whole || name.len() > MAX_NAME {
            name.truncate(cut);
            name.push('~');
            name.push_str(&file_name(key));
        }
        name.into()
    }

    fn file_of(&self, name: &Path) -> FileOf {
        let Some(text) = name.to_str() else {
            return FileOf::Nobody;
        };
        if let Some((_, sum)) = text.split_once('~') {
            return match is_sum(sum) && is_plain(name) {
                true => FileOf::UnknownKey,
                false => FileOf::Nobody,
            };
        }
        match unescape(text) {
            Some(key) if self.file_name(&key) == name => FileOf::Key(key),
            _ => FileOf::Nobody,
        }
    }
}

/// kubectl's names: lower-case hexadecimal SHA-256 of the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashedNames;

impl FileNames for HashedNames {
    fn file_name(&self, key: &str) -> PathBuf {
        file_name(key).into()
    }

    fn file_of(&self, name: &Path) -> FileOf {
        match name.to_str().is_some_and(is_sum) {
            true => FileOf::UnknownKey,
            false => FileOf::Nobody,
        }
    }
}

/// Whether a file name stays below the directory that it is relative to.
pub(crate) fn stays_inside(name: &Path) -> bool {
    let mut parts = name.components().peekable();
    parts.peek().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !name.as_os_str().as_encoded_bytes().contains(&0)
}

/// Whether a file name certainly has one component and no other, on all systems. Most are such, and
/// taking paths apart takes longer.
pub(crate) fn is_plain(name: &Path) -> bool {
    let name = name.as_os_str().as_encoded_bytes();
    let plain = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%')
    };
    !matches!(name, b"" | b"." | b"..") && name.iter().all(plain)
}

/// Whether Windows takes a name for that of a device, whatever its ending.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    match stem {
        "con" | "prn" | "aux" | "nul" => true,
        _ => {
            let port = stem
                .strip_prefix("com")
                .or_else(|| stem.strip_prefix("lpt"));
            port.is_some_and(|port| matches!(port.as_bytes(), [b'0'..=b'9']))
        }
    }
}

/// Whether a text is a SHA-256 as [`file_name`] writes it.
fn is_sum(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == SUM_SUFFIX - 1 && text.bytes().all(is_digit)
}

/// Undoes the escapes of a name, if it has no false ones.
fn unescape(name: &str) -> Option<String> {
    if name == "%" {
        return Some(String::new());
    }
    let mut key = Vec::with_capacity(name.len());
    let mut parts = name.split('%');
    key.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        key.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        key.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(key).ok()
}

fn push_escaped(name: &mut String, byte: u8) {
    // Writing to a string can't fail.
    let _ = write!(name, "%{byte:02x}");
}
