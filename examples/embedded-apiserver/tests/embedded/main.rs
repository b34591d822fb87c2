//! The embedded API server against facts recorded from a real kube-apiserver 1.36.

#[path = "../support/wire.rs"]
mod wire;

mod client;
mod conditional;
mod data;
mod discovery;
mod errors;
mod faults;
mod log;
mod objects;
mod openapi;
mod switches;
mod transport;
