//! Names of groups and versions: what is taken, what is refused, and how they compare.

use std::collections::{BTreeMap, HashMap, hash_map::RandomState};
use std::hash::BuildHasher;

use discovery_core::{GroupVersion, GroupVersionKind, GroupVersionResource};

fn gv(text: &str) -> GroupVersion {
    text.parse().unwrap()
}

#[test]
fn names_and_paths() {
    for (text, group, version, path) in [
        ("v1", "", "v1", "/api/v1"),
        ("apps/v1", "apps", "v1", "/apis/apps/v1"),
        (
            "a.b-c.io/v1beta1",
            "a.b-c.io",
            "v1beta1",
            "/apis/a.b-c.io/v1beta1",
        ),
        // Nothing that Kubernetes takes itself, but harmless.
        ("A_b/V1", "A_b", "V1", "/apis/A_b/V1"),
        ("a..b/v1.", "a..b", "v1.", "/apis/a..b/v1."),
        ("-/-", "-", "-", "/apis/-/-"),
    ] {
        let parsed = gv(text);
        assert_eq!(
            (parsed.group(), parsed.version()),
            (group, version),
            "{text}"
        );
        assert_eq!(parsed.path(), path);
        assert_eq!(parsed, GroupVersion::new(group, version).unwrap());
        assert_eq!(parsed.as_str(), text);
        assert_eq!(parsed.to_string(), text);
    }
}

/// Each would be another path than the one that it looks like, for a server or for a file system.
const BAD: [&str; 22] = [
    "..",
    ".",
    ".hidden",
    "a/b",
    "/",
    "a/",
    "/a",
    "a\0",
    "\0",
    "a\\b",
    "a b",
    " a",
    "a%2e",
    "a?b",
    "a#b",
    "a:b",
    "a\nb",
    "ä",
    "a\u{202e}",
    "~",
    "$HOME",
    "../..",
];

#[test]
fn names_that_are_no_path_component_are_refused() {
    for bad in BAD {
        GroupVersion::new(bad, "v1").unwrap_err();
        GroupVersion::new("apps", bad).unwrap_err();
        GroupVersion::new("", bad).unwrap_err();
        format!("{bad}/v1").parse::<GroupVersion>().unwrap_err();
        format!("apps/{bad}").parse::<GroupVersion>().unwrap_err();
    }
    for bad in ["", "/", "/v1", "apps/", "apps/v1/", "apps/v1/x", "//v1"] {
        bad.parse::<GroupVersion>().unwrap_err();
    }
    GroupVersion::new("", "").unwrap_err();
    GroupVersion::new("apps", "").unwrap_err();
}

#[test]
fn long_names_are_refused() {
    let longest = "a".repeat(253);
    let parsed = GroupVersion::new(&longest, &longest).unwrap();
    assert_eq!((parsed.group(), parsed.version()), (&*longest, &*longest));
    let longer = "a".repeat(254);
    GroupVersion::new(&longer, "v1").unwrap_err();
    GroupVersion::new("apps", &longer).unwrap_err();
    // The message is no longer for that, and cut between characters.
    let error = GroupVersion::new("", &"é".repeat(1 << 20)).unwrap_err();
    assert!(error.to_string().len() < 1000);
}

/// `Borrow<str>` demands this: a map can be asked with a text.
#[test]
fn compares_and_hashes_as_its_text() {
    let hasher = RandomState::new();
    let texts = ["v1", "v2", "a/v1", "a-b/v1", "a.b/v1", "apps/v1", "b/v1"];
    for a in texts {
        assert_eq!(hasher.hash_one(gv(a)), hasher.hash_one(a));
        for b in texts {
            assert_eq!(gv(a).cmp(&gv(b)), a.cmp(b), "{a} {b}");
            assert_eq!(gv(a) == gv(b), a == b);
        }
    }
    let long = format!("{}/v1", "g".repeat(100));
    let texts = ["v1", "apps/v1", &long];
    let hashed: HashMap<_, _> = texts.iter().map(|text| (gv(text), *text)).collect();
    let sorted: BTreeMap<_, _> = texts.iter().map(|text| (gv(text), *text)).collect();
    for text in texts {
        assert_eq!(hashed.get(text), Some(&text));
        assert_eq!(sorted.get(text), Some(&text));
    }
    assert_eq!(hashed.get("apps"), None);
}

#[test]
fn as_json_it_is_its_text() {
    assert_eq!(
        serde_json::to_string(&gv("apps/v1")).unwrap(),
        r#""apps/v1""#
    );
    let parsed: GroupVersion = serde_json::from_str(r#""apps/v1""#).unwrap();
    assert_eq!(parsed, gv("apps/v1"));
    serde_json::from_str::<GroupVersion>(r#""../v1""#).unwrap_err();
    serde_json::from_str::<GroupVersion>("1").unwrap_err();
}

#[test]
fn shown_for_people() {
    assert_eq!(format!("{:>9}|", gv("apps/v1")), "  apps/v1|");
    assert_eq!(format!("{:?}", gv("apps/v1")), "GroupVersion(apps/v1)");
    let kind: GroupVersionKind = gv("v1").with_kind("Pod");
    assert_eq!(kind.to_string(), "v1, Kind=Pod");
    let resource: GroupVersionResource = gv("apps/v1").with_resource("deployments");
    assert_eq!(resource.to_string(), "apps/v1, Resource=deployments");
    assert!(gv("v1").with_kind("A") < gv("v1").with_kind("B"));
}
