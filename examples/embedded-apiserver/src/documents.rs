//! The discovery documents, made from the groups. Compact JSON with one trailing newline, keys in
//! the order of a real server.

use super::{
    json,
    model::{Group, Resource, Version, group_version},
};

/// The versions of `apidiscovery.k8s.io` that an aggregated document may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregated {
    V2,
    V2beta1,
}

impl Aggregated {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2beta1 => "v2beta1",
        }
    }
}

/// `/api` or `/apis` in the aggregated form.
pub(super) fn aggregated<'g>(
    form: Aggregated,
    groups: impl IntoIterator<Item = &'g Group>,
) -> String {
    let mut out = format!(
        "{{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/{}\",\
         \"metadata\":{{}},\"items\":",
        form.name()
    );
    json::array(&mut out, groups, aggregated_group);
    out.push_str("}\n");
    out
}

/// `/api` in the legacy form.
pub(super) fn core_versions(core: Option<&Group>, address: &str) -> String {
    let versions: Vec<&str> = core
        .iter()
        .flat_map(|group| &group.versions)
        .map(|v| v.name.as_str())
        .collect();
    let mut out = String::from("{\"kind\":\"APIVersions\",");
    json::list(&mut out, "versions", &versions);
    out.push_str(",\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\",");
    json::field(&mut out, "serverAddress", address);
    out.push_str("}]}\n");
    out
}

/// `/apis` in the legacy form.
pub(super) fn group_list<'g>(groups: impl IntoIterator<Item = &'g Group>) -> String {
    let mut out = String::from("{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":");
    json::array(&mut out, groups, |out, group| {
        out.push('{');
        group_fields(out, group);
        out.push('}');
    });
    out.push_str("}\n");
    out
}

/// `/apis/<group>`.
pub(super) fn group(group: &Group) -> String {
    let mut out = String::from("{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
    group_fields(&mut out, group);
    out.push_str("}\n");
    out
}

/// `/api/v1` or `/apis/<group>/<version>`. The order of custom resources comes out of a hash table
/// in a real server and differs from start to start: here `seed` decides it.
pub(super) fn resource_list(group: &Group, version: &Version, seed: u64) -> String {
    let name = group_version(&group.name, &version.name);
    let mut resources: Vec<&Resource> = version.resources.iter().collect();
    if !group.builtin {
        resources.sort_by_cached_key(|resource| scatter(seed, &name, &resource.name));
    }

    let mut out = String::from("{\"kind\":\"APIResourceList\",");
    // Real servers say it for every group but the core one.
    if !group.name.is_empty() {
        out.push_str("\"apiVersion\":\"v1\",");
    }
    json::field(&mut out, "groupVersion", &name);
    out.push_str(",\"resources\":[");
    for (index, resource) in resources.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        legacy_resource(&mut out, resource);
    }
    out.push_str("]}\n");
    out
}

fn aggregated_group(out: &mut String, group: &Group) {
    out.push_str("{\"metadata\":{");
    if !group.name.is_empty() {
        json::field(out, "name", &group.name);
    }
    out.push_str("},\"versions\":");
    json::array(out, &group.versions, |out, version| {
        aggregated_version(out, group, version);
    });
    out.push('}');
}

fn aggregated_version(out: &mut String, group: &Group, version: &Version) {
    // Of built-in kinds the server leaves out where they belong; of custom ones it says it.
    let own = if group.builtin {
        ("", "")
    } else {
        (&*group.name, &*version.name)
    };
    out.push('{');
    json::field(out, "version", &version.name);
    if !version.stale && !version.resources.is_empty() {
        out.push_str(",\"resources\":");
        json::array(out, &version.resources, |out, resource| {
            out.push('{');
            json::field(out, "resource", &resource.name);
            response_kind(out, own, &resource.kind);
            out.push_str(if resource.namespaced {
                ",\"scope\":\"Namespaced\","
            } else {
                ",\"scope\":\"Cluster\","
            });
            json::field(out, "singularResource", &resource.singular);
            out.push(',');
            json::list(out, "verbs", &resource.verbs);
            json::list_unless_empty(out, "shortNames", &resource.short_names);
            json::list_unless_empty(out, "categories", &resource.categories);
            if !resource.subresources.is_empty() {
                out.push_str(",\"subresources\":");
                json::array(out, &resource.subresources, |out, sub| {
                    out.push('{');
                    json::field(out, "subresource", &sub.name);
                    let of = sub
                        .foreign
                        .as_ref()
                        .map_or(own, |(group, version)| (group, version));
                    response_kind(out, of, &sub.kind);
                    out.push(',');
                    json::list(out, "verbs", &sub.verbs);
                    out.push('}');
                });
            }
            out.push('}');
        });
    }
    out.push_str(if version.stale {
        ",\"freshness\":\"Stale\"}"
    } else {
        ",\"freshness\":\"Current\"}"
    });
}

fn response_kind(out: &mut String, (group, version): (&str, &str), kind: &str) {
    out.push_str(",\"responseKind\":{");
    json::field(out, "group", group);
    out.push(',');
    json::field(out, "version", version);
    out.push(',');
    json::field(out, "kind", kind);
    out.push('}');
}

fn group_fields(out: &mut String, group: &Group) {
    let pair = |out: &mut String, version: &str| {
        out.push('{');
        json::field(out, "groupVersion", &group_version(&group.name, version));
        out.push(',');
        json::field(out, "version", version);
        out.push('}');
    };
    json::field(out, "name", &group.name);
    out.push_str(",\"versions\":");
    json::array(out, &group.versions, |out, version| {
        pair(out, &version.name);
    });
    if let Some(preferred) = group.versions.first() {
        out.push_str(",\"preferredVersion\":");
        pair(out, &preferred.name);
    }
}

fn legacy_resource(out: &mut String, resource: &Resource) {
    let head = |out: &mut String, name: &str, singular: &str| {
        out.push('{');
        json::field(out, "name", name);
        out.push(',');
        json::field(out, "singularName", singular);
        out.push_str(if resource.namespaced {
            ",\"namespaced\":true,"
        } else {
            ",\"namespaced\":false,"
        });
    };
    head(out, &resource.name, &resource.singular);
    json::field(out, "kind", &resource.kind);
    out.push(',');
    json::list(out, "verbs", &resource.verbs);
    json::list_unless_empty(out, "shortNames", &resource.short_names);
    json::list_unless_empty(out, "categories", &resource.categories);
    if let Some(hash) = &resource.storage_hash {
        out.push(',');
        json::field(out, "storageVersionHash", hash);
    }
    out.push('}');
    for sub in &resource.subresources {
        out.push(',');
        head(out, &format!("{}/{}", resource.name, sub.name), "");
        if let Some((group, version)) = &sub.foreign {
            json::field(out, "group", group);
            out.push(',');
            json::field(out, "version", version);
            out.push(',');
        }
        json::field(out, "kind", &sub.kind);
        out.push(',');
        json::list(out, "verbs", &sub.verbs);
        out.push('}');
    }
}

/// FNV-1a over the three, then mixed, because the low-order bytes of short names differ little.
fn scatter(seed: u64, group_version: &str, name: &str) -> u64 {
    let bytes = group_version.bytes().chain(name.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    super::log::mix(hash)
}
