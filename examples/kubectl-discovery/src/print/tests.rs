//! Rows against what kubectl 1.37.1 printed for a server with these resources: `testdata`.

use discovery_client::Filter;
use discovery_core::GroupVersion;
use discovery_core::kube::document::ApiResource;

use super::{Format, Row, resources};
use crate::select::{SortBy, select};

const TABLE: Format = Format::Table {
    wide: false,
    header: true,
};
const WIDE: Format = Format::Table {
    wide: true,
    header: true,
};

/// In the server's order.
fn server() -> Vec<(GroupVersion, ApiResource)> {
    let list = |text: &str| text.split_whitespace().map(Into::into).collect::<Vec<_>>();
    let resource = |group_version: &str,
                    [name, singular, kind]: [&str; 3],
                    namespaced,
                    [verbs, short, categories]: [&str; 3]| {
        let resource = ApiResource {
            name: name.into(),
            singular_name: singular.into(),
            namespaced,
            kind: kind.into(),
            verbs: Some(list(verbs).into()),
            short_names: list(short),
            categories: list(categories),
            // Those of the kind: a list of resources names the place where they were found.
            group: "other.test".into(),
            version: "v7".into(),
            ..ApiResource::default()
        };
        (group_version.parse().unwrap(), resource)
    };
    vec![
        resource(
            "v1",
            ["pods", "pod", "Pod"],
            true,
            ["create get list", "po", "all"],
        ),
        resource("v1", ["nodes", "node", "Node"], false, ["get", "no", ""]),
        resource(
            "v1",
            ["bindings", "binding", "Binding"],
            true,
            ["create", "", ""],
        ),
        resource(
            "shop.test/v1",
            ["yeses", "yes", "yes"],
            true,
            ["get list", "y größe", "all 1.0"],
        ),
        resource(
            "shop.test/v1",
            ["amps", "", "A&B<C>"],
            false,
            ["get", "", ""],
        ),
        resource(
            "shop.test/v1beta1",
            ["zeta", "", "Zeta"],
            true,
            ["watch", "", ""],
        ),
        resource("apps/v1", ["pods", "pod", "Binding"], true, ["get", "", ""]),
        resource("apps/v1", ["none", "", "None"], true, ["", "", ""]),
    ]
}

fn printed(format: Format, sort_by: SortBy, filter: &Filter) -> String {
    let server = server();
    let mut rows: Vec<_> = server
        .iter()
        .map(|(group_version, resource)| Row {
            group_version,
            resource,
        })
        .collect();
    select(&mut rows, filter, sort_by);
    resources(&rows, format)
}

#[track_caller]
fn assert_prints(format: Format, expected: &str) {
    assert_eq!(printed(format, SortBy::Group, &Filter::default()), expected);
}

#[test]
fn every_format() {
    assert_prints(TABLE, include_str!("testdata/table.txt"));
    assert_prints(WIDE, include_str!("testdata/wide.txt"));
    let no_headers = Format::Table {
        wide: true,
        header: false,
    };
    assert_prints(no_headers, include_str!("testdata/wide-no-headers.txt"));
    assert_prints(Format::Name, include_str!("testdata/name.txt"));
    assert_prints(Format::Json, include_str!("testdata/list.json"));
    assert_prints(Format::Yaml, include_str!("testdata/list.yaml"));
    assert_prints(Format::Kyaml, include_str!("testdata/list.kyaml"));
}

#[test]
fn orders_and_keeps_the_servers_for_equals() {
    let all = Filter::default();
    assert_eq!(
        printed(TABLE, SortBy::Name, &all),
        include_str!("testdata/by-name.txt")
    );
    assert_eq!(
        printed(TABLE, SortBy::Kind, &all),
        include_str!("testdata/by-kind.txt")
    );
}

#[test]
fn no_rows() {
    let none = Filter::new().group("nope");
    for (format, expected) in [
        (TABLE, include_str!("testdata/empty.txt")),
        (
            Format::Table {
                wide: true,
                header: false,
            },
            "",
        ),
        (Format::Name, ""),
        (Format::Json, include_str!("testdata/empty.json")),
        (Format::Yaml, include_str!("testdata/empty.yaml")),
        (Format::Kyaml, include_str!("testdata/empty.kyaml")),
    ] {
        assert_eq!(printed(format, SortBy::Group, &none), expected);
    }
}

#[test]
fn rows_are_filtered_by_all_conditions() {
    let shop = Filter::new().group("shop.test");
    let bare = Format::Table {
        wide: false,
        header: false,
    };
    assert_eq!(
        printed(bare, SortBy::Group, &shop),
        include_str!("testdata/shop-no-headers.txt")
    );

    let names = |filter: Filter| printed(Format::Name, SortBy::Group, &filter);
    assert_eq!(names(Filter::new().group("")), "bindings\nnodes\npods\n");
    let global = Filter::new().namespaced(false);
    assert_eq!(names(global), "nodes\namps.shop.test\n");
    let listed = Filter::new().verbs(["list", "get"]);
    assert_eq!(names(listed), "pods\nyeses.shop.test\n");
    let in_both = Filter::new().categories(["1.0", "all"]);
    assert_eq!(names(in_both), "yeses.shop.test\n");
}
