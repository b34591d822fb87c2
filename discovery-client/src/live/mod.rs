//! Discovery that stays up to date by itself.
//!
//! [`Live`] revalidates what a client discovers on an interval, and at once when a watch tells of a change of the
//! CustomResourceDefinitions or APIServices. A [`LiveHandle`] has the latest snapshot, tells [changes](Changes), and
//! [waits for a kind](LiveHandle::wait_for) to be served. [`Change`] is the difference of two snapshots.

mod change;
#[cfg(feature = "live")]
mod handle;
#[cfg(feature = "live")]
mod run;
#[cfg(feature = "live")]
mod watch;

pub use self::change::Change;
#[cfg(feature = "live")]
pub use self::handle::{Changes, Live, LiveHandle, Update, WaitError};
