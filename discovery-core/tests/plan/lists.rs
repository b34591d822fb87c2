//! The lists: which are asked for, and what their failure means.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use discovery_core::kube::document::{ApiGroupList, ApiResource, ApiResourceList};
use discovery_core::{Error, Format, Plan, Snapshot};
use http::Response;

use crate::tools::*;

#[test]
fn the_failure_of_a_list_is_not_the_end() {
    let (_, discovered) = walk(Plan::everything(), |path| {
        match path {
        "/api" => versions(&["v1"]),
        "/apis" => groups(&["a/v1", "b/v1", "c/v1", "d/v1"]),
        "/apis/a/v1" => status(503),
        "/apis/b/v1" => legacy(r#"{"kind":"APIResourceList","resources":[]}"#),
        "/apis/c/v1" => Err(Error::transport("http://h/apis/c/v1", "refused")),
        "/apis/d/v1" => Ok(Response::builder()
            .status(403)
            .body(r#"{"kind":"Status","status":"Failure","reason":"Forbidden","message":"not for you"}"#.into())
            .unwrap()),
        path => list(path, "pods"),
    }
    });
    let discovered = discovered.unwrap();
    assert_eq!(names(&discovered), ["v1"]);
    let failed: Vec<_> = failed(&discovered).into_iter().collect();
    let expected = [
        (
            "a/v1",
            "the server is currently unable to handle the request",
        ),
        ("b/v1", "received empty response for: b/v1"),
        ("c/v1", "no answer from http://h/apis/c/v1"),
        ("d/v1", "not for you"),
    ];
    assert_eq!(
        failed,
        expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
    );
}

/// As client-go's memory cache does. With a `Retry-After`, it is for another layer to wait.
#[test]
fn what_may_have_passed_is_asked_for_a_second_time() {
    let busy = |retry_after: &str| -> Answer {
        let response = Response::builder().status(503);
        let response = response.header("retry-after", retry_after);
        Ok(response.body("".into()).unwrap())
    };
    let connection = |kind: io::ErrorKind| -> Answer {
        Err(Error::transport(
            "http://h/apis/a/v1",
            io::Error::from(kind),
        ))
    };
    for (first, passes) in [
        (status(429), true),
        (status(500), true),
        (status(502), true),
        (status(503), true),
        (status(504), true),
        (busy("1.5"), true),
        (busy("7"), false),
        (busy("Wed, 21 Oct 2099 07:28:00 GMT"), false),
        (connection(io::ErrorKind::ConnectionRefused), true),
        (connection(io::ErrorKind::ConnectionReset), true),
        (connection(io::ErrorKind::TimedOut), false),
        (Err(Error::cut_short("http://h/apis/a/v1", "cut")), false),
        (status(403), false),
        (status(404), false),
        (legacy("{"), false),
    ] {
        let what = format!("{first:?}");
        let first = Cell::new(Some(first));
        let (asked, discovered) = walk(Plan::everything(), |path| match path {
            "/api" => versions(&[]),
            "/apis" => groups(&["a/v1"]),
            path => first.take().unwrap_or_else(|| list(path, "pods")),
        });
        let failed = discovered.unwrap().failed.len();
        assert_eq!(
            (asked.len(), failed),
            if passes { (4, 0) } else { (3, 1) },
            "{what}"
        );
    }
}

#[test]
fn an_empty_aggregated_list_is_no_failure() {
    let (_, discovered) = walk(Plan::everything(), |path| match path {
        "/api" => aggregated(&[]),
        _ => json(
            Format::V2,
            r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"a"},"versions":[{"version":"v1","freshness":"Current"},{"version":"v2","resources":[]}]}]}"#,
        ),
    });
    let discovered = discovered.unwrap();
    assert!(discovered.failed.is_empty() && discovered.snapshot.is_complete());
    assert_eq!(names(&discovered), ["a/v1", "a/v2"]);
}

#[test]
fn stale_versions_are_reported() {
    let (_, discovered) = walk(Plan::everything(), |path| match path {
        "/api" => aggregated(&[group("", "v1", "pods")]),
        _ => aggregated(&[Group::new("a").stale_version("v1")]),
    });
    let discovered = discovered.unwrap();
    assert_eq!(
        failed(&discovered)["a/v1"],
        "stale GroupVersion discovery: a/v1"
    );
    assert!(discovered.failed["a/v1"].is_stale());
    assert_eq!(discovered.snapshot.stale(), [gv("a/v1")]);
    assert!(
        discovered.snapshot.is_complete(),
        "the groups do not list it"
    );
    // And again by whoever starts from there, or hears it from a cache.
    let (asked, again) = walk(Plan::everything().known(&discovered.snapshot), |_| {
        status(500)
    });
    assert_eq!((asked.len(), again.unwrap().failed.len()), (0, 1));
    let cached = |_: &str| known(&discovered.snapshot);
    assert_eq!(walk(Plan::everything(), cached).1.unwrap().failed.len(), 1);
}

#[test]
fn a_group_that_is_listed_twice_is_kept_twice() {
    let (_, discovered) = walk(Plan::everything(), |path| match path {
        "/api" => status(404),
        _ => aggregated(&[group("a", "v1", "xs"), group("a", "v1", "ys")]),
    });
    let discovered = discovered.unwrap();
    assert_eq!(
        discovered.snapshot.groups().unwrap().groups.len(),
        2,
        "both are kept"
    );
    assert_eq!(
        discovered.snapshot.resources("a/v1").unwrap().resources[0].name,
        "ys"
    );
    let (asked, _) = walk(Plan::everything(), |path| match path {
        "/api" => status(404),
        "/apis" => groups(&["a/v1", "a/v1"]),
        path => list(path, "xs"),
    });
    assert_eq!(asked.len(), 3, "its list is asked for once");
}

#[test]
fn names_that_are_not_fit_for_a_path_are_not_asked_for() {
    let (asked, discovered) = walk(Plan::everything(), |path| match path {
        "/api" => versions(&["..", "v1/../../x", ""]),
        "/apis" => groups(&["../v1", "a/..", "b/v1"]),
        path => list(path, "xs"),
    });
    assert_eq!(asked[2..], ["/apis/b/v1"]);
    assert!(discovered.unwrap().snapshot.is_complete());
}

#[test]
fn at_most_64_are_in_flight() {
    let names: Vec<_> = (0..200).map(|n| format!("g{n:03}/v1")).collect();
    let texts: Vec<_> = names.iter().map(String::as_str).collect();
    let mut plan = Plan::everything();
    let [(api, _), (apis, _)] = [plan.next().unwrap(), plan.next().unwrap()];
    assert!(plan.next().is_none());
    plan.feed(apis, groups(&texts));
    assert!(plan.next().is_none(), "both halves first");
    plan.feed(api, versions(&[]));
    let mut under_way: VecDeque<_> = std::iter::from_fn(|| plan.next()).collect();
    assert_eq!((under_way.len(), plan.outstanding()), (64, 200));
    let mut done = 0;
    while let Some((ticket, request)) = under_way.pop_front() {
        plan.feed(ticket, list(request.uri().path(), "xs"));
        done += 1;
        under_way.extend(std::iter::from_fn(|| plan.next()));
        assert_eq!(under_way.len(), 64.min(200 - done));
        assert_eq!(plan.is_done(), done == 200);
    }
    assert!(plan.finish().unwrap().snapshot.is_complete());
}

#[test]
fn only_what_is_missing_is_asked_for() {
    let everything = |path: &str| match path {
        "/api" => versions(&["v1"]),
        "/apis" => groups(&["a/v1", "b/v1"]),
        path => list(path, "xs"),
    };
    let known = walk(Plan::groups(), everything).1.unwrap().snapshot;
    let mut known = Arc::unwrap_or_clone(known);
    known.insert(
        &gv("a/v1"),
        ApiResourceList::new(&gv("a/v1"), vec![ApiResource::default()]),
    );
    let (asked, discovered) = walk(Plan::everything().known(&known), everything);
    assert_eq!(asked, ["/apis/b/v1", "/api/v1"]);
    let complete = discovered.unwrap().snapshot;
    assert!(complete.is_complete());
    assert!(Arc::ptr_eq(
        complete.resources("a/v1").unwrap(),
        known.resources("a/v1").unwrap()
    ));
    assert_eq!(
        walk(Plan::everything().known(&complete), everything)
            .0
            .len(),
        0
    );
    assert_eq!(walk(Plan::groups().known(&known), everything).0.len(), 0);
    // Lists without groups: these are asked for, the lists are not.
    let mut lists = Snapshot::default();
    lists.insert(&gv("a/v1"), ApiResourceList::new(&gv("a/v1"), Vec::new()));
    let (asked, _) = walk(Plan::everything().known(&lists), everything);
    assert_eq!(asked, ["/api", "/apis", "/apis/b/v1", "/api/v1"]);
}

#[test]
fn what_a_cache_has_parsed_is_not_parsed_again() {
    let mut below = Snapshot::default();
    let groups: ApiGroupList = serde_json::from_str(
        r#"{"kind":"APIGroupList","groups":[{"name":"a","versions":[{"groupVersion":"a/v1"},{"groupVersion":"a/v2"}]}]}"#,
    )
    .unwrap();
    below.set_groups(groups);
    below.insert(
        &gv("a/v1"),
        ApiResourceList::new(&gv("a/v1"), vec![ApiResource::default()]),
    );
    let mut single = Snapshot::default();
    single.insert(
        &gv("a/v2"),
        ApiResourceList::new(&gv("a/v2"), vec![ApiResource::default()]),
    );
    let (asked, discovered) = walk(Plan::everything(), |path| {
        if path == "/apis/a/v2" {
            known(&single)
        } else {
            known(&below)
        }
    });
    let found = discovered.unwrap().snapshot;
    assert_eq!(asked, ["/api", "/apis", "/apis/a/v2"]);
    for (name, from) in [("a/v1", &below), ("a/v2", &single)] {
        assert!(Arc::ptr_eq(
            found.resources(name).unwrap(),
            from.resources(name).unwrap()
        ));
    }
    // One half from a cache, the other without: the cache knows both.
    let (asked, discovered) = walk(Plan::groups(), |path| {
        if path == "/api" {
            status(404)
        } else {
            known(&below)
        }
    });
    assert_eq!(
        (
            asked.len(),
            discovered.unwrap().snapshot.groups().unwrap().groups.len()
        ),
        (2, 1)
    );
    // An empty list is an error of a legacy server also when a cache has kept it.
    below.set_format(Format::Legacy);
    single.insert(&gv("a/v2"), ApiResourceList::new(&gv("a/v2"), Vec::new()));
    let (_, discovered) = walk(Plan::everything(), |path| {
        if path == "/apis/a/v2" {
            known(&single)
        } else {
            known(&below)
        }
    });
    assert!(discovered.unwrap().failed["a/v2"].is_empty_list());
}
