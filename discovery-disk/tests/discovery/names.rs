//! Names that a server gives, and what they could do to the directory.

use std::fs;

use discovery_core::Format;
use http::Response;

use crate::tools::*;

#[test]
fn names_never_lead_out_of_the_directory() {
    let (outer, dir) = directory();
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    let long = "x".repeat(254);
    let version = |name: &str| format!(r#"{{"groupVersion":"{name}","version":"v1"}}"#);
    let versions = [
        "../../../escape/v1",
        "/etc/v1",
        "a/../../..",
        "a\\u0000/v1",
        &long,
        "ok/v1",
    ]
    .map(version)
    .join(",");
    server.set(
        "/apis",
        json(
            Format::Legacy,
            &format!(
                r#"{{"kind":"APIGroupList","groups":[{{"name":"../x","versions":[{versions}]}}]}}"#
            ),
        ),
    );
    let item = |name: &str, version: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}"}},"versions":[{{"version":"{version}","resources":[{{"resource":"xs","responseKind":{{"kind":"X"}}}}]}}]}}"#
        )
    };
    for turn in 0..2 {
        server.ask(&layer, "/apis");
        for path in ["/apis/../v1", "/apis/a/..", "/api/..", "/apis/..%2f/v1"] {
            server.ask(&layer, path);
        }
        let (names, groups) = (tree(outer.path()), dir.join("servergroups.json"));
        assert!(groups.exists());
        assert_eq!(names.len(), 1 + turn, "{names:?}");
        fs::remove_file(groups).unwrap();
        // The same in aggregated form.
        let items = [
            item("../../..", "v1"),
            item("b", "../../../.."),
            item("ok", "v1"),
        ]
        .join(",");
        let document = format!(r#"{{"kind":"APIGroupDiscoveryList","items":[{items}]}}"#);
        server.set(
            "/api",
            Response::builder().status(404).body("".into()).unwrap(),
        );
        server.set("/apis", json(Format::V2, &document));
    }
    assert_eq!(tree(&dir)[0].0, "ok/v1/serverresources.json");
}

/// The maker of an API group chooses its name; no name takes the place of a file.
#[test]
fn names_of_files_are_kept_in_memory() {
    for name in ["servergroups.json", "ServerGroups.json"] {
        let (_dir, dir) = directory();
        let (server, layer) = (Server::default(), of_single_lists(&dir));
        serve_groups(&server, [name, "a"].map(str::to_owned).into_iter(), "xs");
        server.ask(&layer, "/apis");
        let found: Vec<_> = tree(&dir).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            found,
            [
                "a/v1/serverresources.json",
                "servergroups.json",
                "v1/serverresources.json"
            ]
        );
        assert_eq!(layer.disk_stats().write_errors, 0);
        // All of it is known.
        server.asked();
        for path in ["/apis".to_owned(), format!("/apis/{name}/v1")] {
            assert_eq!(server.ask(&layer, &path).status(), 200);
        }
        assert!(server.asked().is_empty());
        // The next program asks for that list alone, and finds everything else.
        let next = of_single_lists(&dir);
        let path = format!("/apis/{name}/v1");
        let list = file(&format!("{name}/v1"), "xs");
        server.set(&path, json(Format::Legacy, &list));
        for _ in 0..2 {
            assert_eq!(server.ask(&next, "/apis").status(), 200);
            assert_eq!(text(server.ask(&next, &path)), list);
        }
        assert_eq!(server.asked(), [path]);
        assert_eq!(tree(&dir).len(), 3);
    }
}

/// The core group's version `a` has its file where a version of group `a` would have a directory.
#[test]
fn versions_with_the_name_of_a_file() {
    let (_dir, dir) = directory();
    let (server, layer) = (Server::legacy(), of_single_lists(&dir));
    for (group_version, path, is_written) in [
        (
            "a/serverresources.json",
            "/apis/a/serverresources.json",
            false,
        ),
        ("a", "/api/a", true),
        ("servergroups.json", "/api/servergroups.json", false),
        ("serverresources.json", "/api/serverresources.json", true),
        ("a/servergroups.json", "/apis/a/servergroups.json", true),
    ] {
        server.set(path, json(Format::Legacy, &file(group_version, "xs")));
        let before = tree(&dir).len();
        for _ in 0..2 {
            assert_eq!(text(server.ask(&layer, path)), file(group_version, "xs"));
        }
        assert_eq!(server.asked(), [path], "once");
        assert_eq!(tree(&dir).len() - before, usize::from(is_written), "{path}");
    }
    server.ask(&layer, "/apis");
    assert_eq!(
        fs::read_to_string(dir.join("servergroups.json")).unwrap(),
        GROUPS
    );
}
