//! Compares what a server has now with what it had before.

mod change;

pub use self::change::Change;
