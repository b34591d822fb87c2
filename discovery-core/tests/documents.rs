//! The documents: kubectl's bytes, absent and odd fields, and the way between the forms.

use discovery_core::kube::document::{
    Aggregated, ApiGroup, ApiGroupDiscoveryList, ApiGroupList, ApiResource, ApiResourceList,
    ApiVersions, Kind, aggregate, decode, decode_lenient, go_json,
};

/// The answers of a kube-apiserver 1.36, as far as they concern three groups, and the files that
/// kubectl 1.37 made of them.
const API: &str = include_str!("kubectl/api_v2.json");
const APIS: &str = include_str!("kubectl/apis_v2.json");
const GROUPS: &str = include_str!("kubectl/servergroups.json");
const LISTS: [(&str, &str); 4] = [
    ("v1", include_str!("kubectl/v1.json")),
    ("apps/v1", include_str!("kubectl/apps_v1.json")),
    (
        "g09.example.test/v1",
        include_str!("kubectl/g09.example.test_v1.json"),
    ),
    (
        "g09.example.test/v1beta1",
        include_str!("kubectl/g09.example.test_v1beta1.json"),
    ),
];

fn aggregated(json: &str) -> Aggregated {
    decode::<ApiGroupDiscoveryList>(json.as_bytes())
        .unwrap()
        .into()
}

/// An aggregated document with this group in it.
fn group(json: &str) -> Aggregated {
    aggregated(&format!(
        r#"{{"kind":"APIGroupDiscoveryList","items":[{json}]}}"#
    ))
}

fn version(json: &str) -> Aggregated {
    group(&format!(
        r#"{{"metadata":{{"name":"a"}},"versions":[{json}]}}"#
    ))
}

fn again<T: Kind>(json: &str) -> String {
    String::from_utf8(go_json::to_line(&decode::<T>(json.as_bytes()).unwrap())).unwrap()
}

#[test]
fn kubectls_files_come_out_as_they_went_in() {
    assert_eq!(again::<ApiGroupList>(GROUPS), GROUPS);
    for (name, file) in LISTS {
        assert_eq!(again::<ApiResourceList>(file), file, "{name}");
    }
}

#[test]
fn kubectls_files_from_the_servers_answers() {
    let (core, others) = (aggregated(API), aggregated(APIS));
    let groups = [core.groups, others.groups].concat();
    assert_eq!(
        go_json::to_line(&ApiGroupList::new(groups)),
        GROUPS.as_bytes()
    );
    let lists = [core.lists, others.lists].concat();
    for (name, file) in LISTS {
        let (_, list) = lists.iter().find(|(of, _)| of.as_str() == name).unwrap();
        assert_eq!(go_json::to_line(list), file.as_bytes(), "{name}");
    }
}

/// From a server's aggregated answer to files and back again.
#[test]
fn the_servers_answers_from_kubectls_files() {
    let groups: ApiGroupList = decode(GROUPS.as_bytes()).unwrap();
    let lists = [aggregated(API).lists, aggregated(APIS).lists].concat();
    for (core, answer) in [(true, API), (false, APIS)] {
        let made = aggregate("apidiscovery.k8s.io/v2", &groups, core, |wanted| {
            lists
                .iter()
                .find(|(of, _)| of == wanted)
                .map(|(_, list)| list)
        });
        assert_eq!(made, decode(answer.as_bytes()).unwrap());
    }
}

#[test]
fn groups_of_all_kinds_come_out_as_they_went_in() {
    let preferred = r#""preferredVersion":{"groupVersion":"","version":""}"#;
    for inner in [
        String::new(),
        format!(r#"{{"name":"","versions":null,{preferred}}}"#),
        format!(r#"{{"name":"a","versions":[],{preferred}}}"#),
        format!(
            r#"{{"name":"a","versions":null,{preferred}}},{{"name":"a","versions":[],{preferred}}}"#
        ),
        format!(
            r#"{{"kind":"APIGroup","apiVersion":"v1","name":"a","versions":null,{preferred}}}"#
        ),
        format!(
            r#"{{"name":"a","versions":null,{preferred},"serverAddressByClientCIDRs":[{{"clientCIDR":"0.0.0.0/0","serverAddress":"h:1"}}]}}"#
        ),
    ] {
        let file =
            format!("{{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{inner}]}}\n");
        assert_eq!(again::<ApiGroupList>(&file), file);
    }
}

#[test]
fn absent_null_and_unknown_fields() {
    let start = r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":["#;
    let all = r#""group":"g","version":"v","kind":"X","verbs":["get"],"shortNames":["x"],"categories":["all"],"storageVersionHash":"h="}"#;
    for (read, written) in [
        (
            "{}",
            r#"{"name":"","singularName":"","namespaced":false,"kind":"","verbs":null}"#,
        ),
        (
            r#"{"name":"x","singularName":null,"namespaced":null,"kind":null,"verbs":null,"shortNames":null,"categories":null,"group":null,"version":null,"storageVersionHash":null}"#,
            r#"{"name":"x","singularName":"","namespaced":false,"kind":"","verbs":null}"#,
        ),
        (
            r#"{"verbs":[],"shortNames":[],"categories":[],"name":"x","group":"","new":{"a":[1.5e300,null]}}"#,
            r#"{"name":"x","singularName":"","namespaced":false,"kind":"","verbs":[]}"#,
        ),
        // In the order of the fields, whichever they came in.
        (
            &format!(r#"{{"namespaced":true,"singularName":"x","name":"xs",{all}"#),
            &format!(r#"{{"name":"xs","singularName":"x","namespaced":true,{all}"#),
        ),
    ] {
        assert_eq!(
            again::<ApiResourceList>(&format!("{start}{read}]}}")),
            format!("{start}{written}]}}\n"),
        );
    }
    let versions = |json: &str| decode::<ApiVersions>(json.as_bytes()).unwrap().versions;
    assert!(versions(r#"{"kind":"APIVersions"}"#).is_empty());
    assert!(versions(r#"{"kind":"APIVersions","versions":null}"#).is_empty());
    let groups: ApiGroupList = decode(br#"{"kind":"APIGroupList","groups":null}"#).unwrap();
    assert!(groups.groups.is_empty());
}

#[test]
fn the_core_group_of_a_legacy_server() {
    let core = |json: &str| {
        let versions: ApiVersions = decode(json.as_bytes()).unwrap();
        go_json::to_string(&versions.to_group())
    };
    // kubectl writes `null` here, although the list was there.
    let none = r#"{"name":"","versions":null,"preferredVersion":{"groupVersion":"","version":""}}"#;
    assert_eq!(core(r#"{"kind":"APIVersions","versions":[]}"#), none);
    assert_eq!(core(r#"{"kind":"APIVersions"}"#), none);
    // And it drops the addresses, which it keeps for other groups.
    assert_eq!(
        core(
            r#"{"kind":"APIVersions","versions":["v2","v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"h"}]}"#
        ),
        r#"{"name":"","versions":[{"groupVersion":"v2","version":"v2"},{"groupVersion":"v1","version":"v1"}],"preferredVersion":{"groupVersion":"v2","version":"v2"}}"#,
    );
}

#[test]
fn stale_versions() {
    let a = version(
        r#"{"version":"v3","freshness":"Stale","resources":[{"resource":"x","responseKind":{"kind":"X"}}]},
           {"version":"v2","freshness":"stale"},{"version":"v1","freshness":"Current"}"#,
    );
    assert_eq!(a.stale, ["a/v3".parse().unwrap()]);
    assert_eq!(a.groups[0].preferred_version.group_version, "a/v2");
    let listed: Vec<_> = a.lists.iter().map(|(of, _)| of.as_str()).collect();
    assert_eq!(listed, ["a/v2", "a/v1"]);

    let a = version(r#"{"version":"v1","freshness":"Stale"}"#);
    assert_eq!(
        go_json::to_string(&a.groups[0]),
        r#"{"name":"a","versions":null,"preferredVersion":{"groupVersion":"","version":""}}"#,
    );
    for empty in [r#","versions":[]"#, r#","versions":null"#, ""] {
        let a = group(&format!(r#"{{"metadata":{{"name":"a"}}{empty}}}"#));
        assert_eq!(a.groups[0].versions, None, "{empty}");
    }
}

fn names(list: &ApiResourceList) -> Vec<&str> {
    list.resources
        .iter()
        .map(|resource| resource.name.as_str())
        .collect()
}

#[test]
fn resources_without_a_response_kind_are_left_out() {
    let a = version(
        r#"{"version":"v1","resources":[
            {"resource":"xs","singularResource":"x","scope":"Namespaced","verbs":["get"],"subresources":[
                {"subresource":"status","responseKind":{"kind":"X"}},
                {"subresource":"none"},{"subresource":"null","responseKind":null},
                {"subresource":"empty","responseKind":{"group":"","version":"","kind":""}}]},
            {"resource":"ys","responseKind":{},"scope":"Cluster"},
            {"resource":"zs","responseKind":{"group":"g"},"scope":"namespaced"}]}"#,
    );
    let list = &a.lists[0].1;
    assert_eq!(names(list), ["xs/status", "zs"]);
    // A parent that is left out has told scope and singular name before.
    assert_eq!(list.resources[0].singular_name, "x");
    assert!(list.resources[0].namespaced);
    assert!(!list.resources[1].namespaced, "only `Namespaced` is");
    assert_eq!(list.resources[0].verbs, None);
    assert_eq!(list.resources[1].group, "g");
}

#[test]
fn response_kinds_are_taken_verbatim() {
    let a = version(
        r#"{"version":"v1","resources":[
            {"resource":"ds","responseKind":{"group":"","version":"","kind":"D"},"verbs":[],
             "shortNames":["d"],"categories":["all"],"subresources":[
                {"subresource":"scale","responseKind":{"group":"autoscaling","version":"v1","kind":"Scale"},"verbs":["get"]}]}]}"#,
    );
    let [parent, scale] = &a.lists[0].1.resources[..] else {
        panic!("two")
    };
    assert_eq!((&*parent.group, &*parent.version), ("", ""));
    assert_eq!(parent.verbs.as_deref(), Some(&[][..]));
    assert_eq!(
        (&*scale.group, &*scale.version, &*scale.kind),
        ("autoscaling", "v1", "Scale")
    );
    assert!(scale.short_names.is_empty() && scale.categories.is_empty());
}

#[test]
fn names_that_are_not_fit_for_a_path_are_left_out() {
    let a = group(
        r#"{"metadata":{"name":"../x"},"versions":[{"version":"v1"}]},
           {"metadata":{"name":"b"},"versions":[{"version":"v1/../.."},{"version":""},{"version":"v2"}]}"#,
    );
    assert_eq!(a.lists.len(), 1);
    assert_eq!(a.lists[0].0.as_str(), "b/v2");
    assert_eq!(a.groups[1].preferred_version.version, "v2");
    let versions = r#"[{"groupVersion":"../v1","version":"v1"},{"groupVersion":"b/v1","version":"v1"},{"groupVersion":""}]"#;
    let group: ApiGroup =
        serde_json::from_str(&format!(r#"{{"name":"b","versions":{versions}}}"#)).unwrap();
    let fit: Vec<_> = group.group_versions().collect();
    assert_eq!(fit, ["b/v1".parse().unwrap()]);
}

/// kube-rs gives up on a whole document when it meets a group without versions, or `null` verbs.
#[test]
fn what_kube_rs_can_not_read_is_left_out() {
    let groups = r#"{"kind":"APIGroupList","groups":[{"name":"a","versions":null},
        {"name":"b","versions":[{"groupVersion":"b/..","version":".."}]},
        {"name":"c","versions":[{"groupVersion":"c/v1","version":"v1"}]}]}"#;
    let groups: ApiGroupList = decode(groups.as_bytes()).unwrap();
    let list = r#"{"kind":"APIResourceList","resources":[{"name":"xs","kind":"X","verbs":null},{"name":"xs/y","kind":"Y"}]}"#;
    let list: ApiResourceList = decode(list.as_bytes()).unwrap();
    let made = aggregate("apidiscovery.k8s.io/v2", &groups, false, |_| Some(&list));
    assert_eq!(
        go_json::to_string(&made),
        r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[{"metadata":{"name":"c"},"versions":[{"version":"v1","resources":[{"resource":"xs","responseKind":{"group":"","version":"","kind":"X"},"scope":"Cluster","singularResource":"","verbs":[],"subresources":[{"subresource":"y","responseKind":{"group":"","version":"","kind":"Y"},"verbs":[]}]}],"freshness":"Current"}]}]}"#,
    );
}

#[test]
fn the_preferred_version_is_the_first_in_an_aggregated_document() {
    let version = |v: &str| format!(r#"{{"groupVersion":"a/{v}","version":"{v}"}}"#);
    for (preferred, expected) in [
        ("v1", ["v1", "v2", "v3"]),
        ("v2", ["v2", "v1", "v3"]),
        ("v3", ["v3", "v1", "v2"]),
        ("v9", ["v1", "v2", "v3"]),
    ] {
        let json = format!(
            r#"{{"kind":"APIGroupList","groups":[{{"name":"a","versions":[{},{},{}],"preferredVersion":{}}}]}}"#,
            version("v1"),
            version("v2"),
            version("v3"),
            version(preferred),
        );
        let groups: ApiGroupList = decode(json.as_bytes()).unwrap();
        let made = aggregate("apidiscovery.k8s.io/v2", &groups, false, |_| None);
        let order: Vec<_> = made.items[0]
            .versions
            .iter()
            .map(|v| v.version.as_str())
            .collect();
        assert_eq!(order, expected, "{preferred}");
        assert!(
            made.items[0]
                .versions
                .iter()
                .all(discovery_core::kube::document::ApiVersionDiscovery::is_stale)
        );
    }
}

#[test]
fn a_subresource_before_its_parent() {
    let list = r#"{"kind":"APIResourceList","resources":[
        {"name":"xs/status","namespaced":true,"kind":"X","verbs":["get"]},
        {"name":"ys/status","kind":"Y","verbs":["get"]},
        {"name":"xs","singularName":"x","namespaced":true,"kind":"X","verbs":["list"],"shortNames":["x"]}]}"#;
    let list: ApiResourceList = decode(list.as_bytes()).unwrap();
    let groups = r#"{"kind":"APIGroupList","groups":[{"name":"a","versions":[{"groupVersion":"a/v1","version":"v1"}]}]}"#;
    let groups: ApiGroupList = decode(groups.as_bytes()).unwrap();
    let made = aggregate("apidiscovery.k8s.io/v2", &groups, false, |_| Some(&list));
    let back = Aggregated::from(made);
    let list = &back.lists[0].1;
    // The parent of `ys/status` is not there, and does not appear.
    assert_eq!(names(list), ["xs", "xs/status", "ys/status"]);
    assert_eq!(list.resources[0].singular_name, "x");
    assert!(list.resources[0].namespaced && list.resources[1].namespaced);
}

/// A server lists resources in any order.
#[test]
fn the_scope_is_the_resources_own() {
    let resource = |name: &str, namespaced| ApiResource {
        name: name.into(),
        kind: "X".into(),
        namespaced,
        ..ApiResource::default()
    };
    let of = "a/v1".parse().unwrap();
    for namespaced in [true, false] {
        let resources = vec![
            resource("xs/status", !namespaced),
            resource("xs", namespaced),
        ];
        let list = ApiResourceList::new(&of, resources);
        let group: ApiGroup = decode(
            br#"{"kind":"APIGroup","name":"a","versions":[{"groupVersion":"a/v1","version":"v1"}]}"#,
        )
        .unwrap();
        let groups = ApiGroupList::new(vec![group]);
        let made = aggregate("apidiscovery.k8s.io/v2", &groups, false, |_| Some(&list));
        let scope = &made.items[0].versions[0].resources[0].scope;
        assert_eq!(*scope == "Namespaced", namespaced);
    }
}

/// What Go's decoder takes, and kubectl with it.
#[test]
fn odd_documents_are_read_as_go_reads_them() {
    const PLAIN: &str = r#"{"kind":"APIGroupList","groups":[{"name":"a","versions":[{"groupVersion":"a/v1","version":"v1"}],"preferredVersion":{"groupVersion":"a/v1","version":"v1"}}]}"#;
    let plain = decode::<ApiGroupList>(PLAIN.as_bytes()).unwrap();
    for odd in [
        format!("\u{feff}{PLAIN}"),
        PLAIN.replace(r#""kind":"APIGroupList","#, ""),
        PLAIN.replace(r#""kind":"APIGroupList""#, r#""kind":null"#),
        PLAIN.replace(r#""name":"a""#, r#""name":"b","name":"a""#),
        PLAIN.replace(r#""kind""#, r#""kind":"Status","kind""#),
        PLAIN.replace("groups", "Groups").replace("kind", "KIND"),
        PLAIN
            .replace(r#""name""#, r#""Name""#)
            .replace(r#""version""#, r#""Version""#),
        PLAIN.replace(
            r#""kind""#,
            r#""x":"\ud800","y":"\\ud800\ud83d\ude00\udc00ü\\","kind""#,
        ),
        PLAIN.replace(
            r#""kind""#,
            r#""x":[[1,2.5e300,"\u0000"],{"kind":7}],"kind""#,
        ),
    ] {
        let read = decode_lenient::<ApiGroupList>(odd.as_bytes());
        assert_eq!(read.unwrap(), plain, "{odd}");
    }

    const AGGREGATED: &str = r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"a"},"versions":[{"version":"v1","resources":[{"resource":"as","responseKind":{"kind":"A"},"shortNames":["x"],"subresources":[{"subresource":"s"}]}]}]}]}"#;
    let aggregated = decode::<ApiGroupDiscoveryList>(AGGREGATED.as_bytes()).unwrap();
    for field in [
        "items",
        "metadata",
        "versions",
        "version",
        "resources",
        "resource",
        "responseKind",
        "shortNames",
        "subresources",
        "subresource",
        "name",
    ] {
        for other in [
            field.to_uppercase(),
            field[..1].to_uppercase() + &field[1..],
        ] {
            let odd = AGGREGATED.replace(&format!("\"{field}\":"), &format!("\"{other}\" :"));
            assert_ne!(odd, AGGREGATED);
            let read = decode_lenient::<ApiGroupDiscoveryList>(odd.as_bytes());
            assert_eq!(read.unwrap(), aggregated, "{odd}");
        }
    }
    let versions = decode_lenient::<ApiVersions>(br#"{"Versions":["v1"],"kind":"APIVersions"}"#);
    assert_eq!(versions.unwrap().versions, ["v1"]);

    let versions = decode_lenient::<ApiVersions>(br#"{"versions":["v1",null]}"#).unwrap();
    assert_eq!(
        (&*versions.kind, &*versions.versions),
        ("APIVersions", &["v1".into(), "".into()][..])
    );
    let list =
        br#"{"resources":[null,{"name":"\udfffx","verbs":["get",null],"shortNames":[null]}]}"#;
    let list = decode_lenient::<ApiResourceList>(list).unwrap();
    assert_eq!(list.kind, "APIResourceList");
    assert_eq!(
        (&*list.resources[0].name, &*list.resources[1].name),
        ("", "\u{fffd}x")
    );
    assert_eq!(list.resources[1].verbs(), ["get", ""]);
    let aggregated = br#"{"items":[{"metadata":{"name":"a"},"versions":[null,{"version":"v1","resources":[null]}]}]}"#;
    let aggregated = decode_lenient::<ApiGroupDiscoveryList>(aggregated).unwrap();
    assert_eq!(aggregated.items[0].versions[1].version, "v1");

    for other in [
        r#"{"kind":"Status","groups":[]}"#,
        r#"{"kind":"APIVersions","groups":[]}"#,
        r#"{"kind":7,"groups":[]}"#,
        r#"{"groups":{}}"#,
        r#"{"groups":[7]}"#,
        r#"{"kind":"APIGroupList","groups":[{"name":7}]}"#,
        "{}",
        "null",
        "[]",
        "",
        r#"{"groups":[]} x"#,
        r#"{"groups":["\ud8"]}"#,
    ] {
        assert!(
            decode_lenient::<ApiGroupList>(other.as_bytes()).is_err(),
            "{other}"
        );
    }
    let deep = format!(
        r#"{{"groups":{}1{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert!(decode_lenient::<ApiGroupList>(deep.as_bytes()).is_err());
}

/// As in Go. serde would take the values of an object's fields in their order.
#[test]
fn a_list_is_no_object() {
    let aggregated = |item: &str| {
        let document = format!(
            r#"{{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[{item}]}}"#
        );
        decode_lenient::<ApiGroupDiscoveryList>(document.as_bytes()).is_ok()
    };
    let kind = |kind: &str| {
        aggregated(&format!(
            r#"{{"metadata":{{}},"versions":[{{"version":"v1","resources":[{{"resource":"a","responseKind":{kind}}}]}}]}}"#
        ))
    };
    let preferred = |version: &str| {
        let document = format!(
            r#"{{"kind":"APIGroupList","groups":[{{"name":"a","preferredVersion":{version}}}]}}"#
        );
        decode_lenient::<ApiGroupList>(document.as_bytes()).is_ok()
    };
    for (value, is_one) in [
        ("{}", true),
        ("null", true),
        ("[]", false),
        (r#"["a","b","c"]"#, false),
        ("5", false),
    ] {
        assert_eq!(
            aggregated(&format!(r#"{{"metadata":{value}}}"#)),
            is_one,
            "{value}"
        );
        assert_eq!(kind(value), is_one, "{value}");
        assert_eq!(preferred(value), is_one, "{value}");
    }
    for lists in [
        r#"["APIGroupList","v1",[]]"#,
        r#"{"kind":"APIGroupList","groups":[["","","a"]]}"#,
        r#"{"kind":"APIGroupList","groups":[{"name":"a","versions":[["a/v1","v1"]]}]}"#,
        r#"{"kind":"APIGroupList","groups":[{"name":"a","serverAddressByClientCIDRs":[["a","b"]]}]}"#,
    ] {
        assert!(decode::<ApiGroupList>(lists.as_bytes()).is_err(), "{lists}");
        let lenient = decode_lenient::<ApiGroupList>(lists.as_bytes());
        assert!(lenient.is_err(), "{lists}");
    }
    let resources = br#"{"kind":"APIResourceList","groupVersion":"v1","resources":[["a"]]}"#;
    assert!(decode_lenient::<ApiResourceList>(resources).is_err());
    assert!(!aggregated(r#"[{"name":"a"}]"#));
    assert!(!aggregated(r#"{"versions":[["v1"]]}"#));
    assert!(!aggregated(
        r#"{"versions":[{"version":"v1","resources":[["a"]]}]}"#
    ));
    assert!(!aggregated(
        r#"{"versions":[{"version":"v1","resources":[{"resource":"a","subresources":[["b"]]}]}]}"#
    ));
}
