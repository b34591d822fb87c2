//! Operations on all files of a store.

use std::io;
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
struct Listed {
    path: PathBuf,
    file_of: FileOf,
    len: u64,
}

impl DiskStore {
    /// The keys of the files, if all names tell theirs.
    pub(crate) fn list_keys(&self, prefix: &str) -> Op<io::Result<Vec<String>>> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        offload(move |_| {
            let mut keys = Vec::new();
            store.for_each(|listed| match listed.file_of {
                FileOf::Key(key) if key.starts_with(&prefix) => {
                    keys.push(key);
                    Ok(())
                }
                FileOf::Key(_) => Ok(()),
                _ => Err(unsupported("the name of a file does not tell its key")),
            })?;
            Ok(keys)
        })
    }

    pub(crate) fn remove_all(&self) -> Op<io::Result<()>> {
        let store = self.clone();
        offload(move |permit: &Permit| {
            store.for_each(|listed| {
                // If this was given up, the file may be a later value.
                permit.run(|| match store.fs().remove(&listed.path) {
                    Err(error) if !is_absence(&error) => Err(at("remove", &listed.path)(error)),
                    _ => Ok(()),
                })
            })
        })
    }

    pub(crate) fn count(&self) -> Op<io::Result<StoreSize>> {
        let store = self.clone();
        offload(move |_| {
            let mut size = StoreSize::default();
            store.for_each(|listed| {
                size.values += 1;
                size.bytes += listed.len;
                Ok(())
            })?;
            Ok(size)
        })
    }

    /// Calls `visit` for each regular file that has the name of a value. Links are not followed.
    fn for_each(&self, mut visit: impl FnMut(Listed) -> io::Result<()>) -> io::Result<()> {
        if self.options().names.file_of(Path::new("any")) == FileOf::Unsupported {
            return Err(unsupported("the file names can't be read back"));
        }
        // The directories that are still to be read, relative to the store's.
        let mut directories = vec![(PathBuf::new(), 0)];
        while let Some((directory, depth)) = directories.pop() {
            let path = self.dir().join(&directory);
            let entries = match path.read_dir() {
                Err(error) if is_absence(&error) => continue,
                entries => entries.map_err(at("list", &path))?,
            };
            for entry in entries {
                let entry = entry.map_err(at("list", &path))?;
                let name = directory.join(entry.file_name());
                let path = entry.path();
                // Does not follow links. A file that has gone meanwhile is no value.
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                if metadata.is_dir() {
                    if !path.starts_with(self.temp()) && depth < MAX_DEPTH {
                        directories.push((name, depth + 1));
                    }
                    continue;
                }
                let file_of = self.options().names.file_of(&name);
                if !metadata.is_file() || file_of == FileOf::Nobody || !self.is_free(&name, &path) {
                    continue;
                }
                visit(Listed {
                    path,
                    file_of,
                    len: metadata.len(),
                })?;
            }
        }
        Ok(())
    }
}

fn unsupported(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}
