//! An API server for demonstrations, tests and benchmarks: on loopback only, without storage, with
//! the discovery of a stock Kubernetes 1.36.
//!
//! Discovery, `/version` and refusals are those of a real server byte for byte, the headers too.
//! OpenAPI has a real server's headers, hashes and redirects around small documents, and there are
//! a few objects. It can be told to misbehave: see [`Control`]. It shares no code with the crates
//! that are tested against it.
//!
//! A real server has more, which is left out here: YAML, protocol buffers and CBOR of discovery
//! documents and objects (406 if nothing else is asked for), ranges, writing objects (the body
//! comes back), tables, and OpenAPI documents of real size.
//!
//! ```
//! use discovery_examples::embedded::EmbeddedServer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let server = EmbeddedServer::builder().crds(300).tls(true).token("let-me-in").start().await?;
//! assert!(server.url().starts_with("https://127.0.0.1:"));
//! assert!(server.kubeconfig().contains("token: \"let-me-in\""));
//! // … talk to it …
//! assert_eq!(server.counters().total, 0);
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

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
