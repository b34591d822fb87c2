//! A server that answers a path at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use discovery_core::engine::ParsedAnswer;
use discovery_core::kube::plan::Ticket;
use discovery_core::{Discovered, Error, Format, GroupVersion, Plan, Snapshot};
use http::{Request, Response};

use discovery_core::testing::fixtures;
pub(crate) use discovery_core::testing::fixtures::Group;

pub(crate) type Answer = Result<Response<Bytes>, Error>;

pub(crate) fn gv(text: &str) -> GroupVersion {
    text.parse().unwrap()
}

pub(crate) fn json(format: Format, body: impl Into<Bytes>) -> Answer {
    Ok(fixtures::document(format, body))
}

pub(crate) fn legacy(body: impl Into<Bytes>) -> Answer {
    json(Format::Legacy, body)
}

pub(crate) fn aggregated(groups: &[Group]) -> Answer {
    json(Format::V2, fixtures::aggregated(groups))
}

/// A group with a resource in its version.
pub(crate) fn group(name: &str, version: &str, resource: &str) -> Group {
    Group::new(name).version(version, &[resource])
}

pub(crate) fn status(code: u16) -> Answer {
    Ok(Response::builder().status(code).body(Bytes::new()).unwrap())
}

pub(crate) fn versions(names: &[&str]) -> Answer {
    legacy(fixtures::api_versions(names))
}

/// A group for each name, with its version.
pub(crate) fn groups(names: &[&str]) -> Answer {
    let groups = names.iter().map(|name| {
        let (group, version) = name.split_once('/').unwrap();
        Group::new(group).version(version, &[])
    });
    legacy(fixtures::group_list(&groups.collect::<Vec<_>>()))
}

pub(crate) fn list(of: &str, resource: &str) -> Answer {
    legacy(fixtures::resource_list(of, &[resource]))
}

/// Carries out a plan with an answer for each path, and tells which paths it asked.
pub(crate) fn walk(
    mut plan: Plan,
    answers: impl Fn(&str) -> Answer,
) -> (Vec<String>, Result<Discovered, Error>) {
    let (mut asked, mut under_way) = (Vec::new(), VecDeque::<(Ticket, Request<()>)>::new());
    loop {
        while let Some((ticket, request)) = plan.next() {
            assert_eq!(*request.uri().path(), *ticket.endpoint().path());
            asked.push(request.uri().path().to_owned());
            under_way.push_back((ticket, request));
        }
        let Some((ticket, request)) = under_way.pop_front() else {
            break;
        };
        assert!(
            !plan.is_done() || asked.len() == 2,
            "something is under way"
        );
        plan.feed(ticket, answers(request.uri().path()));
    }
    assert!(plan.is_done());
    (asked, plan.finish())
}

pub(crate) fn names(discovered: &Discovered) -> Vec<String> {
    let mut names: Vec<_> = discovered
        .snapshot
        .lists()
        .map(|(name, _)| name.to_string())
        .collect();
    names.sort();
    names
}

pub(crate) fn failed(discovered: &Discovered) -> BTreeMap<String, String> {
    let failed = discovered.failed.iter();
    failed
        .map(|(name, failure)| (name.to_string(), failure.to_string()))
        .collect()
}

pub(crate) fn known(snapshot: &Snapshot) -> Answer {
    let mut response = Response::new(Bytes::from_static(b"not read"));
    let snapshot = Arc::new(snapshot.clone());
    response
        .extensions_mut()
        .insert(ParsedAnswer::new(snapshot, "test", true));
    Ok(response)
}
