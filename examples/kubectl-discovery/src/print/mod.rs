//! Output formats for rows. Nothing here knows of a server.

mod json;
mod kyaml;
mod node;
mod table;
#[cfg(test)]
mod tests;
mod yaml;

use std::borrow::Cow;
use std::fmt::Write;

use discovery_core::GroupVersion;
use discovery_core::kube::document::ApiResource;

pub(crate) use self::node::Node;
use crate::printable::{printable, printable_json};

/// A resource, and where it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) group_version: &'a GroupVersion,
    pub(crate) resource: &'a ApiResource,
}

/// The formats of `api-resources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Table { wide: bool, header: bool },
    Name,
    Json,
    Yaml,
    Kyaml,
}

/// The rows in a format, as kubectl prints them.
pub(crate) fn resources(rows: &[Row<'_>], format: Format) -> String {
    let mut out = String::new();
    match format {
        Format::Table { wide, header } => table::write(&mut out, rows, wide, header),
        Format::Name => names(&mut out, rows),
        Format::Json => {
            json::write(&mut out, &Node::resources(rows), "    ");
            if let Cow::Owned(shown) = printable_json(&out) {
                out = shown;
            }
        }
        Format::Yaml => yaml::write(&mut out, &Node::resources(rows)),
        Format::Kyaml => kyaml::write(&mut out, &Node::resources(rows)),
    }
    out
}

/// A document with the two spaces of indentation that `version` has.
pub(crate) fn version_json(node: &Node<'_>) -> String {
    let mut out = String::new();
    json::write(&mut out, node, "  ");
    out
}

/// A document as YAML.
pub(crate) fn version_yaml(node: &Node<'_>) -> String {
    let mut out = String::new();
    yaml::write(&mut out, node);
    out
}

fn names(out: &mut String, rows: &[Row<'_>]) {
    for row in rows {
        let (name, group) = (&row.resource.name, row.group_version.group());
        // Writing to a string does not fail.
        let _ = match group {
            "" => writeln!(out, "{}", printable(name)),
            group => writeln!(out, "{}.{group}", printable(name)),
        };
    }
}
