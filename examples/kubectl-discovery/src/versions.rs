//! `api-versions`.

use crate::errors::Fatal;
use crate::session::Session;

pub(crate) fn run(session: &Session) -> Result<(), Fatal> {
    session.forget();
    let groups = session.wait(session.client.groups());
    let groups = groups.map_err(|failure| Fatal::versions(&failure, &session.url))?;
    let mut versions: Vec<_> = groups.group_versions().collect();
    versions.sort_unstable();
    let lines: String = versions
        .iter()
        .flat_map(|version| [version.as_str(), "\n"])
        .collect();
    crate::print(&lines)
}
