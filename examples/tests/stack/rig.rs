//! A server, a cache directory, and programs that reach the one through the other.

use std::fs;

use bytes::Bytes;
use discovery_client::{DiscoveryClient, Handles, Stack};
use discovery_core::http::uri::server_directory;
use discovery_core::{BoxError, Discovered, Error as DiscoveryError, GroupVersion, engine::Handle};
use embedded_apiserver::{Builder, Control, Counters, EmbeddedServer, Entry};
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tempfile::TempDir;
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_http::{
    decompression::{Decompression, DecompressionLayer},
    set_header::SetRequestHeaderLayer,
};
use tower_layer::Layer;

pub(crate) use super::wire::KUBECTL;
use super::{
    tree::Tree,
    wire::{LIMIT, trusting, until},
};

pub(crate) const TOKEN: &str = "token-of-the-stack-tests-51c3";

/// The protocol that the server is reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Plain HTTP/1.1.
    Plain,
    /// HTTP/2 in TLS, with a bearer token.
    Tls,
}

/// The order of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Kubectl,
    LongLived,
}

/// Both wires with both stacks.
pub(crate) const EVERY: [(Wire, Order); 4] = [
    (Wire::Plain, Order::Kubectl),
    (Wire::Plain, Order::LongLived),
    (Wire::Tls, Order::Kubectl),
    (Wire::Tls, Order::LongLived),
];

/// Each wire and each stack once, for what takes long.
pub(crate) const HALF: [(Wire, Order); 2] = [EVERY[0], EVERY[3]];

pub(crate) type Request0 = Request<Full<Bytes>>;
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;
pub(crate) type Service = BoxCloneSyncService<Request0, Answer, BoxError>;
pub(crate) type Transport = Decompression<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>;

pub(crate) struct Rig {
    pub(crate) server: EmbeddedServer,
    pub(crate) control: Control,
    pub(crate) root: TempDir,
    order: Order,
}

/// A program's own stack, which knows nothing yet.
pub(crate) struct Program {
    pub(crate) client: DiscoveryClient<Service, Full<Bytes>>,
    pub(crate) service: Service,
    pub(crate) handles: Handles,
}

impl Rig {
    pub(crate) async fn new(wire: Wire, order: Order, server: Builder) -> Self {
        let server = match wire {
            Wire::Plain => server,
            Wire::Tls => server.tls(true).token(TOKEN),
        };
        let server = server.start().await.expect("a server");
        Self {
            control: server.control(),
            server,
            root: tempfile::tempdir().expect("a directory"),
            order,
        }
    }

    /// Over plain HTTP/1.1, with kubectl's stack.
    pub(crate) async fn plain(server: Builder) -> Self {
        Self::new(Wire::Plain, Order::Kubectl, server).await
    }

    pub(crate) fn stack(&self) -> Stack {
        Stack::new(&self.server.url(), self.root.path()).expect("the server has an address")
    }

    pub(crate) fn program(&self) -> Program {
        self.program_of(self.stack())
    }

    /// A program with its layers as `stack` says.
    pub(crate) fn program_of(&self, stack: Stack) -> Program {
        let token = self.server.identity().map(|_| TOKEN);
        let token = token.map(|token| {
            HeaderValue::try_from(format!("Bearer {token}")).expect("a token is a header value")
        });
        let auth = SetRequestHeaderLayer::if_not_present(AUTHORIZATION, token);
        let transport = transport(&self.server);
        let (service, handles) = match self.order {
            Order::Kubectl => {
                // Credentials come from outside the HTTP cache, as in kubectl.
                let (service, handles) = stack.kubectl_with(&auth, transport);
                (boxed(service), handles)
            }
            Order::LongLived => {
                let (service, handles) = stack.long_lived(auth.layer(transport));
                (boxed(service), handles)
            }
        };
        Program {
            client: DiscoveryClient::new(service.clone()),
            service,
            handles,
        }
    }

    /// The cache directory.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(self.root.path())
    }

    /// The discovery files, by their names in the server's directory.
    pub(crate) fn files(&self) -> Tree {
        self.tree().below(&self.server_dir())
    }

    /// The HTTP cache's entries.
    pub(crate) fn entries(&self) -> Tree {
        self.tree().below("http")
    }

    /// The server's directory below the root.
    pub(crate) fn server_dir(&self) -> String {
        let name = server_directory(&self.server.url()).expect("an address like others");
        format!("discovery/{name}")
    }

    /// Forgets everything.
    pub(crate) fn clean(&self) {
        for entry in fs::read_dir(self.root.path()).expect("a directory") {
            fs::remove_dir_all(entry.expect("an entry").path()).expect("nobody holds it");
        }
    }

    /// Waits until the server's counters are so.
    pub(crate) async fn until(&self, enough: impl FnMut(&Counters) -> bool) {
        until(&self.control, enough).await;
    }

    /// The discovery cache that a program's requests come to first.
    pub(crate) fn outermost<'p>(&self, program: &'p Program) -> &'p Handle {
        match self.order {
            Order::Kubectl => &program.handles.disk,
            Order::LongLived => &program.handles.memory,
        }
    }

    /// Waits until so many requests were for what the program's outermost cache does not know.
    pub(crate) async fn until_missed(&self, program: &Program, requests: u64) {
        let outermost = self.outermost(program);
        let missed = async {
            while outermost.stats().misses < requests {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, missed).await;
        assert!(waited.is_ok(), "{:?}", outermost.stats());
    }

    /// The paths of [`taken`](Self::taken), sorted.
    pub(crate) fn take_paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.taken().into_iter().map(|entry| entry.path).collect();
        paths.sort();
        paths
    }

    /// The statuses of [`taken`](Self::taken).
    pub(crate) fn take_statuses(&self) -> Vec<Option<StatusCode>> {
        let log = self.taken();
        log.into_iter().map(|entry| entry.status).collect()
    }

    /// The requests since the log was cleared, which it is now.
    pub(crate) fn taken(&self) -> Vec<Entry> {
        let log = self.control.log();
        self.control.clear_log();
        log
    }
}

impl Program {
    pub(crate) async fn discover(&self) -> Discovered {
        self.client.discover().await.expect("the groups")
    }

    /// Discovers, for what it does to the caches.
    pub(crate) async fn run(&self) {
        drop(self.discover().await);
    }

    /// As [`run`](Self::run), anew.
    pub(crate) async fn rerun(&self) {
        drop(self.rediscover().await);
    }

    /// As `api-resources` without `--cached`.
    pub(crate) async fn rediscover(&self) -> Discovered {
        self.client.invalidate();
        self.discover().await
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Bytes) {
        let request = Request::get(path).body(Full::default()).expect("a request");
        let answer = self.service.clone().oneshot(request).await;
        let answer = answer.expect("an answer");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a whole body");
        (status, body.to_bytes())
    }
}

/// A client that speaks HTTP/1.1 in the clear and HTTP/2 in TLS, trusts the server's own authority,
/// and decodes what is compressed.
pub(crate) fn transport(server: &EmbeddedServer) -> Transport {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trusting(server))
        .https_or_http()
        .enable_all_versions()
        .build();
    ServiceBuilder::new()
        .layer(DecompressionLayer::new())
        .service(Client::builder(TokioExecutor::new()).build(connector))
}

fn boxed<S, B>(service: S) -> Service
where
    S: tower::Service<Request0, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let service = service
        .map_response(|response| response.map(|body| body.map_err(Into::into).boxed_unsync()))
        .map_err(Into::into);
    BoxCloneSyncService::new(service)
}

/// Those among the HTTP cache's files that are no entries: an entry's name is a SHA-256 sum.
pub(crate) fn strangers(entries: &Tree) -> Vec<&str> {
    let sum = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    (entries.names().into_iter())
        .filter(|name| !sum(name))
        .collect()
}

/// Everything that a failure tells, as an error report does.
pub(crate) fn report(failure: &DiscoveryError) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The group versions that were found, with how many resources each has, sorted.
pub(crate) fn found(discovered: &Discovered) -> Vec<(String, usize)> {
    let lists = discovered.snapshot.lists();
    let mut found: Vec<_> = lists
        .map(|(group_version, list)| (group_version.to_string(), list.resources.len()))
        .collect();
    found.sort();
    found
}

/// The groups, as a file has them.
pub(crate) fn groups(discovered: &Discovered) -> String {
    let groups = discovered.snapshot.groups().expect("groups");
    String::from_utf8(groups.json().to_vec()).expect("text")
}

/// The group versions that could not be had, sorted.
pub(crate) fn failed(discovered: &Discovered) -> Vec<&str> {
    (discovered.failed.keys())
        .map(GroupVersion::as_str)
        .collect()
}
