//! kube-rs' own discovery, unchanged, over kubectl's files: the second run sends no request.
//!
//! ```console
//! $ cargo run -p discovery-examples --example kube_rs
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;

use discovery_disk::DiskDiscoveryLayer;
use discovery_examples::embedded::EmbeddedServer;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Config, Discovery};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // In a real program: `Config::infer()`, and `~/.kube/cache` for the cache.
    let cluster = EmbeddedServer::builder()
        .crds(25)
        .tls(true)
        .token("secret")
        .start()
        .await?;
    let cache = tempfile::tempdir()?;
    let kubeconfig = Kubeconfig::from_yaml(&cluster.kubeconfig())?;

    for run in ["first", "second"] {
        let config =
            Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default())
                .await?;
        let files = DiskDiscoveryLayer::for_server(cache.path(), &config.cluster_url)?;
        let client = ClientBuilder::try_from(config)?
            .with_layer(&tower::buffer::BufferLayer::new(64))
            .with_layer(&files)
            .build();

        let discovery = Discovery::new(client).run_aggregated().await?;
        let kinds: usize = discovery
            .groups()
            .map(|group| group.recommended_resources().len())
            .sum();
        println!(
            "{run} run: {kinds} kinds, {} requests until now",
            cluster.counters().total
        );
    }
    Ok(())
}
