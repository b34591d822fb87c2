//! `watch`.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use discovery_client::live::{Change, Live};
use discovery_core::{GroupVersionResource, Snapshot};
use tokio::time::{sleep, timeout};

use crate::errors::Fatal;
use crate::printable::printable;
use crate::session::Session;
use crate::style::Colours;
use crate::values;

/// How often failures are looked for.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The time between two questions to the server, where nothing has announced a change before. At
    /// least 100ms.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    interval: Duration,

    /// Don't watch CustomResourceDefinitions and APIServices; only ask at each interval.
    #[arg(long)]
    no_watch: bool,

    /// End after this time, instead of when interrupted.
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
    limit: Option<Duration>,
}

pub(crate) fn run(session: &Session, flags: &Watch) -> Result<(), Fatal> {
    let watched = follow(session, flags);
    let Some(limit) = flags.limit else {
        return session.wait(watched);
    };
    // The time being over is success, whatever has been seen.
    session.wait(async { timeout(limit, watched).await.unwrap_or(Ok(())) })
}

async fn follow(session: &Session, flags: &Watch) -> Result<(), Fatal> {
    let fail = |failure| Fatal::failure(&failure, &session.url);
    let live = Live::new(session.client.clone())
        .interval(flags.interval)
        .watch(!flags.no_watch)
        .start();
    let mut before = live.ready().await.map_err(fail)?;
    let mut changes = live.changes();
    crate::eprint(&format!(
        "watching {} resource types\n",
        before.lists().map(|(_, list)| types(list)).sum::<usize>()
    ));
    let colours = Colours::of_stdout();
    // Between the two calls above something may have changed already.
    let mut now = live.snapshot();
    let mut is_failing = false;
    loop {
        let change = Change::between(&before, &now);
        crate::print(&lines(&change, &before, &now, colours))?;
        before = now;
        now = loop {
            // A failure is no change; it is looked for.
            tokio::select! {
                next = changes.next() => match next {
                    Some((_, next)) => break next,
                    None => return Ok(()),
                },
                () = sleep(flags.interval.clamp(SHORTEST, LONGEST)) => {
                    let failure = live.latest().failure.clone();
                    if let (Some(failure), false) = (&failure, is_failing) {
                        let why = Fatal::failure(failure, &session.url).to_string();
                        let why = printable(&why);
                        crate::eprint(&format!("{why}\nthe server is asked again from time to time\n"));
                    }
                    is_failing = failure.is_some();
                }
            }
        };
    }
}

fn types(list: &discovery_core::kube::document::ApiResourceList) -> usize {
    let resources = list.resources.iter();
    resources
        .filter(|resource| !resource.is_subresource())
        .count()
}

/// A line for each resource type. Subresources come and go with theirs.
fn lines(change: &Change, before: &Arc<Snapshot>, now: &Arc<Snapshot>, colours: Colours) -> String {
    let parts = [
        ('+', &change.added, now),
        ('-', &change.removed, before),
        ('~', &change.changed, now),
    ];
    let lines = parts.into_iter().flat_map(|(mark, resources, snapshot)| {
        let types = resources.iter();
        let types = types.filter(|resource| !resource.resource.contains('/'));
        types.map(move |resource| colours.line(mark, &described(resource, snapshot)))
    });
    lines.collect()
}

fn described(resource: &GroupVersionResource, snapshot: &Snapshot) -> String {
    let GroupVersionResource {
        group_version,
        resource: name,
        ..
    } = resource;
    let list = snapshot.resources(group_version.as_str());
    let mut entries = list.iter().flat_map(|list| &list.resources);
    let kind = entries
        .find(|entry| entry.name == *name)
        .map_or("", |entry| &entry.kind);
    format!("{group_version} {name} {kind}")
}
