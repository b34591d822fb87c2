//! Cache keys and file names.
