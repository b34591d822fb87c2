//! The groups: both halves, in whichever form, and what goes wrong.

use std::error::Error;

use discovery_core::{Accept, Format, Plan};
use http::Response;
use http::header::ACCEPT;

use crate::tools::*;

#[test]
fn the_groups_are_asked_for_at_the_same_time() {
    let mut plan = Plan::everything();
    let requests: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
    let seen: Vec<_> = requests
        .iter()
        .map(|(_, request)| (request.uri().to_string(), &request.headers()[ACCEPT]))
        .collect();
    assert_eq!(
        seen,
        [
            ("/api".to_owned(), &Accept::KUBECTL.parse().unwrap()),
            ("/apis".to_owned(), &Accept::KUBECTL.parse().unwrap())
        ]
    );
    assert_eq!(plan.outstanding(), 2);
    assert!(!plan.is_done());
    let (_, request) = Plan::groups().accept(Accept::WITH_V2BETA1).next().unwrap();
    assert_eq!(request.headers()[ACCEPT], Accept::WITH_V2BETA1);
}

#[test]
fn an_aggregated_server_needs_two_requests() {
    let (asked, discovered) = walk(Plan::everything(), |path| match path {
        "/api" => aggregated(&[group("", "v1", "pods")]),
        _ => aggregated(&[group("a", "v2", "xs").version("v1", &["xs"])]),
    });
    let discovered = discovered.unwrap();
    assert_eq!(asked, ["/api", "/apis"]);
    assert_eq!(names(&discovered), ["a/v1", "a/v2", "v1"]);
    assert_eq!(discovered.snapshot.format(), Some(Format::V2));
    assert!(discovered.snapshot.is_complete() && discovered.failed.is_empty());
    let groups = &discovered.snapshot.groups().unwrap().groups;
    assert_eq!(
        (&*groups[0].name, &*groups[1].name),
        ("", "a"),
        "the core group first"
    );
}

#[test]
fn an_answer_in_v2beta1_is_aggregated_too() {
    let (asked, discovered) = walk(Plan::everything(), |_| {
        json(
            Format::V2Beta1,
            r#"{"kind":"APIGroupDiscoveryList","items":[]}"#,
        )
    });
    assert_eq!(
        (asked.len(), discovered.unwrap().snapshot.format()),
        (2, Some(Format::V2Beta1))
    );
}

#[test]
fn an_answer_with_a_profile_is_not_taken_for_the_merged_document() {
    let (asked, discovered) = walk(Plan::everything(), |_| {
        let mut answer = json(Format::V2, r#"{"kind":"APIGroupDiscoveryList","items":[]}"#)?;
        let content_type = format!("{};profile=nopeer", Format::V2.content_type());
        let content_type = content_type.parse().unwrap();
        answer.headers_mut().insert("content-type", content_type);
        Ok(answer)
    });
    assert_eq!(asked.len(), 2);
    let error = discovered.unwrap_err();
    assert!(!error.is_transient() && error.code().is_none(), "{error}");
}

#[test]
fn a_legacy_server_is_asked_for_each_list() {
    let answers = |path: &str| match path {
        "/api" => versions(&["v1"]),
        "/apis" => groups(&["b/v1", "a/v1"]),
        path => list("whatever/it-says", path.rsplit('/').nth(1).unwrap()),
    };
    let (asked, discovered) = walk(Plan::everything(), answers);
    let discovered = discovered.unwrap();
    assert_eq!(asked[..2], ["/api", "/apis"]);
    assert_eq!(asked[2..], ["/apis/a/v1", "/apis/b/v1", "/api/v1"]);
    assert!(discovered.snapshot.is_complete());
    assert_eq!(discovered.snapshot.format(), Some(Format::Legacy));
    let found = discovered.snapshot.resources("b/v1").unwrap();
    assert_eq!(
        (&*found.group_version, &*found.api_version),
        ("b/v1", "v1"),
        "the path tells"
    );
    // The groups alone.
    let (asked, discovered) = walk(Plan::groups(), answers);
    assert_eq!(asked, ["/api", "/apis"]);
    assert_eq!(discovered.unwrap().snapshot.missing().count(), 3);
}

/// Only when both are aggregated do their resources count, and their stale versions.
#[test]
fn one_legacy_half_makes_the_other_half_legacy() {
    let stale = [group("a", "v1", "old").stale_version("v2")];
    for api_is_legacy in [true, false] {
        let (asked, discovered) = walk(Plan::everything(), |path| match (path, api_is_legacy) {
            ("/api", true) => versions(&["v1"]),
            ("/api", false) => aggregated(&[group("", "v1", "old")]),
            ("/apis", true) => aggregated(&stale),
            ("/apis", false) => groups(&["a/v1"]),
            (path, _) => list(path, "new"),
        });
        let discovered = discovered.unwrap();
        assert_eq!(asked[2..], ["/apis/a/v1", "/api/v1"]);
        assert_eq!(discovered.snapshot.format(), Some(Format::Legacy));
        assert_eq!(
            discovered.snapshot.resources("a/v1").unwrap().resources[0].name,
            "new"
        );
        assert_eq!(
            (discovered.snapshot.stale().len(), discovered.failed.len()),
            (0, 0)
        );
    }
}

#[test]
fn not_found_on_api_means_no_core_group() {
    let other_reason = || {
        Ok(Response::builder()
            .status(404)
            .body(r#"{"kind":"Status","reason":"Odd"}"#.into())
            .unwrap())
    };
    for absent in [|| status(404), other_reason] {
        let answer = |path: &str| {
            if path == "/api" {
                absent()
            } else {
                aggregated(&[group("a", "v1", "xs")])
            }
        };
        let (_, discovered) = walk(Plan::everything(), answer);
        let discovered = discovered.unwrap();
        assert_eq!(
            (names(&discovered), discovered.snapshot.format()),
            (vec!["a/v1".to_owned()], Some(Format::V2))
        );
        assert_eq!(discovered.snapshot.groups().unwrap().groups.len(), 1);
    }
    let (asked, discovered) = walk(Plan::everything(), |path| match path {
        "/api" => status(404),
        "/apis" => groups(&["a/v1"]),
        path => list(path, "xs"),
    });
    assert_eq!(asked.len(), 3);
    assert_eq!(discovered.unwrap().snapshot.format(), Some(Format::Legacy));
}

#[test]
fn all_other_errors_for_the_groups_are_the_end() {
    for (path, code, message) in [
        (
            "/api",
            401,
            "the server has asked for the client to provide credentials",
        ),
        (
            "/api",
            500,
            r#"an error on the server ("") has prevented the request from succeeding"#,
        ),
        (
            "/api",
            503,
            "the server is currently unable to handle the request",
        ),
        (
            "/apis",
            404,
            "the server could not find the requested resource",
        ),
        (
            "/apis",
            503,
            "the server is currently unable to handle the request",
        ),
        (
            "/apis",
            301,
            "the server responded with the status code 301 but did not return more information",
        ),
    ] {
        let healthy = |asked: &str| {
            if asked == "/api" {
                versions(&["v1"])
            } else {
                groups(&[])
            }
        };
        let (asked, discovered) = walk(Plan::everything(), |asked| {
            if asked == path {
                status(code)
            } else {
                healthy(asked)
            }
        });
        let failure = discovered.unwrap_err();
        assert_eq!(
            (failure.to_string().as_str(), failure.url()),
            (message, Some(path))
        );
        assert_eq!(failure.code().unwrap(), code);
        assert_eq!(asked.len(), 2, "no lists");
    }
    // Of two, kubectl meets the first.
    let both = |path: &str| {
        if path == "/api" {
            status(403)
        } else {
            status(503)
        }
    };
    assert_eq!(
        walk(Plan::everything(), both)
            .1
            .unwrap_err()
            .code()
            .unwrap(),
        403
    );
    let mut plan = Plan::everything();
    let [(api, _), (apis, _)] = [plan.next().unwrap(), plan.next().unwrap()];
    plan.feed(apis, status(503));
    assert!(
        !plan.is_done() && plan.next().is_none(),
        "waits for the first"
    );
    plan.feed(api, status(403));
    assert!(plan.is_done());
    assert_eq!(plan.finish().unwrap_err().code().unwrap(), 403);
}

#[test]
fn documents_that_are_malformed_name_their_url() {
    let bodies = [
        "",
        "{",
        "[]",
        "<html>",
        "null",
        r#"{"kind":"Status"}"#,
        r#"{"version":["v1"]}"#,
    ];
    for body in bodies {
        for path in ["/api", "/apis", "/apis/a/v1"] {
            let (_, discovered) = walk(Plan::everything(), |asked| match asked {
                asked if asked == path => legacy(body),
                "/api" => versions(&[]),
                "/apis" => groups(&["a/v1"]),
                asked => list(asked, "xs"),
            });
            let failure = match discovered {
                Err(failure) => failure,
                Ok(discovered) => discovered.failed["a/v1"].clone(),
            };
            assert_eq!(
                failure.to_string(),
                format!("the answer from {path} is not a discovery document")
            );
            assert!(
                failure.source().is_some() && !failure.is_transient() && !failure.is_not_found()
            );
        }
    }
    // A legacy answer that says that it is aggregated, and the other way round.
    let (_, discovered) = walk(Plan::everything(), |_| {
        json(Format::V2, r#"{"kind":"APIVersions"}"#)
    });
    assert!(discovered.is_err());
    let (_, discovered) = walk(Plan::everything(), |_| {
        legacy(r#"{"kind":"APIGroupDiscoveryList","items":[]}"#)
    });
    assert!(discovered.is_err());
}

/// Paths are made of them, by us and by kubectl from its files, each from other fields.
#[test]
fn names_that_do_not_fit_their_group_are_left_out() {
    let json = r#"{"kind":"APIGroupList","groups":[{"name":"a","versions":[
        {"groupVersion":"a/v1","version":"../../../../esc"},
        {"groupVersion":"a/v2","version":"v3"},
        {"groupVersion":"b/v1","version":"v1"},
        {"groupVersion":"v1","version":"v1"},
        {"groupVersion":"a/v5"},
        {"groupVersion":"a/v4","version":"v4"}],
        "preferredVersion":{"groupVersion":"a/v1","version":"../x"}},
        {"name":"c","versions":[{"groupVersion":"c/v1","version":"v1"}],
        "preferredVersion":{"groupVersion":"c/v1","version":"v1"}},
        {"name":"../d","versions":[{"groupVersion":"d/v1","version":"v1"}]}]}"#;
    let (_, discovered) = walk(Plan::groups(), |path| match path {
        "/api" => versions(&["v1", "../v2"]),
        _ => legacy(json),
    });
    let snapshot = discovered.unwrap().snapshot;
    let groups = &snapshot.groups().unwrap().groups;
    let texts: Vec<_> = groups
        .iter()
        .map(|group| {
            let versions: Vec<_> = group
                .versions()
                .iter()
                .map(|one| &*one.group_version)
                .collect();
            (&*group.name, versions, &*group.preferred_version.version)
        })
        .collect();
    assert_eq!(
        texts,
        [
            ("", vec!["v1"], "v1"),
            ("a", vec!["a/v4"], ""),
            ("c", vec!["c/v1"], "v1")
        ]
    );
}
