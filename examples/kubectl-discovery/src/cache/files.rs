//! The files of the caches, found by their names and places.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use discovery_disk::DiskDiscoveryLayer;
use discovery_disk::store::{EscapedNames, FileNames, FileOf};

use crate::errors::{Fatal, go_words};
use crate::printable::printable;

pub(super) const GROUPS: &str = "servergroups.json";
pub(super) const RESOURCES: &str = "serverresources.json";
const DISCOVERY: &str = "discovery";
const HTTP: &str = "http";
/// The directory of the negative entries in that of what kubectl does not have.
const NEGATIVE: &str = "negative";
/// The directory of temporary files in the HTTP cache, and in that of negative entries.
pub(super) const TEMPORARY: &str = ".diskv-temp";

/// How many directories may lie in each other: more than servers and group versions make.
const MAX_DEPTH: usize = 32;

/// The use of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Groups,
    /// The resources of a group version.
    Resources(String),
    /// The answer for a group version that has no list. This program keeps none; others may, in the same directory.
    Negative(String),
    /// An answer of the HTTP cache.
    Entry,
    /// A file that was to become one of the others.
    Temporary,
}

/// A file of a cache.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// The directory of its server, relative to that of discovery; `None` in the HTTP cache.
    pub(super) server: Option<String>,
    pub(super) what: What,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

pub(super) fn discovery_dir(root: &Path) -> PathBuf {
    root.join(DISCOVERY)
}

pub(super) fn http_dir(root: &Path) -> PathBuf {
    root.join(HTTP)
}

pub(super) fn negative_dir(root: &Path) -> PathBuf {
    root.join(DiskDiscoveryLayer::STATE).join(NEGATIVE)
}

/// All files, those of discovery first, in the order of their paths.
pub(super) fn all(root: &Path) -> Result<Vec<Found>, Fatal> {
    let mut found = discovery(root)?;
    found.extend(negative(root)?);
    found.extend(http(root)?);
    Ok(found)
}

/// The files of discovery.
pub(super) fn discovery(root: &Path) -> Result<Vec<Found>, Fatal> {
    let dir = discovery_dir(root);
    let mut found = Vec::new();
    walk(&dir, &mut |name, path, metadata| {
        let what = match name {
            GROUPS => What::Groups,
            // The group version is told by the directories, below.
            RESOURCES => What::Resources(String::new()),
            _ if is_temporary_of(name, GROUPS) || is_temporary_of(name, RESOURCES) => {
                What::Temporary
            }
            _ => return,
        };
        found.push(Found::new(path, what, metadata));
    })?;
    let servers: BTreeSet<PathBuf> = found
        .iter()
        .filter(|file| file.what == What::Groups)
        .filter_map(|file| file.path.parent().map(Path::to_path_buf))
        .collect();
    for file in &mut found {
        let Some(parent) = file.path.parent() else {
            continue;
        };
        let server = match (&file.what, file.path.file_name()) {
            (What::Groups, _) => parent.to_path_buf(),
            (What::Temporary, Some(name))
                if name.to_str().is_some_and(|name| name.starts_with(GROUPS)) =>
            {
                parent.to_path_buf()
            }
            _ => server_of(&dir, parent, &servers),
        };
        if let What::Resources(group_version) = &mut file.what {
            *group_version = relative(&server, parent);
        }
        file.server = Some(relative(&dir, &server));
    }
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// The answers for group versions that have no list.
pub(super) fn negative(root: &Path) -> Result<Vec<Found>, Fatal> {
    let dir = negative_dir(root);
    let mut found = Vec::new();
    walk(&dir, &mut |name, path, metadata| {
        let parts = path.strip_prefix(&dir).unwrap_or(path).components();
        let parts: Vec<_> = parts.map(|part| Path::new(part.as_os_str())).collect();
        let (server, what) = match parts[..] {
            [server, file] => match EscapedNames.file_of(file) {
                FileOf::Key(group_version) => (server, What::Negative(group_version)),
                FileOf::UnknownKey => (server, What::Negative(String::new())),
                _ => return,
            },
            [server, temporary, _] if temporary == Path::new(TEMPORARY) && is_number(name) => {
                (server, What::Temporary)
            }
            _ => return,
        };
        let server = match EscapedNames.file_of(server) {
            FileOf::Key(server) => server,
            FileOf::UnknownKey => server.display().to_string(),
            _ => return,
        };
        let mut file = Found::new(path, what, metadata);
        let below = server
            .strip_prefix(DISCOVERY)
            .and_then(|rest| rest.strip_prefix('/'));
        file.server = Some(below.unwrap_or(&server).to_owned());
        found.push(file);
    })?;
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// The entries of the HTTP cache.
pub(super) fn http(root: &Path) -> Result<Vec<Found>, Fatal> {
    let dir = http_dir(root);
    let mut found = Vec::new();
    let is_hex = |name: &str| {
        let mut bytes = name.bytes();
        name.len() == 64 && bytes.all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    walk(&dir, &mut |name, path, metadata| {
        let parent = path.parent();
        let what = if parent == Some(&dir) && is_hex(name) {
            What::Entry
        } else if parent == Some(&dir.join(TEMPORARY)) && is_number(name) {
            What::Temporary
        } else {
            return;
        };
        found.push(Found::new(path, what, metadata));
    })?;
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

impl Found {
    fn new(path: &Path, what: What, metadata: &fs::Metadata) -> Self {
        Self {
            path: path.to_owned(),
            server: None,
            what,
            bytes: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// One file, if it is there and a regular one.
    pub(super) fn at(path: &Path, what: What) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok(Self::new(path, what, &metadata))
    }

    /// Whether the file is as it was found. Caches replace files at any time, and a new one is not what
    /// was looked at.
    pub(super) fn is_unchanged(&self) -> bool {
        Self::at(&self.path, self.what.clone())
            .is_ok_and(|now| (now.modified, now.bytes) == (self.modified, self.bytes))
    }

    /// The time since the file was written or confirmed; none for a time to come.
    pub(super) fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.modified).unwrap_or_default()
    }
}

/// The directory of the server that a resource list in `parent` is of. Addresses with a path have
/// directories in each other, so that the nearest one with groups counts; where none has, the last two
/// directories are taken for the group and the version.
fn server_of(dir: &Path, parent: &Path, servers: &BTreeSet<PathBuf>) -> PathBuf {
    let above = parent.ancestors().skip(1).take(2);
    let above = above.filter(|path| path.starts_with(dir) && *path != dir);
    let above: Vec<_> = above.collect();
    let known = above.iter().find(|path| servers.contains(**path));
    known
        .or(above.last())
        .map_or(parent, |path| path)
        .to_path_buf()
}

fn relative(dir: &Path, path: &Path) -> String {
    let rest = path.strip_prefix(dir).unwrap_or(path);
    let parts = rest.components();
    let parts: Vec<_> = parts
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts.join("/")
}

/// `servergroups.json.3141592653`, as Go and we name it.
fn is_temporary_of(name: &str, file: &str) -> bool {
    let rest = name
        .strip_prefix(file)
        .and_then(|rest| rest.strip_prefix('.'));
    rest.is_some_and(is_number)
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Calls `visit` for each regular file below `dir`. Follows no links, `dir` itself included.
fn walk(dir: &Path, visit: &mut dyn FnMut(&str, &Path, &fs::Metadata)) -> Result<(), Fatal> {
    match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", dir, &error)),
        Ok(metadata) if !metadata.is_dir() => {
            let dir = dir.display().to_string();
            return Err(Fatal::new(format_args!(
                "{} is not a directory, or a link to one, which is not followed",
                printable(&dir)
            )));
        }
        Ok(_) => {}
    }
    let mut directories = vec![(dir.to_owned(), 0)];
    while let Some((directory, depth)) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            // Another program may be removing it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|error| failed("list", &directory, &error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed("list", &directory, &error))?;
            // Does not follow links. A file that has gone meanwhile is none.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let path = entry.path();
            if metadata.is_dir() {
                if depth < MAX_DEPTH {
                    directories.push((path, depth + 1));
                }
            } else if let (true, Some(name)) = (metadata.is_file(), entry.file_name().to_str()) {
                visit(name, &path, &metadata);
            }
        }
    }
    Ok(())
}

pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Fatal {
    let path = path.display().to_string();
    let path = printable(&path);
    Fatal::new(format_args!("can't {what} {path}: {}", go_words(error)))
}
