//! Writing, without a serializer. The bytes are those of [`go_json`].

use crate::Text;
use crate::kube::document::{
    ApiGroup, ApiGroupList, ApiResource, ApiResourceList, GroupVersionForDiscovery, go_json,
};

/// About how many bytes a group or a resource takes.
const ITEM: usize = 256;

/// `servergroups.json`.
pub(super) fn group_list(list: &ApiGroupList) -> Vec<u8> {
    let mut json = Output::of(list.groups.len());
    json.literal(r#"{"kind":"#);
    json.string(&list.kind);
    json.optional_string(r#","apiVersion":"#, &list.api_version);
    json.literal(r#","groups":"#);
    json.items(&list.groups, group);
    json.end()
}

/// `serverresources.json`.
pub(super) fn resource_list(list: &ApiResourceList) -> Vec<u8> {
    let mut json = Output::of(list.resources.len());
    json.literal(r#"{"kind":"#);
    json.string(&list.kind);
    json.optional_string(r#","apiVersion":"#, &list.api_version);
    json.literal(r#","groupVersion":"#);
    json.string(&list.group_version);
    json.literal(r#","resources":"#);
    json.items(&list.resources, resource);
    json.end()
}

fn group(json: &mut Output, group: &ApiGroup) {
    json.literal("{");
    for (field, text) in [
        (r#""kind":"#, &group.kind),
        (r#""apiVersion":"#, &group.api_version),
    ] {
        if !text.is_empty() {
            json.literal(field);
            json.string(text);
            json.literal(",");
        }
    }
    json.literal(r#""name":"#);
    json.string(&group.name);
    json.literal(r#","versions":"#);
    json.nullable_items(group.versions.as_deref(), version);
    json.literal(r#","preferredVersion":"#);
    version(json, &group.preferred_version);
    if !group.server_address_by_client_cidrs.is_empty() {
        json.literal(r#","serverAddressByClientCIDRs":"#);
        json.items(&group.server_address_by_client_cidrs, |json, address| {
            json.literal(r#"{"clientCIDR":"#);
            json.string(&address.client_cidr);
            json.literal(r#","serverAddress":"#);
            json.string(&address.server_address);
            json.literal("}");
        });
    }
    json.literal("}");
}

fn version(json: &mut Output, version: &GroupVersionForDiscovery) {
    json.literal(r#"{"groupVersion":"#);
    json.string(&version.group_version);
    json.literal(r#","version":"#);
    json.string(&version.version);
    json.literal("}");
}

fn resource(json: &mut Output, resource: &ApiResource) {
    json.literal(r#"{"name":"#);
    json.string(&resource.name);
    json.literal(r#","singularName":"#);
    json.string(&resource.singular_name);
    json.literal(if resource.namespaced {
        r#","namespaced":true"#
    } else {
        r#","namespaced":false"#
    });
    json.optional_string(r#","group":"#, &resource.group);
    json.optional_string(r#","version":"#, &resource.version);
    json.literal(r#","kind":"#);
    json.string(&resource.kind);
    json.literal(r#","verbs":"#);
    json.nullable_items(resource.verbs.as_deref(), Output::text);
    json.optional_strings(r#","shortNames":"#, &resource.short_names);
    json.optional_strings(r#","categories":"#, &resource.categories);
    json.optional_string(r#","storageVersionHash":"#, &resource.storage_version_hash);
    json.literal("}");
}

struct Output {
    json: Vec<u8>,
}

impl Output {
    /// The beginning of a document with so many items.
    fn of(items: usize) -> Self {
        Self {
            json: Vec::with_capacity((items + 1) * ITEM),
        }
    }

    fn literal(&mut self, literal: &str) {
        self.json.extend_from_slice(literal.as_bytes());
    }

    fn string(&mut self, text: &str) {
        if is_plain(text) {
            self.json.push(b'"');
            self.literal(text);
            self.json.push(b'"');
        } else {
            self.literal(&go_json::to_string(text));
        }
    }

    fn text(&mut self, text: &Text) {
        self.string(text);
    }

    /// A field that is left out where it is empty.
    fn optional_string(&mut self, field: &str, text: &str) {
        if !text.is_empty() {
            self.literal(field);
            self.string(text);
        }
    }

    /// A field that is left out where it is empty.
    fn optional_strings(&mut self, field: &str, texts: &[Text]) {
        if !texts.is_empty() {
            self.literal(field);
            self.items(texts, Self::text);
        }
    }

    fn items<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.literal("[");
        for (at, value) in items.iter().enumerate() {
            if at > 0 {
                self.literal(",");
            }
            item(self, value);
        }
        self.literal("]");
    }

    /// As [`items`](Self::items), where there may be none at all.
    fn nullable_items<T>(&mut self, items: Option<&[T]>, item: impl FnMut(&mut Self, &T)) {
        match items {
            Some(items) => self.items(items, item),
            None => self.literal("null"),
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.literal("}\n");
        self.json
    }
}

/// Whether nothing has to be escaped. The first byte of U+2028 and U+2029 stands for many others.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| {
        let is_escaped = matches!(byte, b'"' | b'\\' | b'&' | b'<' | b'>' | 0xe2);
        plain & (byte >= b' ') & !is_escaped
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::kube::document::{Kind, decode};

    const FILES: [&str; 3] = [
        include_str!("../../../../tests/kubectl/apps_v1.json"),
        include_str!("../../../../tests/kubectl/g09.example.test_v1.json"),
        include_str!("../../../../tests/kubectl/v1.json"),
    ];

    /// The bytes are the serializer's, also of documents that differ in any place.
    fn agrees<T: Kind + Debug + PartialEq>(text: &str) {
        let check = |text: &str| {
            let Ok(document) = serde_json::from_str::<T>(text) else {
                return 0;
            };
            assert_eq!(
                String::from_utf8(document.to_line()).unwrap(),
                String::from_utf8(go_json::to_line(&document)).unwrap()
            );
            1
        };
        assert_eq!(check(text), 1);
        let mut checked = 0;
        for (at, c) in text.char_indices() {
            let (before, after) = (&text[..at], &text[at + c.len_utf8()..]);
            for other in [
                "", "x", "é", "\u{2028}", "–", "\\n", "\\\"", "<", "\\u0001", "\u{7f}",
            ] {
                checked += check(&format!("{before}{other}{after}"));
            }
        }
        assert!(checked > text.len(), "{checked}");
    }

    #[test]
    fn the_serializer_is_never_contradicted() {
        for file in FILES {
            let list = decode::<ApiResourceList>(file.as_bytes()).unwrap();
            assert_eq!(list.to_line(), file.as_bytes());
        }
        let groups = include_str!("../../../../tests/kubectl/servergroups.json");
        let list = decode::<ApiGroupList>(groups.as_bytes()).unwrap();
        assert_eq!(list.to_line(), groups.as_bytes());

        agrees::<ApiGroupList>(concat!(
            r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"kind":"APIGroup","apiVersion":"v1","name":"a","#,
            r#""versions":[{"groupVersion":"a/v1","version":"v1"},{"groupVersion":"a/v2","version":"v2"}],"#,
            r#""preferredVersion":{"groupVersion":"a/v1","version":"v1"},"serverAddressByClientCIDRs":["#,
            r#"{"clientCIDR":"0/0","serverAddress":"b:1"},{"clientCIDR":"","serverAddress":""}]},"#,
            r#"{"name":"c","versions":null,"preferredVersion":null}]}"#
        ));
        agrees::<ApiResourceList>(concat!(
            r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"g/v1","resources":["#,
            r#"{"name":"as","singularName":"a","namespaced":true,"group":"h","version":"v2","kind":"A","#,
            r#""verbs":["get","a"],"shortNames":["x","y"],"categories":["all"],"storageVersionHash":"abc="},"#,
            r#"{"name":"bs","singularName":"b","namespaced":false,"kind":"B","verbs":null},"#,
            r#"{"name":"cs","kind":"C","verbs":[]}]}"#
        ));
    }
}
