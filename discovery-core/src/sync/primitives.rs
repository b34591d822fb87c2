//! The locks of this module: the tests put others in their place, which try the schedules of threads.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
