//! Prints resource types as they come and go, and waits for one.
//!
//! ```console
//! $ cargo run -p discovery-examples --example live
//! + g00.example.test/v1, Resource=widget003s
//! + g00.example.test/v1, Resource=widget004s
//! + g00.example.test/v1beta1, Resource=widget003s
//! + g00.example.test/v1beta1, Resource=widget004s
//! - g00.example.test/v1, Resource=widget002s
//! - g00.example.test/v1, Resource=widget003s
//! - g00.example.test/v1, Resource=widget004s
//! - g00.example.test/v1beta1, Resource=widget002s
//! - g00.example.test/v1beta1, Resource=widget003s
//! - g00.example.test/v1beta1, Resource=widget004s
//! served: widget005s.v1.g01.example.test
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use discovery_client::live::Live;
use discovery_client::{DiscoveryClient, Stack};
use discovery_core::GroupVersionResource;
use embedded_apiserver::EmbeddedServer;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = EmbeddedServer::builder().crds(3).start().await?;
    let cache = tempfile::tempdir()?;
    let transport = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (service, _handles) = Stack::new(&cluster.url(), cache.path())?.long_lived(transport);
    let live = Live::new(DiscoveryClient::new(service)).interval(Duration::from_secs(1));
    let live = live.start();
    live.ready().await?;

    let mut changes = live.changes();
    for crds in [5, 2] {
        cluster.control().set_crds(crds);
        let Some((change, _)) = changes.next().await else {
            break;
        };
        for (mark, resources) in [("+", change.added), ("-", change.removed)] {
            let is_type = |resource: &&GroupVersionResource| !resource.resource.contains('/');
            for resource in resources.iter().filter(is_type) {
                println!("{mark} {resource}");
            }
        }
    }

    cluster.control().set_crds(6);
    let found = live.wait_for("g01.example.test", "Widget005", Duration::from_secs(10));
    println!("served: {}", found.await?.full_name());
    Ok(())
}
