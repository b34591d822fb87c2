//! `api-resources`.

use discovery_client::preferred;

use crate::args::ApiResources;
use crate::errors::Fatal;
use crate::print::{self, Row};
use crate::progress::Bar;
use crate::select::select;
use crate::session::Session;

pub(crate) fn run(session: &Session, flags: ApiResources) -> Result<(), Fatal> {
    if !flags.cached {
        session.forget();
    }
    let mut bar = Bar::default();
    let found = session.wait(session.client.discover_with(|progress| bar.show(progress)));
    drop(bar);
    let found = found.map_err(|failure| Fatal::failure(&failure, &session.url))?;

    let resources = preferred(&found.snapshot);
    let mut rows: Vec<_> = resources
        .iter()
        .map(|resource| Row {
            group_version: resource.group_version(),
            resource,
        })
        .collect();
    // Of a server without any resource, kubectl prints nothing at all; filters that leave nothing
    // are another matter.
    if !rows.is_empty() {
        let (format, sort_by) = (flags.format(), flags.sort_by());
        select(&mut rows, &flags.into_filter(), sort_by);
        crate::print(&print::resources(&rows, format))?;
    }
    // The lists that were found are printed first, whatever is missing.
    let outcome = Fatal::partial(&found.failed, &session.url).map_or(Ok(()), Err);
    // The program is about to end: giving thousands of documents back would only cost time.
    std::mem::forget((resources, found));
    outcome
}
