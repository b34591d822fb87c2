//! The answers of a snapshot.

use std::sync::Arc;

use bytes::Bytes;
use discovery_core::kube::document::{
    ApiGroup, ApiGroupDiscoveryList, ApiGroupList, ApiResource, ApiResourceList,
    GroupVersionForDiscovery, decode,
};
use discovery_core::{Accept, Answer, Endpoint, Format, GroupVersion, NegativeAnswer, Snapshot};

mod random;

fn gv(text: &str) -> GroupVersion {
    text.parse().unwrap()
}

fn group(name: &str, versions: &[&str]) -> ApiGroup {
    let versions: Vec<_> = versions
        .iter()
        .map(|version| GroupVersionForDiscovery::from(&GroupVersion::new(name, version).unwrap()))
        .collect();
    ApiGroup {
        name: name.into(),
        preferred_version: versions.first().cloned().unwrap_or_default(),
        versions: Some(versions).filter(|versions| !versions.is_empty()),
        ..ApiGroup::default()
    }
}

fn list(group_version: &str, resource: &str) -> ApiResourceList {
    let resource = ApiResource {
        name: resource.into(),
        kind: "X".into(),
        verbs: Some(["get".into()].into()),
        ..ApiResource::default()
    };
    ApiResourceList::new(&gv(group_version), vec![resource])
}

/// Core, `a` with two versions, and `stale` without any.
fn groups() -> Snapshot {
    let mut snapshot = Snapshot::default();
    let groups = vec![
        group("", &["v1"]),
        group("a", &["v1", "v2"]),
        group("stale", &[]),
    ];
    snapshot.set_groups(ApiGroupList::new(groups));
    snapshot
}

fn complete() -> Snapshot {
    let mut snapshot = groups();
    for name in ["v1", "a/v1", "a/v2"] {
        snapshot.insert(&gv(name), list(name, "xs"));
    }
    snapshot
}

fn accept(text: &str) -> Accept {
    Accept::parse(&text.parse().unwrap())
}

fn plain() -> Accept {
    accept("application/json")
}

fn only(format: Format) -> Accept {
    accept(format.content_type())
}

#[track_caller]
fn document(snapshot: &Snapshot, endpoint: &Endpoint, accept: Accept) -> (Format, Bytes) {
    match snapshot.answer(endpoint, accept) {
        Some(Answer::Document { format, json }) => (format, json),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_snapshot_answers_nothing() {
    let snapshot = Snapshot::default();
    for path in [
        "/api",
        "/apis",
        "/apis/a",
        "/api/v1",
        "/apis/a/v1",
        "/version",
    ] {
        let endpoint = Endpoint::parse(path, "").unwrap();
        assert_eq!(snapshot.answer(&endpoint, plain()), None, "{path}");
    }
    assert!(!snapshot.is_complete());
    assert_eq!(snapshot.missing().count(), 0);
}

#[test]
fn legacy_documents_are_made_of_the_groups() {
    let (format, json) = document(&groups(), &Endpoint::Api, plain());
    assert_eq!(format, Format::Legacy);
    assert_eq!(
        json,
        r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}"#
    );
    let (_, json) = document(&groups(), &Endpoint::Apis, plain());
    let answer: ApiGroupList = decode(&json).unwrap();
    // Neither the core group nor the one without versions.
    assert_eq!(answer, ApiGroupList::new(vec![group("a", &["v1", "v2"])]));
    let (_, json) = document(&groups(), &Endpoint::Group("a".into()), plain());
    let answer: ApiGroup = decode(&json).unwrap();
    assert_eq!((&*answer.kind, &*answer.api_version), ("APIGroup", "v1"));
    assert_eq!(answer.versions, group("a", &["v1", "v2"]).versions);
    assert_eq!(
        groups().groups().unwrap().groups.len(),
        3,
        "the file keeps it"
    );
}

#[test]
fn what_the_groups_do_not_list_is_not_found() {
    let snapshot = groups();
    for path in [
        "/apis/b",
        "/apis/stale",
        "/apis/b/v1",
        "/apis/a/v9",
        "/api/v2",
    ] {
        let endpoint = Endpoint::parse(path, "").unwrap();
        assert_eq!(
            snapshot.answer(&endpoint, plain()),
            Some(Answer::NotFound),
            "{path}"
        );
    }
    let mut no_core = Snapshot::default();
    no_core.set_groups(ApiGroupList::new(vec![group("a", &["v1"])]));
    assert_eq!(
        no_core.answer(&Endpoint::Api, plain()),
        Some(Answer::NotFound)
    );
    assert!(no_core.answer(&Endpoint::Apis, plain()).is_some());
    // Of a group that is listed twice, the one that has versions.
    let mut twice = Snapshot::default();
    twice.set_groups(ApiGroupList::new(vec![
        group("a", &[]),
        group("a", &["v2"]),
    ]));
    let (_, json) = document(&twice, &Endpoint::Group("a".into()), plain());
    assert_eq!(
        decode::<ApiGroup>(&json).unwrap().versions,
        group("a", &["v2"]).versions
    );
}

#[test]
fn aggregated_documents_need_everything() {
    for format in [Format::V2, Format::V2Beta1] {
        let partial = groups();
        assert_eq!(partial.answer(&Endpoint::Apis, only(format)), None);
        let snapshot = complete();
        let (found, json) = document(&snapshot, &Endpoint::Apis, only(format));
        assert_eq!(found, format);
        let answer: ApiGroupDiscoveryList = decode(&json).unwrap();
        assert_eq!(answer.api_version, format.api_version());
        let names: Vec<_> = answer
            .items
            .iter()
            .map(|item| &*item.metadata.name)
            .collect();
        assert_eq!(
            names,
            ["a"],
            "neither the core group nor the one without versions"
        );
        let (_, json) = document(&snapshot, &Endpoint::Api, only(format));
        let answer: ApiGroupDiscoveryList = decode(&json).unwrap();
        assert_eq!(answer.items[0].metadata.name, "");
        assert_eq!(answer.items[0].versions[0].resources[0].resource, "xs");
    }
}

/// Where the client takes both, it gets what the server would give it.
#[test]
fn the_best_form_that_is_known() {
    let both = accept(Accept::KUBECTL);
    assert_eq!(document(&complete(), &Endpoint::Apis, both).0, Format::V2);
    let mut partial = groups();
    assert_eq!(
        partial.answer(&Endpoint::Apis, both),
        None,
        "the server may have more"
    );
    partial.set_format(Format::V2);
    assert_eq!(
        partial.answer(&Endpoint::Apis, both),
        None,
        "the server has more"
    );
    partial.set_format(Format::Legacy);
    assert_eq!(document(&partial, &Endpoint::Apis, both).0, Format::Legacy);
    assert_eq!(
        partial.answer(&Endpoint::Apis, only(Format::V2)),
        None,
        "and nothing else"
    );
    // One that takes no legacy documents gets none of the single ones either.
    let endpoint = Endpoint::parse("/apis/a/v1", "").unwrap();
    assert_eq!(complete().answer(&endpoint, only(Format::V2)), None);
    assert_eq!(document(&complete(), &endpoint, both).0, Format::Legacy);
}

#[test]
fn changes_show_in_what_was_rendered_before() {
    let mut snapshot = complete();
    let (_, before) = document(&snapshot, &Endpoint::Apis, only(Format::V2));
    let (_, again) = document(&snapshot, &Endpoint::Apis, only(Format::V2));
    assert_eq!(before.as_ptr(), again.as_ptr(), "rendered once");
    let copy = snapshot.clone();
    snapshot.insert(&gv("a/v1"), list("a/v1", "ys"));
    let (_, after) = document(&snapshot, &Endpoint::Apis, only(Format::V2));
    assert_ne!(before, after);
    assert_eq!(document(&copy, &Endpoint::Apis, only(Format::V2)).1, before);
    snapshot.set_groups(ApiGroupList::new(vec![group("a", &["v2"])]));
    assert_ne!(
        document(&snapshot, &Endpoint::Apis, only(Format::V2)).1,
        after
    );
    assert_ne!(
        document(&snapshot, &Endpoint::Apis, plain()).1,
        document(&copy, &Endpoint::Apis, plain()).1
    );
}

#[test]
fn a_refusal_is_answered_until_newer_groups_come() {
    let refusal = NegativeAnswer {
        status: http::StatusCode::FORBIDDEN,
        content_type: None,
        body: "no".into(),
    };
    let endpoint = Endpoint::parse("/apis/a/v1", "").unwrap();
    let mut refused = Snapshot::default();
    refused.refuse(&gv("a/v1"), refusal.clone());
    assert_eq!(
        refused.answer(&endpoint, plain()),
        Some(Answer::Refused(refusal.clone()))
    );
    // It counts as missing, and survives being put together with other knowledge.
    let mut snapshot = groups();
    snapshot.merge(&refused);
    assert_eq!(
        snapshot.answer(&endpoint, plain()),
        Some(Answer::Refused(refusal))
    );
    assert_eq!(snapshot.missing().count(), 3);
    // A list that comes later is what counts.
    snapshot.insert(&gv("a/v1"), list("a/v1", "xs"));
    assert_eq!(document(&snapshot, &endpoint, plain()).0, Format::Legacy);
    snapshot.merge(&refused);
    assert_eq!(document(&snapshot, &endpoint, plain()).0, Format::Legacy);
}

#[test]
fn refusals_from_before_the_groups_count_no_more() {
    let refusal = NegativeAnswer {
        status: http::StatusCode::NOT_FOUND,
        content_type: None,
        body: Bytes::new(),
    };
    let endpoint = Endpoint::parse("/apis/a/v1", "").unwrap();
    let mut refused = Snapshot::default();
    refused.refuse(&gv("a/v1"), refusal.clone());
    let mut merged = refused.clone();
    merged.merge(&groups());
    assert_eq!(merged.answer(&endpoint, plain()), None);
    refused.set_groups(ApiGroupList::new(vec![group("a", &["v1"])]));
    assert_eq!(refused.answer(&endpoint, plain()), None);
    // Those that come with the groups are as new as these.
    let mut both = groups();
    both.refuse(&gv("a/v1"), refusal.clone());
    merged.merge(&both);
    assert_eq!(
        merged.answer(&endpoint, plain()),
        Some(Answer::Refused(refusal))
    );
}

#[test]
fn refusals_have_bounds() {
    let refusal = |size: usize| NegativeAnswer {
        status: http::StatusCode::NOT_FOUND,
        content_type: None,
        body: vec![b'x'; size].into(),
    };
    let refused = |snapshot: &Snapshot, name: &str| {
        let answer = snapshot.answer(&Endpoint::Resources(gv(name)), plain());
        matches!(answer, Some(Answer::Refused(_)))
    };
    let mut snapshot = Snapshot::default();
    for n in 0..300 {
        snapshot.refuse(&gv(&format!("a/v{n}")), refusal(0));
    }
    assert!(refused(&snapshot, "a/v255") && !refused(&snapshot, "a/v256"));
    snapshot.refuse(&gv("a/v0"), refusal(1));
    assert!(
        refused(&snapshot, "a/v0"),
        "no room for more, but for news of one that is there"
    );

    let mut snapshot = Snapshot::default();
    snapshot.refuse(&gv("a/v1"), refusal((64 << 10) + 1));
    assert!(!refused(&snapshot, "a/v1"));
    snapshot.refuse(&gv("a/v1"), refusal(64 << 10));
    assert!(refused(&snapshot, "a/v1"));

    // Only of what is known to be there.
    let mut snapshot = groups();
    snapshot.set_stale(vec![gv("stale/v1")]);
    for (name, remembered) in [("a/v1", true), ("stale/v1", true), ("b/v1", false)] {
        snapshot.refuse(&gv(name), refusal(0));
        assert_eq!(refused(&snapshot, name), remembered, "{name}");
    }
}

#[test]
fn what_is_stale_is_not_known_to_be_missing() {
    let mut snapshot = groups();
    let endpoint = Endpoint::Resources(gv("stale/v1"));
    assert_eq!(snapshot.answer(&endpoint, plain()), Some(Answer::NotFound));
    snapshot.set_stale(vec![gv("stale/v1")]);
    assert_eq!(snapshot.answer(&endpoint, plain()), None);
}

#[test]
fn a_merge_takes_over_the_documents_that_the_other_has() {
    let mut snapshot = complete();
    snapshot.set_format(Format::V2);
    let mut more = Snapshot::default();
    more.insert(&gv("a/v1"), list("a/v1", "ys"));
    snapshot.merge(&more);
    assert_eq!(snapshot.resources("a/v1").unwrap().resources[0].name, "ys");
    assert!(snapshot.is_complete());
    assert_eq!(
        snapshot.format(),
        Some(Format::V2),
        "the other did not know"
    );
    let mut other = groups();
    other.set_format(Format::Legacy);
    other.set_stale(vec![gv("stale/v1")]);
    snapshot.merge(&other);
    assert_eq!(
        (snapshot.format(), snapshot.stale().len()),
        (Some(Format::Legacy), 1)
    );
    assert!(
        Arc::ptr_eq(snapshot.groups().unwrap(), other.groups().unwrap()),
        "shared"
    );
    snapshot.merge(&Snapshot::default());
    assert_eq!((snapshot.stale().len(), snapshot.lists().len()), (1, 3));
}

#[test]
fn versions_that_are_not_fit_for_a_path_are_never_missing() {
    let json = r#"{"kind":"APIGroupList","groups":[{"name":"a","versions":[{"groupVersion":"a/../..","version":"v1"}]}]}"#;
    let mut snapshot = Snapshot::default();
    snapshot.set_groups(decode::<ApiGroupList>(json.as_bytes()).unwrap());
    assert!(snapshot.is_complete());
    let (_, json) = document(&snapshot, &Endpoint::Apis, only(Format::V2));
    assert!(
        decode::<ApiGroupDiscoveryList>(&json)
            .unwrap()
            .items
            .is_empty()
    );
}
