//! A kit for the tests of layers and stores (feature `testing`).
//!
//! The items panic where a test should fail. No program should depend on this feature outside its
//! tests.

pub mod conformance;
