//! The discovery files: what is written, what is read, and what becomes of bad ones.

mod bad;
mod concurrent;
mod faults;
mod fresh;
#[cfg(unix)]
mod modes;
mod partial;
mod tools;
mod writing;
