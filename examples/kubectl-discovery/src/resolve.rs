//! `resolve`.

use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use discovery_client::mapper::{MapErrorKind, Mapping, ResourceArg, RestMapper, Scope};
use discovery_core::{Discovered, Text};

use crate::errors::Fatal;
use crate::print::{self, Node};
use crate::printable::printable;
use crate::session::Session;
use crate::style;

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// A resource by plural, singular, kind or short name, also with a group or a version and a group:
    /// deploy, deployments.apps, deployments.v1.apps.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    /// Output format, instead of a table.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output: Option<String>,
}

/// The meaning of a name.
struct Meaning<'a> {
    asked: &'a str,
    mapping: Arc<Mapping>,
    source: Source,
}

/// Where the resource list came from.
struct Source {
    /// The cache that had it, or `server`.
    cache: String,
    since: Option<SystemTime>,
    /// The same, for documents.
    time: String,
}

pub(crate) fn run(session: &Session, flags: &Resolve) -> Result<(), Fatal> {
    let (mut found, mut mapper) = discover(session)?;
    let is_known = |mapper: &RestMapper| {
        let mut names = flags.names.iter();
        names.all(|name| !mapper.resolve(name).is_err_and(|error| error.is_no_match()))
    };
    // The caches may be outdated.
    if !is_known(&mapper) && found.origin.is_some_and(|origin| origin.hit) {
        session.forget();
        (found, mapper) = discover(session)?;
    }
    let mut meanings = Vec::new();
    let mut errors = Vec::new();
    for asked in &flags.names {
        match meaning(&mapper, asked) {
            Ok(mapping) => meanings.push(Meaning {
                asked,
                source: Source::of(&found, &mapping),
                mapping,
            }),
            Err(error) => errors.push(error),
        }
    }
    if !meanings.is_empty() {
        crate::print(&shown(&meanings, flags.output.as_deref()))?;
    }
    if errors.is_empty() {
        return Ok(());
    }
    // A name may be one of those that could not be had.
    errors.extend(Fatal::partial(&found.failed, &session.url).map(|fatal| fatal.to_string()));
    Err(Fatal::plain(errors.join("\n")))
}

fn discover(session: &Session) -> Result<(Discovered, RestMapper), Fatal> {
    let found = session.wait(session.client.discover());
    let found = found.map_err(|failure| Fatal::failure(&failure, &session.url))?;
    let mapper = RestMapper::new(&found.snapshot);
    Ok((found, mapper))
}

/// The resource that a name stands for, with a warning if it may be another one's as well.
fn meaning(mapper: &RestMapper, asked: &str) -> Result<Arc<Mapping>, String> {
    let mapping = match mapper.resolve(asked) {
        Ok(mapping) => mapping,
        Err(error) => match error.kind() {
            MapErrorKind::Ambiguous { candidates } if !candidates.is_empty() => {
                warn(&format!("{error}; the first is taken"));
                return Ok(Arc::clone(&candidates[0]));
            }
            _ => return Err(printable(&error.to_string()).into_owned()),
        },
    };
    let arg = ResourceArg::parse(asked);
    let has_short_name = |mapping: &Mapping| mapping.short_names.iter().any(|at| *at == arg.name);
    if mapping.resource != arg.name && has_short_name(&mapping) {
        let mut told = vec![short(&mapping)];
        for other in mapper.mappings() {
            let in_group = arg.group.is_empty() || other.group_version.group() == arg.group;
            let name = short(other);
            if in_group && has_short_name(other) && !told.contains(&name) {
                // kubectl's words.
                warn(&format!(
                    "short name {:?} could also match lower priority resource {name}",
                    arg.name
                ));
                told.push(name);
            }
        }
    }
    Ok(mapping)
}

/// The name without the version: another version is not another resource.
fn short(mapping: &Mapping) -> String {
    match mapping.group_version.group() {
        "" => mapping.resource.to_string(),
        group => format!("{}.{group}", mapping.resource),
    }
}

fn warn(text: &str) {
    crate::eprint(&format!("Warning: {}\n", printable(text)));
}

impl Source {
    fn of(found: &Discovered, mapping: &Mapping) -> Self {
        let list = found.snapshot.resources(mapping.group_version.as_str());
        let cache = list.and_then(|list| list.cache());
        let since = list.and_then(|list| list.since());
        Self {
            cache: cache.unwrap_or("server").to_owned(),
            since,
            time: since.map(style::time).unwrap_or_default(),
        }
    }

    fn age(&self) -> String {
        let now = SystemTime::now();
        self.since
            .map(|since| style::age_of(since, now))
            .unwrap_or_default()
    }
}

fn shown(meanings: &[Meaning<'_>], format: Option<&str>) -> String {
    let document = || Node::List(meanings.iter().map(Meaning::node).collect());
    match format {
        Some("json") => print::version_json(&document()),
        Some("yaml") => print::version_yaml(&document()),
        _ => {
            let rows: Vec<_> = meanings.iter().map(Meaning::row).collect();
            let header = [
                "NAME",
                "RESOURCE",
                "SHORTNAMES",
                "APIVERSION",
                "SCOPE",
                "KIND",
                "SOURCE",
                "AGE",
                "VERBS",
            ];
            style::table(header, &rows)
        }
    }
}

impl Meaning<'_> {
    fn row(&self) -> [String; 9] {
        let mapping = &self.mapping;
        [
            self.asked.to_owned(),
            mapping.resource.to_string(),
            mapping.short_names.join(","),
            mapping.group_version.to_string(),
            mapping.scope.to_string(),
            mapping.kind.to_string(),
            self.source.cache.clone(),
            self.source.age(),
            mapping.verbs.join(","),
        ]
    }

    fn node(&self) -> Node<'_> {
        let mapping = &*self.mapping;
        let mut fields = vec![
            ("name", Node::Text(self.asked)),
            ("resource", Node::Text(&mapping.resource)),
            ("singular", Node::Text(&mapping.singular)),
            ("shortNames", texts(&mapping.short_names)),
            ("group", Node::Text(mapping.group_version.group())),
            ("version", Node::Text(mapping.group_version.version())),
            ("kind", Node::Text(&mapping.kind)),
            ("namespaced", Node::Bool(mapping.scope == Scope::Namespaced)),
            ("categories", texts(&mapping.categories)),
            ("verbs", texts(&mapping.verbs)),
            ("source", Node::Text(&self.source.cache)),
        ];
        if !self.source.time.is_empty() {
            fields.push(("since", Node::Text(&self.source.time)));
        }
        Node::Map(fields)
    }
}

fn texts(texts: &[Text]) -> Node<'_> {
    Node::List(texts.iter().map(|text| Node::Text(text)).collect())
}
