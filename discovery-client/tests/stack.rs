//! The stacks around a transport.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use discovery_client::{DiscoveryClient, KubectlService, LongLivedService, Stack};
use discovery_core::testing::fixtures::{self, Group};
use discovery_core::testing::{self, ScriptedService};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Service, ServiceExt};

type Body = Full<Bytes>;
type Transport = ScriptedService<Body, Infallible>;

/// A transport to servers that name themselves in what they answer.
fn transport() -> Transport {
    let transport = Transport::default();
    transport.fallback(|request| {
        let host = request.uri().host().unwrap();
        let json = match request.uri().path().rsplit('/').next() {
            Some("api") => fixtures::api_versions(&["v1"]),
            _ => fixtures::group_list(&[Group::new(host).version("v1", &[])]),
        };
        Ok(Response::new(Body::from(json)))
    });
    transport
}

fn services(
    server: &str,
    root: &std::path::Path,
    transport: &Transport,
) -> (KubectlService<Transport>, LongLivedService<Transport>) {
    let stack = |name| Stack::new(server, root.join(name)).unwrap();
    let (kubectl, _) = stack("kubectl").kubectl(transport.clone());
    let (long_lived, _) = stack("long-lived").long_lived(transport.clone());
    (kubectl, long_lived)
}

async fn groups<S, RB>(service: &S, uri: &str) -> String
where
    S: Service<Request<Body>, Response = Response<RB>, Error = Infallible> + Clone,
    RB: http_body::Body<Data = Bytes>,
    RB::Error: std::fmt::Debug,
{
    let request = Request::get(uri).body(Body::default()).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    testing::read_text(response).await
}

/// An absolute URI says which server it is for.
#[tokio::test]
async fn one_server_does_not_answer_for_another() {
    let root = tempfile::tempdir().unwrap();
    let transport = transport();
    let (kubectl, long_lived) = services("https://a.test/k8s/c-1", root.path(), &transport);
    macro_rules! check {
        ($service:expr) => {
            assert!(groups($service, "/apis").await.contains("a.test"));
            transport.take_requests();
            assert!(
                groups($service, "https://a.test:443/k8s/c-1/apis")
                    .await
                    .contains("a.test")
            );
            assert_eq!(transport.request_count(), 0, "known");
            for uri in [
                "https://b.test/apis",
                "https://b.test/k8s/c-1/apis",
                "http://a.test/k8s/c-1/apis",
            ] {
                let host = uri.split('/').nth(2).unwrap();
                assert!(groups($service, uri).await.contains(host), "{uri}");
                let asked = transport.take_requests();
                assert_eq!(asked.len(), 1, "{uri}");
                let asked = asked[0].uri().to_string();
                assert_eq!(asked.split('?').next(), Some(uri));
            }
            // And nothing of theirs is taken for this server's.
            assert!(groups($service, "/apis").await.contains("a.test"));
            assert_eq!(transport.request_count(), 0);
        };
    }
    check!(&kubectl);
    check!(&long_lived);
}

/// How often a server is asked that wants each request again after so many seconds.
async fn attempts(stack: Stack, seconds: &'static str) -> usize {
    let server = Transport::default();
    server.fallback(move |_| {
        let busy = Response::builder().status(429);
        let busy = busy.header("retry-after", seconds);
        Ok(busy.body(Body::default()).unwrap())
    });
    let (service, _) = stack.kubectl(server.clone());
    let client: DiscoveryClient<_, Body> = DiscoveryClient::new(service);
    let failure = client.server_version().await.unwrap_err();
    let attempts = server.request_count();
    // Ten repeats are the end as well, and then the server's answer counts.
    match failure.code() {
        Some(code) => assert_eq!((code.as_u16(), attempts), (429, 11)),
        None => assert_eq!(
            failure.source().unwrap().to_string(),
            "context deadline exceeded"
        ),
    }
    // The same behind the discovery caches.
    let failure = client.groups().await.unwrap_err();
    assert_eq!(failure.is_transport(), attempts < 11);
    attempts
}

/// As in kubectl, all repeats have to be done within the timeout. Time passes by itself here.
#[tokio::test(start_paused = true)]
async fn repeats_end_at_the_timeout() {
    let root = tempfile::tempdir().unwrap();
    let stack = || Stack::new("https://a.test", root.path()).unwrap();
    assert_eq!(attempts(stack(), "33").await, 1);
    assert_eq!(attempts(stack(), "10").await, 4);
    let three = Duration::from_secs(3);
    assert_eq!(attempts(stack().timeout(three), "8").await, 1);
    assert_eq!(attempts(stack().timeout(three), "1").await, 4);
    assert_eq!(attempts(stack().timeout(Duration::ZERO), "600").await, 11);
    let patient = discovery_client::retry::RetryAfterLayer::new().deadline(Duration::from_secs(70));
    assert_eq!(attempts(stack().retry(patient), "33").await, 3);
}

#[test]
fn an_address_with_an_invalid_port_is_refused() {
    for server in [
        "https://127.0.0.1:644333",
        "https://127.0.0.1:6443x",
        "https://[::1]:-1/k8s",
        "127.0.0.1:99999",
    ] {
        let error = Stack::new(server, "cache").unwrap_err();
        let source = error.source().unwrap();
        assert!(
            source.is::<discovery_core::http::uri::InvalidPort>(),
            "{server}"
        );
    }
    for server in ["https://127.0.0.1:", "https://127.0.0.1:/", "127.0.0.1:0"] {
        assert!(Stack::new(server, "cache").is_ok(), "{server}");
    }
}

#[test]
fn the_text_of_an_error_has_no_password() {
    for server in [
        "ftp://me:secret@h",
        "https://me:secret@",
        "me:secret@",
        "https://me:secret@h:6443x",
        "https://me:sec/ret@h",
    ] {
        let error = Stack::new(server, "cache").unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("ret@") && !text.contains("me:sec"), "{text}");
        }
    }
}

/// Two users of one server and one directory, in programs of their own.
#[tokio::test]
async fn one_user_does_not_see_what_another_was_answered() {
    let root = tempfile::tempdir().unwrap();
    let files = |what: &str| {
        let mut names: Vec<_> = root
            .path()
            .join(what)
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    for partitioned in [false, true] {
        let transport = transport();
        for (user, expected) in [("alice", true), ("bob", partitioned), ("alice", false)] {
            let stack = Stack::new("https://a.test", root.path()).unwrap();
            let stack = if partitioned {
                stack.partition(user)
            } else {
                stack
            };
            let (service, _) = stack.kubectl(transport.clone());
            groups(&service, "https://a.test/apis").await;
            let asked = !transport.take_paths().is_empty();
            assert_eq!(asked, expected, "{user} {partitioned}");
        }
    }
    // kubectl's directory, and one for each of the two.
    assert_eq!(files("discovery").len(), 3);
    let discovery = files("discovery");
    assert!(
        discovery[1].starts_with(&format!("{}~", discovery[0])),
        "{discovery:?}"
    );
    assert!(discovery.iter().all(|name| !name.contains("alice")));
}

/// The options of the files reach them.
#[tokio::test]
async fn the_files_take_their_options_from_the_stack() {
    let root = tempfile::tempdir().unwrap();
    let transport = transport();
    let stack = || Stack::new("https://a.test", root.path()).unwrap();
    let (service, _) = stack().kubectl(transport.clone());
    groups(&service, "https://a.test/apis").await;
    let stack = stack().files(|layer| layer.keep_last_good(true));
    let (service, handles) = stack.kubectl(transport.clone());
    handles.disk.invalidate();
    transport.fallback(|_| Ok(fixtures::status(503)));
    assert!(
        groups(&service, "https://a.test/apis")
            .await
            .contains("a.test")
    );
}

#[test]
fn an_address_without_a_directory_is_warned_of_once() {
    let root = tempfile::tempdir().unwrap();
    let warnings = |stack: &dyn Fn() -> Stack| {
        let events = testing::Events::new("discovery_client");
        events.capture(|| drop(stack().kubectl(transport())));
        events.take().len()
    };
    let nameless = "http://host/..";
    let stack = |server| Stack::new(server, root.path()).unwrap();
    assert_eq!(warnings(&|| stack(nameless)), 1);
    assert_eq!(warnings(&|| stack(nameless).named(nameless)), 1);
    assert_eq!(warnings(&|| stack(nameless).named("http://host")), 0);
}
