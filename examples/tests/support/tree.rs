//! The content of a directory, byte for byte, and whether a file is still the same file.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// Every file below a directory, by its path relative to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, File>,
    /// The directories and their permission bits.
    pub(crate) dirs: BTreeMap<String, u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Another one means that the file was replaced.
    pub(crate) inode: u64,
    pub(crate) modified: SystemTime,
}

impl Tree {
    /// Reads everything below `root`; a root that is not there is empty.
    pub(crate) fn of(root: &Path) -> Self {
        let mut tree = Self::default();
        if root.is_dir() {
            tree.walk(root, root);
        }
        tree
    }

    fn walk(&mut self, root: &Path, dir: &Path) {
        let entries = fs::read_dir(dir).expect("a directory that can be read");
        for entry in entries {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            let name = path.strip_prefix(root).expect("it is below the root");
            let name = name.to_str().expect("names are text").to_owned();
            let mode = metadata.mode() & 0o7777;
            if metadata.is_dir() {
                self.dirs.insert(name, mode);
                self.walk(root, &path);
                continue;
            }
            let file = File {
                bytes: fs::read(&path).expect("a file that can be read"),
                mode,
                inode: metadata.ino(),
                modified: metadata.modified().expect("a modification time"),
            };
            self.files.insert(name, file);
        }
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
    }

    pub(crate) fn file(&self, name: &str) -> &File {
        self.files
            .get(name)
            .unwrap_or_else(|| panic!("no {name} among {:?}", self.names()))
    }

    /// The files below a directory, under names relative to it.
    pub(crate) fn below(&self, dir: &str) -> Self {
        let inside = |name: &str| Some(name.strip_prefix(dir)?.strip_prefix('/')?.to_owned());
        Self {
            files: (self.files.iter())
                .filter_map(|(name, file)| Some((inside(name)?, file.clone())))
                .collect(),
            dirs: (self.dirs.iter())
                .filter_map(|(name, mode)| Some((inside(name)?, *mode)))
                .collect(),
        }
    }

    /// Names, bytes and permissions, without what tells when it was written.
    pub(crate) fn content(&self) -> BTreeMap<&str, (&[u8], u32)> {
        (self.files.iter())
            .map(|(name, file)| (name.as_str(), (file.bytes.as_slice(), file.mode)))
            .collect()
    }

    /// The files that are not the very files that `before` has: new, replaced or changed in place.
    pub(crate) fn rewritten_since(&self, before: &Self) -> Vec<&str> {
        let same = |name: &str, file: &File| {
            (before.files.get(name))
                .is_some_and(|old| (old.inode, &old.bytes) == (file.inode, &file.bytes))
        };
        (self.files.iter())
            .filter(|(name, file)| !same(name, file))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Whether the bytes are in any file, or in any name.
    pub(crate) fn contains(&self, needle: &[u8]) -> Option<&str> {
        let found = |hay: &[u8]| hay.windows(needle.len()).any(|window| window == needle);
        (self.files.iter())
            .find(|(name, file)| found(name.as_bytes()) || found(&file.bytes))
            .map(|(name, _)| name.as_str())
    }
}

/// Makes every file below `root` look `age` old.
pub(crate) fn make_old(root: &Path, age: Duration) {
    let then = SystemTime::now() - age;
    for name in Tree::of(root).names() {
        let file = fs::File::options().append(true).open(root.join(name));
        file.and_then(|file| file.set_modified(then))
            .expect("a file of ours");
    }
}
