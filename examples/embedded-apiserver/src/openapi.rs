//! Small OpenAPI documents: enough for `kubectl explain` to find a kind, and for caches to have
//! something immutable.

use std::sync::Arc;

use super::{
    json,
    model::{Group, Resource, Version, group_version},
    site::{Document, Site},
};

/// `/openapi/v2` as JSON.
pub(super) const V2: &str = concat!(
    r#"{"swagger":"2.0","info":{"title":"Kubernetes","version":"v1.36.2"},"#,
    r#""paths":{},"definitions":{}}"#
);

/// `/openapi/v2` in the protocol buffers of `openapi.v2.Document`: swagger, info, no paths.
pub(super) const V2_PROTOBUF: &[u8] = b"\n\x032.0\x12\x15\n\x0aKubernetes\x12\x07v1.36.2\x42\0";

/// Every `/openapi/v3/…` document, in the protocol buffers of `openapi.v3.Document`:
/// openapi, info, no paths.
pub(super) const V3_PROTOBUF: &[u8] = b"\n\x053.0.0\x12\x12\n\x0aKubernetes2\x041.36\"\0";

/// The document of `/openapi/v3/<path>`, where `path` is `version`, `api/v1` or
/// `apis/<group>/<version>`.
pub(super) fn document(site: &Site, path: &str) -> Option<Arc<Document>> {
    let (group, version) = match path.split_once('/') {
        None if path == "version" => {
            return Some(site.document("openapi version".to_owned(), || framed("", "")));
        }
        Some(("api", version)) => ("", version),
        Some(("apis", rest)) => rest
            .split_once('/')
            .filter(|(group, _)| !group.is_empty())?,
        _ => return None,
    };
    let (group, version) = site
        .version(group, version)
        .filter(|(_, version)| !version.stale)?;
    Some(site.document(format!("openapi {path}"), || {
        let own = version.openapi.clone();
        own.unwrap_or_else(|| group_version_document(group, version))
    }))
}

/// `/openapi/v3`: every document with its hash.
pub(super) fn index(site: &Site) -> &Document {
    site.openapi_index
        .get_or_init(|| Document::new(make_index(site)))
}

fn make_index(site: &Site) -> String {
    let mut paths = vec!["version".to_owned()];
    for group in site.groups() {
        for version in group.versions.iter().filter(|version| !version.stale) {
            paths.push(format!(
                "{}/{}",
                prefix(group),
                group_version(&group.name, &version.name)
            ));
        }
    }
    paths.sort_unstable();
    let documents = paths
        .iter()
        .filter_map(|path| Some((path, document(site, path)?)));
    let mut out = String::from("{\"paths\":{");
    for (index, (path, document)) in documents.enumerate() {
        if index > 0 {
            out.push(',');
        }
        json::string(&mut out, path);
        out.push_str(":{");
        let url = format!("/openapi/v3/{path}?hash={}", document.hash());
        json::field(&mut out, "serverRelativeURL", &url);
        out.push('}');
    }
    out.push_str("}}");
    out
}

fn prefix(group: &Group) -> &'static str {
    if group.name.is_empty() { "api" } else { "apis" }
}

fn framed(paths: &str, schemas: &str) -> String {
    format!(
        "{{\"openapi\":\"3.0.0\",\"info\":{{\"title\":\"Kubernetes\",\"version\":\"1.36\"}},\
         \"paths\":{{{paths}}},\"components\":{{\"schemas\":{{{schemas}}}}}}}"
    )
}

fn group_version_document(group: &Group, version: &Version) -> String {
    let (mut paths, mut schemas) = (String::new(), String::new());
    let root = format!(
        "/{}/{}",
        prefix(group),
        group_version(&group.name, &version.name)
    );
    for resource in &version.resources {
        let mut kind = String::from("{");
        json::field(&mut kind, "group", &group.name);
        kind.push(',');
        json::field(&mut kind, "kind", &resource.kind);
        kind.push(',');
        json::field(&mut kind, "version", &version.name);
        kind.push('}');
        path(&mut paths, &root, resource, &kind);
        schema(&mut schemas, group, version, resource, &kind);
    }
    framed(&paths, &schemas)
}

fn path(out: &mut String, root: &str, resource: &Resource, kind: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    let scope = if resource.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    json::string(out, &format!("{root}{scope}/{}", resource.name));
    let (method, action) = if resource.verbs.contains(&"list") {
        ("get", "list")
    } else {
        ("post", "post")
    };
    out.push_str(":{");
    json::string(out, method);
    out.push_str(":{\"responses\":{\"200\":{\"description\":\"OK\"}},");
    json::field(out, "x-kubernetes-action", action);
    out.push_str(",\"x-kubernetes-group-version-kind\":");
    out.push_str(kind);
    out.push_str("}}");
}

fn schema(out: &mut String, group: &Group, version: &Version, resource: &Resource, kind: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    let mut labels: Vec<&str> = group
        .name
        .rsplit('.')
        .filter(|label| !label.is_empty())
        .collect();
    labels.extend([version.name.as_str(), resource.kind.as_str()]);
    json::string(out, &labels.join("."));
    out.push_str(":{");
    let description = format!("{} of the embedded API server.", resource.kind);
    json::field(out, "description", &description);
    out.push_str(
        ",\"type\":\"object\",\"properties\":{\
         \"apiVersion\":{\"description\":\"The group and version.\",\"type\":\"string\"},\
         \"kind\":{\"description\":\"The kind.\",\"type\":\"string\"},\
         \"metadata\":{\"description\":\"Standard object metadata.\",\"type\":\"object\"}},\
         \"x-kubernetes-group-version-kind\":[",
    );
    out.push_str(kind);
    out.push_str("]}");
}
