//! Custom resources that come while a program runs: a look-up misses, discovers once more, and finds.
//!
//! ```console
//! $ cargo run -p discovery-examples --example new_resource
//! po: pods (3 requests)
//! po: pods (0 requests)
//! satellite: the server doesn't have a resource type "satellite" (3 requests)
//! satellite: the server doesn't have a resource type "satellite" (0 requests)
//! kubectl apply -f rocket-crd.yaml
//! rk: rockets.v1.acme.test (4 requests)
//! rockets.acme.test: rockets.v1.acme.test (0 requests)
//! rk: rockets.v1.acme.test (0 requests)
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use discovery_client::DiscoveryClient;
use discovery_client::mapper::{DeferredMapper, MapError, Mapping};
use discovery_memory::MemoryDiscoveryLayer;
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceBuilder, service_fn};

/// The custom resource definition is there.
static APPLIED: AtomicBool = AtomicBool::new(false);

static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// An API server, in place of an HTTP client. `/apis` names a group when its resource has been defined.
async fn answer(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    let json = match (request.uri().path(), APPLIED.load(Ordering::Relaxed)) {
        ("/api", _) => r#"{"kind":"APIVersions","versions":["v1"]}"#,
        ("/apis", false) => r#"{"kind":"APIGroupList","groups":[]}"#,
        ("/apis", true) => {
            r#"{"kind":"APIGroupList","groups":[{"name":"acme.test",
                "versions":[{"groupVersion":"acme.test/v1","version":"v1"}]}]}"#
        }
        ("/api/v1", _) => {
            r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[
                {"name":"pods","kind":"Pod","namespaced":true,"shortNames":["po"]}]}"#
        }
        _ => {
            r#"{"kind":"APIResourceList","groupVersion":"acme.test/v1","resources":[
                {"name":"rockets","kind":"Rocket","namespaced":true,"shortNames":["rk"]}]}"#
        }
    };
    Ok(Response::new(Full::from(json)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let service = ServiceBuilder::new()
        .layer(MemoryDiscoveryLayer::new())
        .service(service_fn(answer));
    let mapper = DeferredMapper::new(DiscoveryClient::new(service));

    // The first look-up discovers. A name that is not there makes the mapper discover once more, but not each time.
    for name in ["po", "po", "satellite", "satellite"] {
        let found = mapper.resolve(name).await;
        print(name, found);
    }

    APPLIED.store(true, Ordering::Relaxed);
    println!("kubectl apply -f rocket-crd.yaml");
    for name in ["rk", "rockets.acme.test", "rk"] {
        let found = mapper.resolve(name).await;
        print(name, found);
    }
}

fn print(name: &str, found: Result<Arc<Mapping>, MapError>) {
    let found = found.map_or_else(|error| error.to_string(), |mapping| mapping.full_name());
    let requests = REQUESTS.swap(0, Ordering::Relaxed);
    println!("{name}: {found} ({requests} requests)");
}
