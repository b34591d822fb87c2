//! kubectl's discovery files, as a layer.
//!
//! [`DiskDiscoveryLayer`] keeps what a server serves in the files that kubectl keeps: in the
//! directory of the server, `servergroups.json`, and `<group>/<version>/serverresources.json` for
//! each group version (`v1/serverresources.json` for the core group). Both programs read what the
//! other wrote, byte for byte.
//!
//! - A file counts for a time to live after its modification time: six hours unless set.
//! - Files are published whole, by renaming a temporary file that lies beside them. They have mode
//!   0660 and directories 0750, less the umask. A file with the same content is not written again; its
//!   modification time is renewed.
//! - Empty lists of groups or resources are not written. A list that has become empty loses its file.
//! - A file that is empty, cut off, of another kind or of another group version, too large or not a
//!   regular file is no file, and is replaced. (kubectl takes an empty file for a valid answer.)
//! - If the directory can't be written, answers are kept in memory for the same time, and one
//!   warning says so. A file that another process has published since counts more.
//! - The list of a group or version whose name is that of a file, such as `servergroups.json`, is
//!   kept in memory: a directory of that name would be in the way of the file, for ever and for
//!   kubectl too.
//! - A process that is killed leaves the temporary file that it wrote, `<name>.<digits>`. Those older
//!   than a day are removed by the first process that publishes a file beside them, or, once a day, that asks for all groups.
//! - Lists of group versions that the server does not serve any more are removed when the groups have changed, or once a day.
//!   (kubectl leaves them, and does not miss them.)
//! - A directory that belongs to another user than root and the process' own, or that all may write to, is left alone,
//!   unless [that is allowed](DiskDiscoveryLayer::trust_any_owner): answers are kept in memory, and one warning says so.
//!
//! Files that kubectl does not have are elsewhere, in the [state directory](DiskDiscoveryLayer::state_dir): the lock by which of several
//! processes that start at once [only one asks the server](DiskDiscoveryLayer::max_lock_wait), and answers for group
//! versions that [have no list](DiskDiscoveryLayer::negative_ttl).

mod backend;
mod layer;
mod load;
mod lock;
mod negative;
mod read_lists;
mod save;
mod settings;
mod state;
mod stats;
mod tidy;
mod tree;

pub use self::backend::DiskBackend;
pub use self::layer::{DiskDiscovery, DiskDiscoveryLayer};
pub use self::stats::DiskStats;
