//! The discovery files: what is written, what is read, and what becomes of bad ones.

mod bad;
mod concurrent;
mod expired;
mod faults;
#[path = "../shared/files.rs"]
mod files;
mod fresh;
mod lock;
mod many;
#[cfg(unix)]
mod modes;
mod names;
mod negative;
mod partial;
#[cfg(unix)]
#[path = "../shared/processes.rs"]
mod parts;
#[cfg(unix)]
mod processes;
mod rot;
mod sweeping;
mod tidy;
mod tools;
mod trust;
mod writing;
