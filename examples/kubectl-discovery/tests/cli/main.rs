//! The built `kubectl-discovery`, run against the embedded server.

#[cfg(unix)]
mod authentication;
mod cache;
mod caching;
mod completion;
mod configuration;
mod credentials;
mod diff;
mod failures;
mod flags;
mod kubeconfig;
mod messages;
mod openapi;
mod output;
mod program;
mod proxies;
#[path = "../support/refused.rs"]
mod refused;
mod requests;
mod resolve;
#[path = "../support/run.rs"]
mod run;
#[path = "../support/tree.rs"]
mod tree;
mod watch;
