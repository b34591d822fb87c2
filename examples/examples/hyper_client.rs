//! A hyper client behind a private HTTP cache: the second time the server only says that the
//! document is still the same (304), and the body comes from memory.
//!
//! ```console
//! $ cargo run -p discovery-examples --example hyper_client
//! 95 bytes, cache Stats { hits: 0, revalidations: 0, misses: 1, … }
//! 95 bytes, cache Stats { hits: 0, revalidations: 1, misses: 1, … }
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;

use bytes::Bytes;
use discovery_http_cache::HttpCacheLayer;
use discovery_memory::MemoryStore;
use embedded_apiserver::EmbeddedServer;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = EmbeddedServer::builder().start().await?;
    let cache = HttpCacheLayer::new(MemoryStore::new(64 << 20));
    let mut client = ServiceBuilder::new()
        .layer(&cache)
        .service(Client::builder(TokioExecutor::new()).build_http());

    for _ in 0..2 {
        let request = Request::get(format!("{}/openapi/v2", server.url()));
        let request = request
            .header("accept", "application/json")
            .body(Full::<Bytes>::default())?;
        let response = client.ready().await?.call(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        println!("{} bytes, cache {:?}", body.len(), cache.handle().stats());
    }
    Ok(())
}
