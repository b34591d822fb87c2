//! The discovery files: what is written, what is read, and what becomes of bad ones.
#![allow(missing_docs)]

mod bad;
mod concurrent;
mod faults;
mod fresh;
#[cfg(unix)]
mod modes;
mod partial;
mod tools;
mod writing;
