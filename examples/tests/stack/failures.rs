//! A server that fails, breaks off or talks nonsense.

use std::{fs, time::Duration};

use discovery_core::Error as DiscoveryError;
use discovery_core::http::uri;
use embedded_apiserver::{Canned, EmbeddedServer, Fault};
use http::StatusCode;

use super::{
    rig::{HALF, Rig, report, strangers},
    tree::make_old,
};

/// A fault in an answer, and the failure that it must lead to.
struct Case {
    fault: Fault,
    fits: fn(&DiscoveryError) -> bool,
}

fn cases() -> Vec<Case> {
    let broken = |failure: &DiscoveryError| !failure.is_transport() && failure.code().is_none();
    let nonsense = |body: &'static str| Case {
        fault: Fault::Answer(Canned::json(body)),
        fits: broken,
    };
    let status = |status: StatusCode, fits| Case {
        fault: Fault::Answer(Canned::status(status)),
        fits,
    };
    let html = Canned::new("<html>it works</html>").content_type("text/html");
    let plain = Canned::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n");
    vec![
        Case {
            fault: Fault::Cut,
            fits: DiscoveryError::is_transport,
        },
        Case {
            fault: Fault::CutBody(100),
            fits: broken,
        },
        Case {
            fault: Fault::CutBody(0),
            fits: |failure| failure.code().is_none(),
        },
        Case {
            fault: Fault::Answer(html),
            fits: broken,
        },
        nonsense(""),
        nonsense("{\"kind\":"),
        nonsense("[]"),
        nonsense("\"kind\""),
        nonsense("{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"data\":{}}"),
        nonsense("{\"kind\":\"APIGroupList\",\"groups\":[{\"name\":7}],\"versions\":7}"),
        Case {
            fault: Fault::Answer(plain),
            fits: |failure| {
                failure.code() == Some(StatusCode::SERVICE_UNAVAILABLE)
                    && failure.reason() == Some("ServiceUnavailable")
            },
        },
        status(StatusCode::FORBIDDEN, |failure| {
            failure.code() == Some(StatusCode::FORBIDDEN) && failure.reason() == Some("Forbidden")
        }),
        status(StatusCode::UNAUTHORIZED, |failure| {
            failure.reason() == Some("Unauthorized")
        }),
        status(StatusCode::INTERNAL_SERVER_ERROR, |failure| {
            failure.reason() == Some("InternalError") && failure.is_transient()
        }),
    ]
}

#[tokio::test]
async fn an_answer_that_fails_is_not_kept() {
    for (wire, order) in HALF {
        let rig = Rig::new(wire, order, EmbeddedServer::builder()).await;
        for case in cases() {
            for path in ["/api", "/apis"] {
                let what = format!("{wire:?} {order:?} {path} {:?}", case.fault);
                // Without an entry to revalidate: a 304 has no body that could be wrong.
                rig.clean();
                rig.control.set_fault(path, case.fault.clone());
                let failure = rig.program().client.discover().await;
                let failure = failure.expect_err(&what);
                assert!((case.fits)(&failure), "{what}: {failure:?}");
                let url = failure.url().expect("a request was sent");
                assert!(url.ends_with(path), "{what}: {url}");
                if failure.code().is_none() {
                    assert!(report(&failure).contains(path), "{what}: {failure}");
                }

                assert_eq!(rig.files().names(), [""; 0], "{what}");
                let url = format!("{}{path}?timeout=32s", rig.server.url());
                let entry = uri::file_name(&url);
                // An answer that came whole is for the HTTP cache to keep, whatever it says.
                let whole = matches!(&case.fault, Fault::Answer(_)) && failure.code().is_none();
                let entries = rig.entries();
                assert!(whole || !entries.files.contains_key(&entry), "{what}");
                assert_eq!(strangers(&entries), [""; 0], "{what}");
                rig.control.clear_faults();
            }
        }
        let program = rig.program();
        assert!(program.discover().await.snapshot.is_complete());
        assert_eq!(program.handles.http.stats().errors, 0);
    }
}

#[tokio::test]
async fn older_files_stay() {
    for (wire, order) in HALF {
        let rig = Rig::new(wire, order, EmbeddedServer::builder()).await;
        rig.program().run().await;
        make_old(rig.root.path(), Duration::from_secs(60));
        let before = rig.files();
        for case in cases() {
            for path in ["/api", "/apis"] {
                let what = format!("{wire:?} {order:?} {path} {:?}", case.fault);
                let _ = fs::remove_dir_all(rig.root.path().join("http"));
                rig.control.set_fault(path, case.fault.clone());
                let program = rig.program();
                program.client.invalidate();
                assert!(program.client.discover().await.is_err(), "{what}");
                assert!(rig.files() == before, "{what}");
                rig.control.clear_log();
                // A program that does not ask for anything newer still has them.
                assert!(rig.program().discover().await.snapshot.is_complete());
                assert_eq!(rig.taken().len(), 0);
                rig.control.clear_faults();
            }
        }
    }
}

#[tokio::test]
async fn not_found_on_apis_is_an_error() {
    let rig = Rig::plain(EmbeddedServer::builder()).await;
    let answer = Fault::Answer(Canned::status(StatusCode::NOT_FOUND));
    rig.control.set_fault("/apis", answer);
    let failure = rig
        .program()
        .client
        .discover()
        .await
        .expect_err("no groups");
    assert!(failure.is_not_found());
    assert_eq!(rig.files().names(), [""; 0]);
}

#[tokio::test]
async fn bodies_without_end() {
    const LIMIT: u64 = 1 << 20;
    for (wire, order) in HALF {
        let rig = Rig::new(wire, order, EmbeddedServer::builder()).await;
        for path in ["/api", "/apis"] {
            rig.clean();
            rig.control.set_fault(path, Fault::Endless);
            let program = rig.program_of(rig.stack().max_body_size(LIMIT));
            let client = program.client.clone().max_body_size(LIMIT);
            let failure = client.discover().await.expect_err("it has no end");
            let expected = format!("the answer from {path} has more than {LIMIT} bytes");
            assert_eq!(failure.to_string(), expected, "{wire:?} {order:?}");
            rig.control.clear_fault(path);
            // The connections are given up.
            rig.until(|counters| counters.in_flight == 0).await;
        }
        assert_eq!(rig.files().names(), [""; 0]);
        let entries = rig.entries();
        let answer =
            |path: &str| uri::file_name(&format!("{}{path}?timeout=32s", rig.server.url()));
        let allowed = [answer("/api"), answer("/apis")];
        // An unfinished file may still be there under another name.
        let others = strangers(&entries);
        let kept = |name: &str| allowed.iter().any(|allowed| allowed == name);
        let names = entries.names();
        let odd = names
            .iter()
            .find(|name| !kept(name) && !others.contains(name));
        assert_eq!(odd, None);
        assert!(
            entries
                .files
                .values()
                .all(|file| (file.bytes.len() as u64) < LIMIT)
        );
        assert!(rig.program().discover().await.snapshot.is_complete());
    }
}

#[tokio::test]
async fn a_broken_list_of_a_legacy_server() {
    let list = "/apis/apps/v1";
    for (wire, order) in HALF {
        let rig = Rig::new(wire, order, EmbeddedServer::builder().legacy_only(true)).await;
        for case in cases() {
            let what = format!("{wire:?} {order:?} {:?}", case.fault);
            rig.control.set_fault(list, case.fault.clone());
            let partial = rig.program().discover().await;
            assert_eq!(super::rig::failed(&partial), ["apps/v1"], "{what}");
            let failure = &partial.failed["apps/v1"];
            assert!(
                failure.url().is_some_and(|url| url.ends_with(list)),
                "{what}"
            );
            assert!((case.fits)(failure), "{what}: {failure:?}");
            let files = rig.files();
            assert!(
                !files.files.contains_key("apps/v1/serverresources.json"),
                "{what}"
            );
            assert!(files.files.contains_key("servergroups.json"), "{what}");
            rig.control.clear_faults();
        }
        assert!(rig.program().discover().await.failed.is_empty());
    }
}

#[tokio::test]
async fn nobody_listens() {
    for (wire, order) in HALF {
        let rig = Rig::new(wire, order, EmbeddedServer::builder()).await;
        let program = rig.program();
        let url = rig.server.url();
        // Otherwise another test's server might get the port.
        let _port = rig.server.successor();
        let Rig { server, root, .. } = rig;
        server.shutdown().await;
        let failure = program
            .client
            .discover()
            .await
            .expect_err("nobody is there");
        assert!(
            failure.is_transport() && failure.is_transient(),
            "{url}: {failure:?}"
        );
        assert!(
            report(&failure).to_lowercase().contains("refused"),
            "{}",
            report(&failure)
        );
        assert_eq!(super::tree::Tree::of(root.path()).names(), [""; 0]);
    }
}
