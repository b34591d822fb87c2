//! The built `kubectl-discovery`, run against the embedded server.

mod caching;
mod configuration;
mod failures;
mod flags;
mod output;
mod program;
