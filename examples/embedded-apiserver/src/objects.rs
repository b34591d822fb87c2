//! A few objects to read, so that something that must not be cached passes by, and those that tell what is served. Every
//! other resource that is served lists nothing; what is written comes back as it came.

use std::sync::PoisonError;

use http::{Method, StatusCode, header::CONTENT_TYPE};

use super::{
    answer::{self, Answer, query, reads},
    json,
    model::{Resource, group_version},
    routes::Asked,
    site::Document,
    watches::Derived,
};

/// In the data of every Secret that the server has (in base64, as Secrets are). Nothing else
/// contains it: a cache that does has stored a Secret.
pub const SECRET_MARKER: &str = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ==";

/// In the data of every ConfigMap that the server has.
pub const CONFIG_MAP_MARKER: &str = "config-map-marker-7d1f";

/// The names of the Secrets in the namespace `default`.
pub const SECRETS: [&str; 2] = ["database", "registry"];

/// The names of the ConfigMaps in the namespace `default`.
pub const CONFIG_MAPS: [&str; 2] = ["kube-root-ca.crt", "settings"];

/// The target of a path below a group version.
struct Target<'p> {
    resource: &'p Resource,
    namespace: Option<&'p str>,
    name: Option<&'p str>,
}

/// Answers `/api/<version>/…` and `/apis/<group>/<version>/…`.
pub(super) fn answer(
    asked: &Asked<'_>,
    group: &str,
    version: &str,
    rest: &[&str],
    body: &[u8],
) -> Answer {
    let Some((_, served)) = asked.site.version(group, version) else {
        return answer::no_such_page();
    };
    if served.stale {
        return answer::dead_backend();
    }
    let Some(target) = target(&served.resources, rest) else {
        return answer::no_such_page();
    };
    if !reads(asked.request) {
        let created = asked.request.method == Method::POST;
        let code = if created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        return Answer::new(code)
            .header(CONTENT_TYPE, "application/json")
            .sized(body.to_vec());
    }
    if let Some(refusal) = asked.framework_refusal() {
        return refusal;
    }

    let api_version = group_version(group, version);
    let derived = Derived::of(group, &target.resource.name);
    let is_watch = matches!(query(asked.request, "watch"), Some("1" | "true"));
    if let (Some(derived), None, true) = (derived, target.name, is_watch) {
        // No change comes between what is there and what follows.
        let edits = asked.state.edits.lock();
        let _edits = edits.unwrap_or_else(PoisonError::into_inner);
        let events = asked.state.watches.begin(derived, &asked.state.site());
        return Answer::new(StatusCode::OK)
            .header(CONTENT_TYPE, "application/json")
            .watch(events);
    }
    let names = match derived {
        Some(derived) => derived.names(asked.site),
        None => names(group, &target)
            .iter()
            .map(ToString::to_string)
            .collect(),
    };
    match target.name {
        Some(name) if names.iter().any(|known| known == name) => {
            let mut out = object(&api_version, target.resource, name);
            out.push('\n');
            Answer::new(StatusCode::OK).document(asked.request, &Document::new(out).into())
        }
        Some(name) => answer::no_such_object(&target.resource.name, group, name),
        None if is_watch => {
            let mut events = String::new();
            for name in &names {
                events.push_str("{\"type\":\"ADDED\",\"object\":");
                events.push_str(&object(&api_version, target.resource, name));
                events.push_str("}\n");
            }
            Answer::new(StatusCode::OK)
                .header(CONTENT_TYPE, "application/json")
                .open(events)
        }
        None => {
            let list = list(&api_version, target.resource, &names);
            Answer::new(StatusCode::OK).document(asked.request, &Document::new(list).into())
        }
    }
}

fn target<'p>(resources: &'p [Resource], rest: &[&'p str]) -> Option<Target<'p>> {
    let (namespace, rest) = match *rest {
        ["namespaces", namespace, ref rest @ ..] if !rest.is_empty() => (Some(namespace), rest),
        _ => (None, rest),
    };
    let (&plural, rest) = rest.split_first()?;
    let resource = resources.iter().find(|resource| resource.name == plural)?;
    let name = match *rest {
        [] => None,
        [name] if !name.is_empty() => Some(name),
        // Subresources answer as their object does.
        [name, sub] if resource.subresources.iter().any(|known| known.name == sub) => Some(name),
        _ => return None,
    };
    Some(Target {
        resource,
        namespace,
        name,
    })
}

fn names(group: &str, target: &Target<'_>) -> &'static [&'static str] {
    match (group, &*target.resource.name, target.namespace) {
        ("", "secrets", None | Some("default")) => &SECRETS,
        ("", "configmaps", None | Some("default")) => &CONFIG_MAPS,
        ("", "namespaces", None) => &["default"],
        _ => &[],
    }
}

fn list(api_version: &str, resource: &Resource, names: &[String]) -> String {
    let mut out = String::from("{");
    json::field(&mut out, "kind", &format!("{}List", resource.kind));
    out.push(',');
    json::field(&mut out, "apiVersion", api_version);
    out.push_str(",\"metadata\":{\"resourceVersion\":\"1000\"},\"items\":");
    json::array(&mut out, names, |out, name| {
        out.push('{');
        content(out, resource, name);
        out.push('}');
    });
    out.push_str("}\n");
    out
}

fn object(api_version: &str, resource: &Resource, name: &str) -> String {
    let mut out = String::from("{");
    json::field(&mut out, "kind", &resource.kind);
    out.push(',');
    json::field(&mut out, "apiVersion", api_version);
    out.push(',');
    content(&mut out, resource, name);
    out.push('}');
    out
}

fn content(out: &mut String, resource: &Resource, name: &str) {
    out.push_str("\"metadata\":{");
    json::field(out, "name", name);
    if resource.namespaced {
        out.push_str(",\"namespace\":\"default\"");
    }
    out.push_str(",\"resourceVersion\":\"1000\",\"creationTimestamp\":\"2026-11-21T23:00:00Z\"}");
    match &*resource.name {
        "secrets" => {
            out.push_str(",\"data\":{");
            json::field(out, "password", SECRET_MARKER);
            out.push_str("},\"type\":\"Opaque\"");
        }
        "configmaps" => {
            out.push_str(",\"data\":{");
            json::field(out, "setting", CONFIG_MAP_MARKER);
            out.push('}');
        }
        "namespaces" => out.push_str(",\"status\":{\"phase\":\"Active\"}"),
        _ => {}
    }
}
