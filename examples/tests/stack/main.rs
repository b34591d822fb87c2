//! The library's stacks against the embedded API server, over real connections.

#[path = "../support/kube_config.rs"]
mod kube_config;
#[path = "../support/tree.rs"]
mod tree;
#[path = "../support/wire.rs"]
mod wire;

mod aggregated;
mod damage;
mod events;
mod failures;
mod handles;
mod hostile;
mod kube_client;
mod kube_rs;
mod legacy;
mod openapi;
mod retries;
mod rig;
mod secrets;
mod together;
mod unwritable;
mod versions;
