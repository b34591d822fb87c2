//! The few calls to the file system, in one place, so that tests can make any of them fail.

use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, IoSlice, Read, Write};
use std::path::Path;
use std::time::SystemTime;

#[cfg(unix)]
use rustix::io::Errno;

use super::directory::Directory;
#[cfg(feature = "testing")]
use super::faults::{Fault, Hook};

/// A call to the file system.
#[cfg_attr(
    not(feature = "testing"),
    allow(unreachable_pub, reason = "public with the feature")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Making a directory and those above it.
    MakeDir,
    /// Opening a new temporary file.
    OpenTemp,
    /// Writing to a temporary file.
    Write,
    /// Setting a temporary file's mode.
    SetMode,
    /// Waiting until a file or directory is on the disk.
    Sync,
    /// Closing a temporary file.
    Close,
    /// Renaming a temporary file to its name.
    Rename,
    /// Opening a value.
    Open,
    /// Reading a value.
    Read,
    /// Renewing a value's modification time.
    Touch,
    /// Removing a value or a temporary file.
    Remove,
}

/// The file system. Clones share the faults and the directory.
#[derive(Clone, Default)]
pub(crate) struct Fs {
    #[cfg(feature = "testing")]
    pub(crate) hook: Option<Hook>,
    /// The directory that is held open, if any is.
    directory: Directory,
}

/// Which file, in which state. Equal stamps mean the same content as long as writers replace files
/// and don't change them: a change in place that keeps the size, within the few milliseconds that
/// the file system's clock takes for a step, is not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified: (i64, i64),
    pub(crate) changed: (i64, i64),
}

impl Fs {
    /// The same with a directory held open, for work on many files in it. If it can't be opened, the files are found by
    /// their paths.
    pub(crate) fn in_directory(&self, dir: &Path) -> Self {
        let mut fs = self.clone();
        fs.directory = Directory::hold(dir);
        fs
    }

    /// Makes a directory and those above it.
    pub(crate) fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.check(Step::MakeDir, path)?;
        dir_builder(mode).recursive(true).create(path)
    }

    /// Makes one directory, unless it is there.
    pub(crate) fn make_one_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.check(Step::MakeDir, path)?;
        match self.directory.make_dir(path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Opens a file that is not there yet, for its owner alone.
    pub(crate) fn open_temp(&self, path: &Path) -> io::Result<File> {
        self.check(Step::OpenTemp, path)?;
        self.directory.create_new(path)
    }

    /// Writes several pieces, in one call if the system takes them all at once.
    pub(crate) fn write<const N: usize>(
        &self,
        file: &File,
        path: &Path,
        parts: [&[u8]; N],
    ) -> io::Result<()> {
        /// A size that every system takes in one call.
        const AT_ONCE: usize = 1 << 30;
        let (mut room, outcome) = self.check_write(path)?;
        let parts = parts.map(|part| {
            let part = &part[..part.len().min(room)];
            room -= part.len();
            part
        });
        if parts.iter().any(|part| part.len() > AT_ONCE / N) {
            let mut file = file;
            parts.iter().try_for_each(|part| file.write_all(part))?;
        } else {
            write_all(file, &mut parts.map(IoSlice::new))?;
        }
        outcome
    }

    /// Writes at an offset; where the file goes on being written is undefined afterwards.
    pub(crate) fn write_at(
        &self,
        file: &File,
        path: &Path,
        data: &[u8],
        offset: u64,
    ) -> io::Result<()> {
        let (room, outcome) = self.check_write(path)?;
        write_all_at(file, &data[..data.len().min(room)], offset)?;
        outcome
    }

    pub(crate) fn set_mode(&self, file: &File, path: &Path, mode: u32) -> io::Result<()> {
        self.check(Step::SetMode, path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.set_permissions(fs::Permissions::from_mode(mode))
        }
        #[cfg(not(unix))]
        {
            let _ = (file, mode);
            Ok(())
        }
    }

    pub(crate) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.check(Step::Sync, path)?;
        file.sync_all()
    }

    /// Asks what closing the file would say, which is where network file systems report what became
    /// of the bytes. They do so for each descriptor, and the file stays open.
    pub(crate) fn close_copy(&self, file: &File, path: &Path) -> io::Result<()> {
        self.check(Step::Close, path)?;
        // nix is there for this call and the one of `close`. The standard library drops the error when it closes a file, and
        // `sync_all` would wait for the disk; rustix's `try_close` is unsafe, because it takes a raw descriptor.
        #[cfg(unix)]
        nix::unistd::close(file.try_clone()?)?;
        #[cfg(not(unix))]
        let _ = file;
        Ok(())
    }

    /// Closes a file, and tells what the system has to say.
    pub(crate) fn close(&self, file: File, path: &Path) -> io::Result<()> {
        self.check(Step::Close, path)?;
        #[cfg(unix)]
        nix::unistd::close(file)?;
        #[cfg(not(unix))]
        drop(file);
        Ok(())
    }

    /// Waits until a rename in this directory is on the disk, where that can be asked for.
    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.check(Step::Sync, path)?;
        #[cfg(unix)]
        File::open(path)?.sync_all()?;
        Ok(())
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Step::Rename, to)?;
        self.directory.rename(from, to)
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Step::Remove, path)?;
        self.directory.remove_file(path)
    }

    /// Opens a value for reading, or returns `None` if there is no regular file of that name.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Option<(File, Metadata)>> {
        let opened = self
            .check(Step::Open, path)
            .and_then(|()| self.directory.open_file(path));
        let file = match opened {
            Err(error) if is_absence(&error) => return Ok(None),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        Ok(metadata.is_file().then_some((file, metadata)))
    }

    /// Looks at a file without opening it. As in [`open`](Self::open), a link is no file.
    pub(crate) fn stat(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let found = self
            .check(Step::Open, path)
            .and_then(|()| fs::symlink_metadata(path));
        match found {
            Err(error) if is_absence(&error) => Ok(None),
            found => found.map(|metadata| metadata.is_file().then_some(metadata)),
        }
    }

    pub(crate) fn read_exact(
        &self,
        mut file: &File,
        path: &Path,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        self.check(Step::Read, path)?;
        file.read_exact(buffer)
    }

    /// The first `len` bytes.
    pub(crate) fn read_first(&self, file: &File, path: &Path, len: usize) -> io::Result<Vec<u8>> {
        self.check(Step::Read, path)?;
        // One call, into memory that has not been zeroed for it.
        let mut bytes = Vec::with_capacity(len);
        #[cfg(unix)]
        while bytes.len() < len {
            use rustix::buffer::spare_capacity;
            use rustix::io::read;
            match read(file, spare_capacity(&mut bytes)) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        #[cfg(not(unix))]
        Read::take(file, len as u64).read_to_end(&mut bytes)?;
        if bytes.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // There may have been room for more.
        bytes.truncate(len);
        Ok(bytes)
    }

    pub(crate) fn touch(&self, file: &File, path: &Path, now: SystemTime) -> io::Result<()> {
        self.check(Step::Touch, path)?;
        file.set_modified(now)
    }

    /// Notes that a value was read.
    pub(crate) fn mark_used(&self, file: &File, path: &Path, now: SystemTime) -> io::Result<()> {
        self.check(Step::Touch, path)?;
        file.set_times(FileTimes::new().set_accessed(now))
    }

    /// Removes a directory if it is empty.
    pub(crate) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.check(Step::Remove, path)?;
        self.directory.remove_dir(path)
    }

    #[cfg(feature = "testing")]
    fn check(&self, step: Step, path: &Path) -> io::Result<()> {
        match self.hook.as_ref().and_then(|hook| hook(step, path)) {
            Some(Fault::Error(error)) => Err(error),
            Some(Fault::Torn(_)) | None => Ok(()),
        }
    }

    #[cfg(not(feature = "testing"))]
    #[allow(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "as the one with hooks"
    )]
    fn check(&self, _step: Step, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// How many bytes are to be written at most, and with which outcome after that.
    #[cfg(feature = "testing")]
    fn check_write(&self, path: &Path) -> io::Result<(usize, io::Result<()>)> {
        match self.hook.as_ref().and_then(|hook| hook(Step::Write, path)) {
            Some(Fault::Error(error)) => Err(error),
            Some(Fault::Torn(len)) => Ok((len, Err(io::ErrorKind::StorageFull.into()))),
            None => Ok((usize::MAX, Ok(()))),
        }
    }

    #[cfg(not(feature = "testing"))]
    fn check_write(&self, path: &Path) -> io::Result<(usize, io::Result<()>)> {
        self.check(Step::Write, path)?;
        Ok((usize::MAX, Ok(())))
    }
}

impl Stamp {
    #[cfg(unix)]
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// None where the platform has no numbers that tell a file from its replacement.
    #[cfg(not(unix))]
    pub(crate) fn of(_metadata: &Metadata) -> Option<Self> {
        None
    }
}

fn dir_builder(mode: u32) -> fs::DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode);
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// Whether a file has exactly this mode; always, where there are no modes.
pub(crate) fn has_mode(metadata: &Metadata, mode: u32) -> bool {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::mode(metadata) & 0o7777 == mode
    }
    #[cfg(not(unix))]
    {
        let _ = (metadata, mode);
        true
    }
}

/// Whether an error says that there is no value of that name, rather than that it can't be had.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, NotFound};
    if matches!(
        error.kind(),
        NotFound | NotADirectory | IsADirectory | InvalidFilename
    ) {
        return true;
    }
    // Opening without following: a symbolic link (ELOOP; the BSDs say EMLINK), a socket (ENXIO).
    #[cfg(unix)]
    return Errno::from_io_error(error)
        .is_some_and(|code| [Errno::LOOP, Errno::MLINK, Errno::NXIO].contains(&code));
    #[cfg(not(unix))]
    false
}

fn write_all(mut file: impl Write, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Those without a byte.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match file.write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, data, offset)
}

#[cfg(not(unix))]
fn write_all_at(mut file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes some bytes with each call, and says now and then that it was interrupted.
    struct Slow {
        taken: Vec<u8>,
        at_once: usize,
        calls: usize,
    }

    impl Write for Slow {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(data)])
        }

        fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let all = parts.iter().flat_map(|part| part.iter());
            let before = self.taken.len();
            self.taken.extend(all.take(self.at_once));
            Ok(self.taken.len() - before)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn pieces_that_are_taken_bit_by_bit_are_written_whole() {
        let lists: [&[&str]; 5] = [
            &["abc", "", "defg"],
            &["", "", "a"],
            &["ab", "cd", ""],
            &["", ""],
            &["abcdefghij"],
        ];
        for list in lists {
            for at_once in 1..8 {
                let mut slow = Slow {
                    taken: Vec::new(),
                    at_once,
                    calls: 0,
                };
                let mut parts: Vec<_> = list.iter().map(|s| IoSlice::new(s.as_bytes())).collect();
                write_all(&mut slow, &mut parts).unwrap();
                assert_eq!(slow.taken, list.concat().as_bytes(), "{list:?} {at_once}");
            }
        }
        let mut full = Slow {
            taken: Vec::new(),
            at_once: 0,
            calls: 0,
        };
        let error = write_all(&mut full, &mut [IoSlice::new(b"a")]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn a_file_shorter_than_it_was_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "abcdef").unwrap();
        let read = |len| {
            let file = File::open(&path).unwrap();
            Fs::default().read_first(&file, &path, len)
        };
        for len in 0..=6 {
            assert_eq!(read(len).unwrap(), b"abcdef"[..len]);
        }
        assert_eq!(read(7).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        fs::write(&path, "").unwrap();
        assert_eq!(read(0).unwrap(), b"");
        assert_eq!(read(1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
