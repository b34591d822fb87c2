//! A document to be printed, before it has a format.

use discovery_core::kube::document::ApiResource;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::Row;

/// A part of a document, with its fields in the order of Go's struct.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Text(&'a str),
    List(Vec<Self>),
    Map(Vec<(&'static str, Self)>),
}

impl<'a> Node<'a> {
    /// The document that `api-resources` prints: one list of everything, whose group version is
    /// empty; each resource says its own.
    pub(crate) fn resources(rows: &[Row<'a>]) -> Self {
        let list = match rows {
            // Go's nil slice.
            [] => Self::Null,
            rows => Self::List(rows.iter().map(Self::resource).collect()),
        };
        Self::Map(vec![
            ("kind", Self::Text("APIResourceList")),
            ("apiVersion", Self::Text("v1")),
            ("groupVersion", Self::Text("")),
            ("resources", list),
        ])
    }

    /// Group and version are those that the resource was found in, whatever its kind's are.
    fn resource(row: &Row<'a>) -> Self {
        let ApiResource {
            name,
            singular_name,
            namespaced,
            kind,
            verbs,
            short_names,
            categories,
            storage_version_hash,
            ..
        } = row.resource;
        let mut fields = vec![
            ("name", Self::Text(name)),
            ("singularName", Self::Text(singular_name)),
            ("namespaced", Self::Bool(*namespaced)),
        ];
        let optional = |fields: &mut Vec<_>, name, text: &'a str| {
            if !text.is_empty() {
                fields.push((name, Self::Text(text)));
            }
        };
        optional(&mut fields, "group", row.group_version.group());
        optional(&mut fields, "version", row.group_version.version());
        fields.push(("kind", Self::Text(kind)));
        let texts = |texts: &'a [discovery_core::Text]| {
            Self::List(texts.iter().map(|text| Self::Text(text)).collect())
        };
        fields.push(("verbs", texts(verbs.as_deref().unwrap_or_default())));
        if !short_names.is_empty() {
            fields.push(("shortNames", texts(short_names)));
        }
        if !categories.is_empty() {
            fields.push(("categories", texts(categories)));
        }
        optional(&mut fields, "storageVersionHash", storage_version_hash);
        Self::Map(fields)
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(list) => serializer.collect_seq(list),
            Self::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}
