//! Embedded Kubernetes API server, programs and whole-stack tests.

pub mod embedded;
