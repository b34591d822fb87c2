#![doc = include_str!("../README.md")]

mod answer;
mod body;
mod builder;
mod control;
mod documents;
mod fault;
mod json;
mod log;
mod model;
mod negotiate;
mod objects;
mod openapi;
mod routes;
mod serve;
mod server;
mod site;
mod state;
mod table;
mod tls;
mod watches;

pub use self::{
    builder::Builder,
    control::{Control, Hold},
    fault::{Canned, Fault},
    log::{Counters, Entry},
    model::{Group, Resource, Subresource, Version},
    objects::{CONFIG_MAP_MARKER, CONFIG_MAPS, SECRET_MARKER, SECRETS},
    server::EmbeddedServer,
    tls::Identity,
};
