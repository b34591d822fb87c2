//! The embedded API server against facts recorded from a real kube-apiserver 1.36.

mod client;
mod conditional;
mod data;
mod discovery;
mod errors;
mod openapi;
mod switches;
mod transport;
