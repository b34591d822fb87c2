//! Reading, without a parser.
//!
//! Text that deviates from Go's form, be it by one escape in a string, gives `None` and is left to the general parser,
//! which alone decides what is an error.

use std::cell::RefCell;
use std::sync::Arc;

use crate::Text;
use crate::kube::document::{
    ApiGroup, ApiGroupDiscovery, ApiGroupDiscoveryList, ApiGroupList, ApiResource,
    ApiResourceDiscovery, ApiResourceList, ApiSubresourceDiscovery, ApiVersionDiscovery,
    GroupVersionForDiscovery, Kind, ListMeta, ObjectMeta, ResponseKind,
};

/// The number of strings that most lists have at most.
const STRINGS: usize = 8;

/// The number of lists of verbs that a thread remembers, and how long their text may be.
const LISTS: usize = 32;
const LIST_TEXT: usize = 256;

thread_local! {
    /// Hundreds of files repeat the same few lists.
    static LISTS_OF_VERBS: RefCell<Vec<Verbs>> = const { RefCell::new(Vec::new()) };
}

/// A list of verbs and its text up to the `]`.
type Verbs = (Box<str>, Arc<[Text]>);

/// `servergroups.json`.
pub(super) fn group_list(text: &str) -> Option<ApiGroupList> {
    let mut text = Input::plain(text)?;
    text.literal(r#"{"kind":"APIGroupList","apiVersion":"v1","groups":["#)?;
    let groups = text.items(64, |text| {
        text.literal(r#"{"name":"#)?;
        let name = text.string()?;
        text.literal(r#","versions":["#)?;
        let versions = Some(text.items(1, version)?);
        text.literal(r#","preferredVersion":"#)?;
        let preferred_version = version(text)?;
        text.literal("}")?;
        Some(ApiGroup {
            name,
            versions,
            preferred_version,
            ..ApiGroup::default()
        })
    })?;
    text.end()?;
    Some(ApiGroupList::new(groups))
}

/// `serverresources.json`.
pub(super) fn resource_list(text: &str) -> Option<ApiResourceList> {
    let mut text = Input::plain(text)?;
    text.literal(r#"{"kind":"APIResourceList""#)?;
    // A server's list of the core group has none.
    let api_version = text.optional_string(r#","apiVersion":"#)?;
    text.literal(r#","groupVersion":"#)?;
    let group_version = text.string()?;
    text.literal(r#","resources":["#)?;
    let resources = text.items(2, resource)?;
    text.end()?;
    Some(ApiResourceList {
        kind: ApiResourceList::KIND.into(),
        api_version,
        group_version,
        resources,
    })
}

/// The answer to `/api` or `/apis` that has all. With `as_sent`, also as older servers write it.
pub(super) fn group_discovery_list(text: &str, as_sent: bool) -> Option<ApiGroupDiscoveryList> {
    let mut text = Input::plain(text)?;
    text.literal(r#"{"kind":"APIGroupDiscoveryList","apiVersion":"#)?;
    let api_version = text.string()?;
    text.literal(r#","metadata":{},"items":["#)?;
    let items = text.items(64, |text| {
        text.literal(r#"{"metadata":{"#)?;
        let name = text.optional_string(r#""name":"#)?;
        if as_sent {
            let comma = if name.is_empty() { "" } else { "," };
            _ = text.is_next(comma) && text.is_next(r#""creationTimestamp":null"#);
        }
        text.literal("}")?;
        let versions = text.optional_items(r#","versions":["#, 1, version_discovery)?;
        text.literal("}")?;
        Some(ApiGroupDiscovery {
            metadata: ObjectMeta { name },
            versions,
        })
    })?;
    text.end()?;
    Some(ApiGroupDiscoveryList {
        kind: ApiGroupDiscoveryList::KIND.into(),
        api_version,
        metadata: ListMeta {},
        items,
    })
}

fn version_discovery(text: &mut Input<'_>) -> Option<ApiVersionDiscovery> {
    text.literal(r#"{"version":"#)?;
    let version = text.string()?;
    let resources = text.optional_items(r#","resources":["#, 2, resource_discovery)?;
    let freshness = text.optional_string(r#","freshness":"#)?;
    text.literal("}")?;
    Some(ApiVersionDiscovery {
        version,
        resources,
        freshness,
    })
}

fn resource_discovery(text: &mut Input<'_>) -> Option<ApiResourceDiscovery> {
    text.literal(r#"{"resource":"#)?;
    let resource = text.string()?;
    let response_kind = response_kind(text)?;
    text.literal(r#","scope":"#)?;
    let scope = text.string()?;
    text.literal(r#","singularResource":"#)?;
    let singular_resource = text.string()?;
    text.literal(r#","verbs":["#)?;
    let verbs = Some(verbs(text)?);
    let short_names = text.optional_strings(r#","shortNames":["#)?;
    let categories = text.optional_strings(r#","categories":["#)?;
    let subresources = text.optional_items(r#","subresources":["#, 1, |text| {
        text.literal(r#"{"subresource":"#)?;
        let subresource = text.string()?;
        let response_kind = self::response_kind(text)?;
        text.literal(r#","verbs":["#)?;
        let verbs = Some(self::verbs(text)?);
        text.literal("}")?;
        Some(ApiSubresourceDiscovery {
            subresource,
            response_kind,
            verbs,
        })
    })?;
    text.literal("}")?;
    Some(ApiResourceDiscovery {
        resource,
        response_kind,
        scope,
        singular_resource,
        verbs,
        short_names,
        categories,
        subresources,
    })
}

/// The outer `None` is a failure.
fn response_kind(text: &mut Input<'_>) -> Option<Option<ResponseKind>> {
    if !text.is_next(r#","responseKind":{"group":"#) {
        return Some(None);
    }
    let group = text.string()?;
    text.literal(r#","version":"#)?;
    let version = text.string()?;
    text.literal(r#","kind":"#)?;
    let kind = text.string()?;
    text.literal("}")?;
    Some(Some(ResponseKind {
        group,
        version,
        kind,
    }))
}

fn version(text: &mut Input<'_>) -> Option<GroupVersionForDiscovery> {
    text.literal(r#"{"groupVersion":"#)?;
    let group_version = text.string()?;
    text.literal(r#","version":"#)?;
    let version = text.string()?;
    text.literal("}")?;
    Some(GroupVersionForDiscovery {
        group_version,
        version,
    })
}

fn resource(text: &mut Input<'_>) -> Option<ApiResource> {
    text.literal(r#"{"name":"#)?;
    let name = text.string()?;
    text.literal(r#","singularName":"#)?;
    let singular_name = text.string()?;
    text.literal(r#","namespaced":"#)?;
    let namespaced = text.is_next("true");
    if !namespaced {
        text.literal("false")?;
    }
    let group = text.optional_string(r#","group":"#)?;
    let version = text.optional_string(r#","version":"#)?;
    text.literal(r#","kind":"#)?;
    let kind = text.string()?;
    text.literal(r#","verbs":["#)?;
    let verbs = Some(verbs(text)?);
    let short_names = text.optional_strings(r#","shortNames":["#)?;
    let categories = text.optional_strings(r#","categories":["#)?;
    let storage_version_hash = text.optional_string(r#","storageVersionHash":"#)?;
    text.literal("}")?;
    Some(ApiResource {
        name,
        singular_name,
        namespaced,
        group,
        version,
        kind,
        verbs,
        short_names,
        categories,
        storage_version_hash,
    })
}

/// The rest of a list of verbs.
fn verbs(text: &mut Input<'_>) -> Option<Arc<[Text]>> {
    LISTS_OF_VERBS.with_borrow_mut(|lists| {
        for (known, list) in &*lists {
            if text.is_next(known) {
                return Some(Arc::clone(list));
            }
        }
        let before = text.rest;
        let list: Arc<[Text]> = text.strings()?.into();
        let len = before.len() - text.rest.len();
        if lists.len() < LISTS && len <= LIST_TEXT {
            lists.push((before[..len].into(), Arc::clone(&list)));
        }
        Some(list)
    })
}

/// The text that is still to be read.
struct Input<'a> {
    rest: &'a str,
}

impl<'a> Input<'a> {
    /// Input without escapes, and without what Go escapes: control characters, `&`, `<`, `>`, and U+2028
    /// and U+2029, of which the first byte stands for many others. Where that is so, a string ends at the
    /// next quote. One look at everything is faster than one at each string.
    fn plain(text: &'a str) -> Option<Self> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let is_odd = |odd, byte: u8| {
            let is_escaped = (byte == b'&') | (byte == b'<') | (byte == b'>') | (byte == 0xe2);
            odd | (byte < b' ') | (byte == b'\\') | is_escaped
        };
        let is_plain = !text.bytes().fold(false, is_odd);
        is_plain.then_some(Self { rest: text })
    }

    fn is_next(&mut self, literal: &str) -> bool {
        let rest = self.rest.strip_prefix(literal);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        self.is_next(literal).then_some(())
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<Text> {
        let inside = self.rest.strip_prefix('"')?;
        let end = inside.bytes().position(|byte| byte == b'"')?;
        self.rest = &inside[end + 1..];
        Some(Text::from(&inside[..end]))
    }

    fn strings(&mut self) -> Option<Vec<Text>> {
        self.items(STRINGS, Self::string)
    }

    /// A field that is left out where it is empty.
    fn optional_string(&mut self, field: &str) -> Option<Text> {
        if self.is_next(field) {
            self.string().filter(|text| !text.is_empty())
        } else {
            Some(Text::default())
        }
    }

    fn optional_strings(&mut self, field: &str) -> Option<Vec<Text>> {
        self.optional_items(field, STRINGS, Self::string)
    }

    /// The array of a field that is left out where it is empty.
    fn optional_items<T>(
        &mut self,
        field: &str,
        capacity: usize,
        item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        if self.is_next(field) {
            self.items(capacity, item).filter(|items| !items.is_empty())
        } else {
            Some(Vec::new())
        }
    }

    /// The rest of an array whose `[` has been read; `capacity` is what most have.
    fn items<T>(
        &mut self,
        capacity: usize,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        if self.is_next("]") {
            return Some(Vec::new());
        }
        let mut items = Vec::with_capacity(capacity);
        loop {
            items.push(item(self)?);
            if self.is_next("]") {
                // Kept for long, and there are many.
                items.shrink_to_fit();
                return Some(items);
            }
            self.literal(",")?;
        }
    }

    /// The end of the document.
    fn end(&self) -> Option<()> {
        (self.rest == "}").then_some(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::kube::document::decode;

    const GROUPS: &str = include_str!("../../../../tests/kubectl/servergroups.json");
    const LISTS: [&str; 2] = [
        include_str!("../../../../tests/kubectl/apps_v1.json"),
        include_str!("../../../../tests/kubectl/g09.example.test_v1.json"),
    ];
    const AGGREGATED: [&str; 2] = [
        include_str!("../../../../tests/kubectl/api_v2.json"),
        include_str!("../../../../tests/kubectl/apis_v2.json"),
    ];

    /// The general parser's result, which `decode` should give as well.
    fn parsed<T: Kind + DeserializeOwned>(text: &str) -> Option<T> {
        let document: T = serde_json::from_str(text).ok()?;
        (document.kind() == T::KIND).then_some(document)
    }

    /// Every text that differs from this one in one place gives what the parser gives.
    fn agrees<T: Kind + Debug + PartialEq>(text: &str) {
        assert_eq!(decode(text.as_bytes()).ok(), parsed::<T>(text));
        for at in (0..text.len()).filter(|&at| text.is_char_boundary(at)) {
            let len = text[at..].chars().next().map_or(0, char::len_utf8);
            let (before, after) = (&text[..at], &text[at + len..]);
            for other in [
                "", "\"", "\\", "\\n", "\n", "]", "}", ",", "x", "é", "null", " ",
            ] {
                let changed = format!("{before}{other}{after}");
                let expected = parsed::<T>(&changed);
                assert_eq!(decode(changed.as_bytes()).ok(), expected, "{changed}");
            }
        }
        for cut in (0..text.len()).filter_map(|at| text.get(..at)) {
            assert_eq!(decode::<T>(cut.as_bytes()).ok(), parsed(cut));
        }
    }

    #[test]
    fn kubectls_files_need_no_parser() {
        assert_eq!(group_list(GROUPS), parsed(GROUPS));
        assert!(group_list(GROUPS).is_some());
        for file in LISTS {
            assert_eq!(resource_list(file), parsed(file));
            assert!(resource_list(file).is_some());
            let core = file.replace(r#""apiVersion":"v1","#, "");
            assert_ne!(core, file);
            assert!(resource_list(&core).is_some());
            assert_eq!(resource_list(&core), parsed(&core));
        }
    }

    #[test]
    fn a_servers_answers_need_no_parser() {
        for answer in AGGREGATED {
            assert_eq!(group_discovery_list(answer, false), parsed(answer));
            assert!(group_discovery_list(answer, false).is_some());
            let older = answer
                .replace(r#""metadata":{"name":"#, r#""metadata":{NAME:"#)
                .replace(
                    r#"[{"metadata":{}"#,
                    r#"[{"metadata":{"creationTimestamp":null}"#,
                );
            let names = older.split("NAME:").collect::<Vec<_>>();
            let older = names.join(r#""name":"#);
            let older = older.replace(
                r#""},"versions":["#,
                r#"","creationTimestamp":null},"versions":["#,
            );
            assert!(older.contains("creationTimestamp"));
            assert!(group_discovery_list(&older, false).is_none());
            assert_eq!(group_discovery_list(&older, true), parsed(answer));
        }
    }

    #[test]
    fn the_parser_is_never_contradicted() {
        agrees::<ApiGroupList>(concat!(
            r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"","#,
            r#""versions":[{"groupVersion":"v1","version":"v1"}],"#,
            r#""preferredVersion":{"groupVersion":"v1","version":"v1"}},{"name":"é","#,
            r#""versions":[],"preferredVersion":{"groupVersion":"","version":""}}]}"#,
            "\n"
        ));
        agrees::<ApiResourceList>(concat!(
            r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"g/v1","resources":["#,
            r#"{"name":"as","singularName":"a","namespaced":true,"group":"h","version":"v2","#,
            r#""kind":"A","verbs":["get","a]"],"shortNames":["x"],"categories":["all","b"],"#,
            r#""storageVersionHash":"abc="},"#,
            r#"{"name":"bs","singularName":"","namespaced":false,"kind":"B","verbs":["get","a]"]},"#,
            r#"{"name":"cs","singularName":"","namespaced":false,"kind":"","verbs":[]}]}"#,
            "\n"
        ));
        agrees::<ApiGroupDiscoveryList>(concat!(
            r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":["#,
            r#"{"metadata":{"creationTimestamp":null},"versions":[{"version":"v1","resources":["#,
            r#"{"resource":"as","responseKind":{"group":"","version":"v2","kind":"A"},"scope":"Cluster","#,
            r#""singularResource":"a","verbs":["get"],"shortNames":["x"],"categories":["all","b"],"#,
            r#""subresources":[{"subresource":"s","responseKind":{"group":"","version":"","kind":"S"},"#,
            r#""verbs":["get"]},{"subresource":"t","verbs":[]}]},"#,
            r#"{"resource":"bs","scope":"","singularResource":"","verbs":[]}],"freshness":"Current"}]},"#,
            r#"{"metadata":{"name":"é","creationTimestamp":null},"versions":[{"version":"v1","freshness":"Stale"}]},"#,
            r#"{"metadata":{"name":"n"}}]}"#,
        ));
    }
}
