//! All files of a store.

use std::fs::{Metadata, ReadDir};
use std::io;
use std::iter::FusedIterator;
use std::path::{Path, PathBuf};

use discovery_core::store::{Op, StoreSize};

use super::DiskStore;
use super::error::at;
use super::fs::is_absence;
use super::names::FileOf;
use super::offload::{Permit, offload};

/// How many directories may lie in each other: more than file names make.
const MAX_DEPTH: usize = 32;

/// A file that has the name of a value.
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) file_of: FileOf,
    pub(crate) len: u64,
    pub(crate) metadata: Metadata,
}

/// The regular files that have names of values, in no order. Links are not followed.
pub(crate) struct Files {
    store: DiskStore,
    /// The directories that are still to be read, relative to the store's.
    directories: Vec<(PathBuf, usize)>,
    current: Option<(PathBuf, usize, ReadDir)>,
}

/// The keys of a [`DiskStore`], one after the other, in no order: made by [`DiskStore::iter_keys`].
///
/// Nothing is read ahead but one piece of a directory. To stop, drop it.
pub struct Keys {
    files: Files,
    prefix: String,
}

impl DiskStore {
    /// The keys that begin with `prefix`, each when it is asked for. The calls block for as long as the directory takes.
    ///
    /// An item is an error of the kind [`Unsupported`](io::ErrorKind::Unsupported) where the name of a file does not
    /// tell its key, because it has a sum in place of a part of it. The items after it are as good as without.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_disk::DiskStore;
    ///
    /// # tokio_test::block_on(async {
    /// let dir = tempfile::tempdir()?;
    /// let store = DiskStore::new(dir.path());
    /// for key in ["a/1", "a/2", "b/1"] {
    ///     store.put(key, Value::default()).await?;
    /// }
    /// assert_eq!(store.iter_keys("a/")?.filter_map(Result::ok).count(), 2);
    /// // As far as the first.
    /// assert!(store.iter_keys("")?.next().is_some());
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) if the [file names](super::FileNames) can't be read back.
    pub fn iter_keys(&self, prefix: &str) -> io::Result<Keys> {
        Ok(Keys {
            files: self.files()?,
            prefix: prefix.to_owned(),
        })
    }

    /// The keys of the files, if all names tell theirs.
    pub(crate) fn list_keys(&self, prefix: &str) -> Op<io::Result<Vec<String>>> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        offload(move |_| store.iter_keys(&prefix)?.collect())
    }

    pub(crate) fn remove_all(&self) -> Op<io::Result<()>> {
        let store = self.clone();
        offload(move |permit: &Permit| {
            for listed in store.files()? {
                let path = listed?.path;
                // If this was given up, the file may be a later value.
                permit.run(|| match store.fs().remove(&path) {
                    Err(error) if !is_absence(&error) => Err(at("remove", &path)(error)),
                    _ => Ok(()),
                })?;
                store.note_removed(&path);
            }
            Ok(())
        })
    }

    pub(crate) fn count(&self) -> Op<io::Result<StoreSize>> {
        let store = self.clone();
        offload(move |_| {
            let mut size = StoreSize::default();
            for listed in store.files()? {
                size.values += 1;
                size.bytes += listed?.len;
            }
            Ok(size)
        })
    }

    pub(crate) fn files(&self) -> io::Result<Files> {
        if self.options().names.file_of(Path::new("any")) == FileOf::Unsupported {
            return Err(unsupported("the file names can't be read back"));
        }
        // A directory that is not trusted is left alone.
        let directories = match self.is_trusted() {
            true => vec![(PathBuf::new(), 0)],
            false => Vec::new(),
        };
        Ok(Files {
            store: self.clone(),
            directories,
            current: None,
        })
    }
}

impl Files {
    /// The next file of the directory that is being read; `None` after the last one of all.
    fn advance(&mut self) -> io::Result<Option<Listed>> {
        loop {
            let Some((directory, depth, entries)) = &mut self.current else {
                let Some((directory, depth)) = self.directories.pop() else {
                    return Ok(None);
                };
                let path = self.store.dir().join(&directory);
                match path.read_dir() {
                    Err(error) if is_absence(&error) => {}
                    entries => {
                        self.current =
                            Some((directory, depth, entries.map_err(at("list", &path))?));
                    }
                }
                continue;
            };
            let Some(entry) = entries.next() else {
                self.current = None;
                continue;
            };
            let entry = entry.map_err(at("list", &self.store.dir().join(&*directory)))?;
            let name = directory.join(entry.file_name());
            let path = entry.path();
            // Does not follow links. A file that has gone meanwhile is no value.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                if !path.starts_with(self.store.temp()) && *depth < MAX_DEPTH {
                    let depth = *depth + 1;
                    self.directories.push((name, depth));
                }
                continue;
            }
            let file_of = self.store.options().names.file_of(&name);
            if metadata.is_file() && file_of != FileOf::Nobody && self.store.is_free(&name, &path) {
                return Ok(Some(Listed {
                    path,
                    file_of,
                    len: metadata.len(),
                    metadata,
                }));
            }
        }
    }
}

impl Iterator for Files {
    type Item = io::Result<Listed>;

    /// After an error, goes on with the next directory.
    fn next(&mut self) -> Option<io::Result<Listed>> {
        self.advance()
            .inspect_err(|_| self.current = None)
            .transpose()
    }
}

impl Iterator for Keys {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        loop {
            match self.files.next()?.map(|listed| listed.file_of) {
                Ok(FileOf::Key(key)) if key.starts_with(&self.prefix) => return Some(Ok(key)),
                Ok(FileOf::Key(_)) => {}
                Ok(_) => {
                    let error = unsupported("the name of a file does not tell its key");
                    return Some(Err(error));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl FusedIterator for Keys {}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the prefix: a key may hold a secret.
        f.debug_struct("Keys")
            .field("dir", &self.files.store.dir())
            .finish_non_exhaustive()
    }
}

pub(crate) fn unsupported(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}
