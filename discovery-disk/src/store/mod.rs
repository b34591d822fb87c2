//! Stores on disk.
//!
//! [`DiskStore`] keeps each value in a file of its own, and [`KubectlStore`] keeps them as kubectl
//! does. Both can be used by any number of processes at the same time, without a lock: a value is
//! written to a temporary file, which is then renamed to its name. A reader that has opened a file
//! has a whole value, whatever happens to the name meanwhile. A process that is killed while it
//! writes leaves nothing but its temporary file, and that is [swept](DiskStore::sweep).
//!
//! # Blocking
//!
//! The calls block for as long as the file system takes, which for small files in the page cache is
//! much less than handing them to another thread would cost. A value that is larger than the
//! [inline limit](DiskStoreOptions::max_inline_size) is handed to Tokio's blocking threads if there is a
//! Tokio runtime, and done in place otherwise.
//!
//! # What a file may be
//!
//! Only regular files are values. A directory, a pipe, a socket or a device is as good as nothing,
//! and never waited for. So is a symbolic link: a file elsewhere is neither read nor touched through
//! one, and writing replaces the link itself. Directories may be links, the store's own and those
//! above and below it, and are followed, as kubectl does; but nothing is swept behind a link.
//! All who can write to the directory are trusted with the values in it.
//!
//! # What is on the disk when
//!
//! A value is visible to all processes when it has been written, but nothing is synced unless a
//! store is [told to](DiskStoreOptions::fsync): what a power cut leaves may be the old value, the new one,
//! or on some file systems a damaged one. Errors that come late, as those of a network file system
//! do when the file is closed, are waited for, and the value is published only after that.

#[cfg(feature = "testing")]
pub mod faults;

mod access;
mod bounds;
mod directory;
mod disk;
pub(crate) mod error;
mod form;
pub(crate) mod fs;
mod import;
mod index;
mod kubectl;
mod list;
mod names;
pub(crate) mod offload;
mod options;
#[cfg(feature = "read-cache")]
mod read_cache;
mod reader;
mod recent_misses;
mod stats;
pub(crate) mod sweep;
pub(crate) mod temp;
pub(crate) mod trust;
mod verified;
mod verify;
mod writer;

pub use self::disk::DiskStore;
pub use self::form::Compression;
pub use self::import::Import;
pub use self::kubectl::KubectlStore;
pub use self::list::Keys;
pub use self::names::{EscapedNames, FileNames, FileOf};
pub use self::options::DiskStoreOptions;
pub use self::reader::DiskReader;
pub use self::stats::DiskStoreStats;
pub use self::sweep::SweepReport;
pub use self::verify::VerifyReport;
pub use self::writer::DiskWriter;
