//! kube-rs with cached discovery: the second run finds what the first has learnt, and a program that looks for a resource
//! that has just come finds it.
//!
//! ```console
//! $ cargo run -p discovery-examples --example kube_rs
//! first run: 94 kinds, 2 requests until now
//! cm: ApiResource { group: "", version: "v1", api_version: "v1", kind: "ConfigMap", plural: "configmaps" }
//! widget025s: widget025s.v1.g01.example.test
//! widget026s, after all was forgotten: true
//! second run: 96 kinds, 6 requests until now
//! cm: ApiResource { group: "", version: "v1", api_version: "v1", kind: "ConfigMap", plural: "configmaps" }
//! widget026s: widget026s.v1.g02.example.test
//! widget027s, after all was forgotten: true
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;

use discovery_client::DiscoveryClient;
use discovery_client::kube::{CachedClient, KubeService};
use discovery_client::mapper::DeferredMapper;
use embedded_apiserver::EmbeddedServer;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::discovery::ApiResource;
use kube::{Config, Discovery};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = EmbeddedServer::builder()
        .crds(25)
        .tls(true)
        .token("secret")
        .start()
        .await?;
    let cache = tempfile::tempdir()?;
    let kubeconfig = Kubeconfig::from_yaml(&cluster.kubeconfig())?;

    for run in ["first", "second"] {
        // In a real program: `discovery_client::kube::client(Config::infer().await?)`.
        let config =
            Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default())
                .await?;
        let (client, handles) = CachedClient::new(config, cache.path())?
            .live(false)
            .build()?;

        let discovery = Discovery::new(client.clone()).run_aggregated().await?;
        let kinds: usize = discovery
            .groups()
            .map(|group| group.recommended_resources().len())
            .sum();
        let requests = cluster.counters().total;
        println!("{run} run: {kinds} kinds, {requests} requests until now");

        // A mapper looks once more when it does not find something.
        let service = KubeService::new(client.clone());
        let mapper = DeferredMapper::new(DiscoveryClient::new(service));
        let config_maps = mapper.resolve("cm").await?;
        println!("cm: {:?}", ApiResource::from(&*config_maps));
        let new = if run == "first" { 26 } else { 27 };
        cluster.control().set_crds(new);
        let name = format!("widget{:03}s", new - 1);
        println!("{name}: {}", mapper.resolve(&name).await?.full_name());

        // kube's own discovery looks for nothing by itself: the handle makes all forget. With `live(true)`, which is what
        // there is unless set, discovery is told by the server.
        cluster.control().set_crds(new + 1);
        handles.memory.invalidate();
        let discovery = Discovery::new(client).run_aggregated().await?;
        let latest = format!("widget{new:03}s");
        let mut resources = discovery
            .groups()
            .flat_map(kube::discovery::ApiGroup::recommended_resources);
        let is_there = resources.any(|(resource, _)| resource.plural == latest);
        println!("{latest}, after all was forgotten: {is_there}");
    }
    Ok(())
}
