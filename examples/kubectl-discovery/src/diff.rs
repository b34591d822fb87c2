//! `diff`.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use clap::Args;
use discovery_core::{Discovered, GroupVersion, Text};

use crate::args::Global;
use crate::errors::Fatal;
use crate::printable::printable;
use crate::session::Session;
use crate::style::Colours;

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The two contexts of the kubeconfig to compare.
    #[arg(value_names = ["CONTEXT", "CONTEXT"], num_args = 2, required = true)]
    contexts: Vec<String>,

    /// Use the cached lists of resources if available.
    #[arg(long)]
    cached: bool,

    /// Output format: "name" prints only the lines that differ, without what is different.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["name"])]
    output: Option<String>,
}

/// The resources of a cluster.
#[derive(Default)]
struct Cluster {
    lists: BTreeMap<GroupVersion, BTreeMap<Text, Entry>>,
    /// Group versions without a list, of which nothing can be said.
    unknown: BTreeSet<GroupVersion>,
    /// Why they have none.
    failure: Option<Fatal>,
}

/// The part of a resource's entry that is compared. Servers differ in the order of names.
#[derive(PartialEq, Eq)]
struct Entry {
    kind: Text,
    namespaced: bool,
    verbs: BTreeSet<Text>,
    short_names: BTreeSet<Text>,
}

pub(crate) fn run(global: &Global, flags: &Diff) -> Result<(), Fatal> {
    if global.embedded || global.server.as_deref().is_some_and(|url| !url.is_empty()) {
        return Err(Fatal::new(
            "diff compares the servers of two contexts: it takes neither --server nor --embedded",
        ));
    }
    let [one, other] = flags.contexts.as_slice() else {
        return Err(Fatal::new("diff needs two contexts"));
    };
    let (left, right) = thread::scope(|scope| {
        let left = scope.spawn(|| Cluster::ask(global, one, flags.cached));
        let right = Cluster::ask(global, other, flags.cached);
        (left.join(), right)
    });
    let left = left.map_err(|_| Fatal::new(format_args!("{one}: it could not be asked")))?;
    let (left, right) = match (left, right) {
        (Ok(left), Ok(right)) => (left, right),
        (left, right) => {
            let failed = [(one, left.err()), (other, right.err())];
            return Err(all(failed));
        }
    };
    let lines = differences(&left, &right, flags.output.is_some());
    if !lines.is_empty() {
        let mut text = String::new();
        if flags.output.is_none() {
            text = format!("--- {}\n+++ {}\n", printable(one), printable(other));
        }
        let colours = Colours::of_stdout();
        text.extend(lines.iter().map(|(mark, line)| colours.line(*mark, line)));
        crate::print(&text)?;
    }
    if left.failure.is_some() || right.failure.is_some() {
        return Err(all([(one, left.failure), (other, right.failure)]));
    }
    if lines.is_empty() {
        return Ok(());
    }
    // The lines have said it.
    Err(Fatal::plain(String::new()))
}

/// The errors of the contexts that have one, a line for each.
fn all(failed: [(&String, Option<Fatal>); 2]) -> Fatal {
    let lines: Vec<_> = failed
        .into_iter()
        .filter_map(|(context, error)| Some(format!("{}: {}", printable(context), error?)))
        .collect();
    Fatal::plain(lines.join("\n"))
}

impl Cluster {
    fn ask(global: &Global, context: &str, cached: bool) -> Result<Self, Fatal> {
        let mut global = global.clone();
        global.context = Some(context.to_owned());
        let must_match = global.match_server_version;
        let session = Session::start(global)?;
        if must_match {
            crate::version::check(&session)?;
        }
        if !cached {
            session.forget();
        }
        let found = session.wait(session.client.discover());
        let found = found.map_err(|failure| Fatal::failure(&failure, &session.url))?;
        let mut cluster = Self::of(&found);
        cluster.failure = Fatal::partial(&found.failed, &session.url);
        session.end();
        Ok(cluster)
    }

    fn of(found: &Discovered) -> Self {
        let mut cluster = Self::default();
        for group_version in found.snapshot.group_versions() {
            let Some(list) = found.snapshot.resources(group_version.as_str()) else {
                cluster.unknown.insert(group_version.clone());
                continue;
            };
            let entries = list.resources.iter().map(|resource| {
                let entry = Entry {
                    kind: resource.kind.clone(),
                    namespaced: resource.namespaced,
                    verbs: resource.verbs().iter().cloned().collect(),
                    short_names: resource.short_names.iter().cloned().collect(),
                };
                (resource.name.clone(), entry)
            });
            cluster
                .lists
                .insert(group_version.clone(), entries.collect());
        }
        cluster.unknown.extend(found.failed.keys().cloned());
        cluster
    }
}

/// The lines of all differences, with their marks, in the order of the names.
fn differences(left: &Cluster, right: &Cluster, names_only: bool) -> Vec<(char, String)> {
    let mut lines = Vec::new();
    let versions: BTreeSet<_> = left.lists.keys().chain(right.lists.keys()).collect();
    for version in versions {
        if left.unknown.contains(version) || right.unknown.contains(version) {
            continue;
        }
        let none = BTreeMap::new();
        let (old, new) = (left.lists.get(version), right.lists.get(version));
        match (old, new) {
            (Some(_), None) => lines.push(('-', version.to_string())),
            (None, Some(_)) => lines.push(('+', version.to_string())),
            _ => {}
        }
        let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in names {
            let line = match (old.get(name), new.get(name)) {
                (Some(entry), None) => ('-', format!("{version} {name} {}", entry.kind)),
                (None, Some(entry)) => ('+', format!("{version} {name} {}", entry.kind)),
                (Some(old), Some(new)) if old != new => {
                    let mut line = format!("{version} {name} {}", old.kind);
                    if !names_only {
                        line.push_str(": ");
                        line.push_str(&old.change_to(new));
                    }
                    ('~', line)
                }
                _ => continue,
            };
            lines.push(line);
        }
    }
    lines
}

impl Entry {
    fn change_to(&self, new: &Self) -> String {
        let mut parts = Vec::new();
        if self.kind != new.kind {
            parts.push(format!("kind {} -> {}", self.kind, new.kind));
        }
        if self.namespaced != new.namespaced {
            let scope = |namespaced| if namespaced { "Namespaced" } else { "Cluster" };
            let (old, new) = (scope(self.namespaced), scope(new.namespaced));
            parts.push(format!("scope {old} -> {new}"));
        }
        let mut sets = |what, old: &BTreeSet<Text>, new: &BTreeSet<Text>| {
            let gone = old.difference(new).map(|name| format!("-{name}"));
            let come = new.difference(old).map(|name| format!("+{name}"));
            let names: Vec<_> = gone.chain(come).collect();
            if !names.is_empty() {
                parts.push(format!("{what} {}", names.join(" ")));
            }
        };
        sets("verbs", &self.verbs, &new.verbs);
        sets("short names", &self.short_names, &new.short_names);
        parts.join(", ")
    }
}
