//! Recorded and replayed: what a server has answered once is answered without it.
//!
//! ```console
//! $ cargo run -p discovery-examples --example offline
//! Record: 38 lists, 2 requests until now
//! Replay: 38 lists, 2 requests until now
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;

use bytes::Bytes;
use discovery_client::DiscoveryClient;
use discovery_disk::record::Mode;
use discovery_disk::{DiskStore, DiskStoreLayer};
use embedded_apiserver::EmbeddedServer;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let server = EmbeddedServer::builder().crds(5).start().await?;
    let url = server.url();
    for mode in [Mode::Record, Mode::Replay] {
        let absolute = url.clone();
        let service = ServiceBuilder::new()
            .map_request(move |mut request: http::Request<Full<Bytes>>| {
                if let Ok(uri) = format!("{absolute}{}", request.uri()).parse() {
                    *request.uri_mut() = uri;
                }
                request
            })
            .layer(DiskStoreLayer::new(DiskStore::new(dir.path())).mode(mode))
            .service(Client::builder(TokioExecutor::new()).build_http());
        let client = DiscoveryClient::new(service.map_err(std::io::Error::other));
        let found = client.discover().await?;
        let requests = server.counters().total;
        let lists = found.snapshot.lists().len();
        println!("{mode:?}: {lists} lists, {requests} requests until now");
    }
    Ok(())
}
