//! The typed client over the stack for programs that run long: memory, then kubectl's files, then
//! the HTTP cache. Only what changed is written again.
//!
//! ```console
//! $ cargo run -p discovery-examples --example long_lived
//! cold: 101 resources, 2 requests and 44 files written until now
//! warm: 101 resources, 2 requests and 44 files written until now
//! invalidated: 106 resources, 4 requests and 53 files written until now
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;

use bytes::Bytes;
use discovery_client::{DiscoveryClient, Stack};
use embedded_apiserver::EmbeddedServer;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = EmbeddedServer::builder().crds(25).start().await?;
    let cache = tempfile::tempdir()?;
    let transport = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (service, handles) = Stack::new(&cluster.url(), cache.path())?.long_lived(transport);
    let client = DiscoveryClient::new(service);

    for turn in ["cold", "warm", "invalidated"] {
        if turn == "invalidated" {
            cluster.control().set_crds(30);
            client.invalidate();
        }
        let preferred = client.preferred_resources().await?;
        let files = handles.files.disk_stats();
        println!(
            "{turn}: {} resources, {} requests and {} files written until now",
            preferred.resources.len(),
            cluster.counters().total,
            files.files_written,
        );
    }
    Ok(())
}
