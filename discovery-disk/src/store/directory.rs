//! Files that are found from a directory that is held open: the system looks the directory up once for many files.

#[cfg(unix)]
pub(super) use self::held::Directory;
#[cfg(not(unix))]
pub(super) use self::named::Directory;

#[cfg(unix)]
mod held {
    use std::ffi::OsStr;
    use std::fs::{self, File};
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use rustix::fs::{
        AtFlags, CWD, Mode, OFlags, RawMode, mkdirat, open, openat, renameat, unlinkat,
    };
    use rustix::io::{Errno, retry_on_intr};

    /// Finds files by their paths, or, below the directory that it holds open, from there. Clones hold the same one.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Directory(Option<Arc<Held>>);

    #[derive(Debug)]
    struct Held {
        path: PathBuf,
        handle: OwnedFd,
    }

    impl Directory {
        /// One that holds nothing if the directory can't be opened.
        pub(crate) fn hold(path: &Path) -> Self {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let handle = retry_on_intr(|| open(path, flags, Mode::empty()));
            let path = path.to_owned();
            Self(handle.ok().map(|handle| Arc::new(Held { path, handle })))
        }

        /// Opens a file for reading. No link is followed, and a pipe without a writer does not block.
        pub(crate) fn open_file(&self, path: &Path) -> io::Result<File> {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let open = |dir: BorrowedFd<'_>, name: &Path| openat(dir, name, flags, Mode::empty());
            self.call(path, open).map(File::from)
        }

        /// Makes a file that is not there yet, for its owner alone, and opens it for writing.
        pub(crate) fn create_new(&self, path: &Path) -> io::Result<File> {
            let new = OFlags::CREATE | OFlags::EXCL;
            let flags = OFlags::WRONLY | new | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            let open = |dir: BorrowedFd<'_>, name: &Path| openat(dir, name, flags, mode);
            self.call(path, open).map(File::from)
        }

        /// Makes one directory.
        pub(crate) fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::unnecessary_cast,
                trivial_numeric_casts,
                reason = "a mode has 16 bits on some systems, and 32 on others"
            )]
            let mode = Mode::from_bits_truncate(mode as RawMode);
            self.call(path, |dir, name| mkdirat(dir, name, mode))
        }

        pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            if let (Some((dir, from)), Some((_, to))) = (self.below(from), self.below(to)) {
                match retry_on_intr(|| renameat(dir, from, dir, to)) {
                    Err(Errno::NOENT) => {}
                    renamed => return Ok(renamed?),
                }
            }
            fs::rename(from, to)
        }

        pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
            self.call(path, |dir, name| unlinkat(dir, name, AtFlags::empty()))
        }

        pub(crate) fn remove_dir(&self, path: &Path) -> io::Result<()> {
            self.call(path, |dir, name| unlinkat(dir, name, AtFlags::REMOVEDIR))
        }

        /// Does something to a file below the directory; or by its path, if nothing of that name is there: the directory
        /// may have been removed, and made again, since it was opened.
        fn call<T>(
            &self,
            path: &Path,
            call: impl Fn(BorrowedFd<'_>, &Path) -> rustix::io::Result<T>,
        ) -> io::Result<T> {
            if let Some((dir, name)) = self.below(path) {
                match retry_on_intr(|| call(dir, name)) {
                    Err(Errno::NOENT) => {}
                    done => return Ok(done?),
                }
            }
            Ok(retry_on_intr(|| call(CWD, path))?)
        }

        /// The directory, and the name of a file below it.
        fn below<'a>(&'a self, path: &'a Path) -> Option<(BorrowedFd<'a>, &'a Path)> {
            let Held { path: dir, handle } = self.0.as_deref()?;
            let name = path
                .as_os_str()
                .as_bytes()
                .strip_prefix(dir.as_os_str().as_bytes())?;
            let name = Path::new(OsStr::from_bytes(name.strip_prefix(b"/")?));
            Some((handle.as_fd(), name))
        }
    }
}

#[cfg(not(unix))]
mod named {
    use std::fs::{self, File, OpenOptions};
    use std::io;
    use std::path::Path;

    /// Finds files by their paths.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Directory;

    impl Directory {
        pub(crate) fn hold(_: &Path) -> Self {
            Self
        }

        pub(crate) fn open_file(&self, path: &Path) -> io::Result<File> {
            File::open(path)
        }

        pub(crate) fn create_new(&self, path: &Path) -> io::Result<File> {
            OpenOptions::new().write(true).create_new(true).open(path)
        }

        pub(crate) fn make_dir(&self, path: &Path, _mode: u32) -> io::Result<()> {
            fs::create_dir(path)
        }

        pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            fs::rename(from, to)
        }

        pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
            fs::remove_file(path)
        }

        pub(crate) fn remove_dir(&self, path: &Path) -> io::Result<()> {
            fs::remove_dir(path)
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::path::Path;

    use super::*;

    #[test]
    fn files_are_those_of_the_directory_that_was_opened() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("cache");
        fs::create_dir(&path).unwrap();
        let held = Directory::hold(&path);
        fs::rename(&path, outer.path().join("moved")).unwrap();

        held.make_dir(&path.join("a"), 0o750).unwrap();
        drop(held.create_new(&path.join("a/temp")).unwrap());
        held.rename(&path.join("a/temp"), &path.join("a/file"))
            .unwrap();
        assert!(outer.path().join("moved/a/file").exists());
        assert!(held.open_file(&path.join("a/file")).is_ok());
        held.remove_file(&path.join("a/file")).unwrap();
        held.remove_dir(&path.join("a")).unwrap();
        assert!(!outer.path().join("moved/a").exists() && !path.exists());
    }

    #[test]
    fn a_directory_that_was_made_again_is_found_by_its_path() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("cache");
        fs::create_dir(&path).unwrap();
        let held = Directory::hold(&path);
        fs::remove_dir(&path).unwrap();
        assert!(held.create_new(&path.join("temp")).is_err());

        fs::create_dir(&path).unwrap();
        drop(held.create_new(&path.join("temp")).unwrap());
        held.rename(&path.join("temp"), &path.join("file")).unwrap();
        assert!(held.open_file(&path.join("file")).is_ok());
        held.make_dir(&path.join("a"), 0o750).unwrap();
        held.remove_dir(&path.join("a")).unwrap();
        held.remove_file(&path.join("file")).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn names_elsewhere_are_found_by_their_paths() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("cache");
        let beside = outer.path().join("cached");
        for dir in [&path, &beside] {
            fs::create_dir(dir).unwrap();
            fs::write(
                dir.join("file"),
                dir.file_name().unwrap().as_encoded_bytes(),
            )
            .unwrap();
        }
        let read = |held: &Directory, path: &Path| {
            let mut text = String::new();
            held.open_file(path)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            text
        };
        // The second holds nothing.
        for held in [Directory::hold(&path), Directory::hold(&path.join("file"))] {
            assert_eq!(read(&held, &path.join("file")), "cache");
            assert_eq!(read(&held, &beside.join("file")), "cached");
            held.rename(&path.join("file"), &beside.join("other"))
                .unwrap();
            held.rename(&beside.join("other"), &path.join("file"))
                .unwrap();
        }
    }
}
