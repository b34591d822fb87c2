//! `version`: ours and the server's.

use discovery_client::VersionInfo;

use crate::args::Version;
use crate::errors::Fatal;
use crate::print::{self, Node};
use crate::session::Session;

/// The version of Kubernetes whose kubectl this program does the same as.
const FOLLOWED: &str = "1.37";

/// The versions without asking a server.
pub(crate) fn client(flags: &Version) -> Result<(), Fatal> {
    crate::print(&text(flags, None))
}

/// Both versions; ours also where the server's can't be had.
pub(crate) fn run(session: &Session, flags: &Version) -> Result<(), Fatal> {
    let server = session.wait(session.client.server_version());
    if let Some(fatal) = server.as_ref().err().and_then(Fatal::of_configuration) {
        return Err(fatal);
    }
    crate::print(&text(flags, server.as_ref().ok()))?;
    let version = server.map_err(|failure| Fatal::failure(&failure, &session.url))?;
    // kubectl compares it with its own.
    if !is_version(&version.git_version) {
        return Err(Fatal::new(format_args!(
            "server version error: could not parse {:?} as version",
            version.git_version
        )));
    }
    Ok(())
}

/// Whether the server is of the version whose kubectl this program follows. kubectl compares more, down to the commit.
pub(crate) fn check(session: &Session) -> Result<(), Fatal> {
    let server = session.wait(session.client.server_version());
    let server = server.map_err(|failure| {
        Fatal::of_configuration(&failure).unwrap_or_else(|| Fatal::failure(&failure, &session.url))
    })?;
    let version = server.git_version.strip_prefix('v').unwrap_or_default();
    let behind = version.strip_prefix(FOLLOWED);
    if behind.is_some_and(|behind| behind.starts_with('.')) {
        return Ok(());
    }
    Err(Fatal::new(format_args!(
        "server version ({}) differs from client version (v{FOLLOWED})",
        server.git_version
    )))
}

/// Whether it has three numbers with dots between, and a `v` before them or not.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let numbers: Vec<_> = text[..end].split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u64>().is_ok())
}

fn text(flags: &Version, server: Option<&VersionInfo>) -> String {
    let own = concat!("v", env!("CARGO_PKG_VERSION"));
    let node = || {
        let mut fields = vec![(
            "clientVersion",
            Node::Map(vec![("gitVersion", Node::Text(own))]),
        )];
        if let Some(server) = server {
            fields.push(("serverVersion", document(server)));
        }
        Node::Map(fields)
    };
    match (flags.output.as_deref(), server) {
        (Some("json"), _) => print::version_json(&node()),
        // kubectl ends this with an empty line.
        (Some("yaml"), _) => print::version_yaml(&node()) + "\n",
        (_, Some(server)) => {
            format!(
                "Client Version: {own}\nServer Version: {}\n",
                server.git_version
            )
        }
        (_, None) => format!("Client Version: {own}\n"),
    }
}

fn document(version: &VersionInfo) -> Node<'_> {
    let fields = [
        ("major", &version.major),
        ("minor", &version.minor),
        ("emulationMajor", &version.emulation_major),
        ("emulationMinor", &version.emulation_minor),
        ("minCompatibilityMajor", &version.min_compatibility_major),
        ("minCompatibilityMinor", &version.min_compatibility_minor),
        ("gitVersion", &version.git_version),
        ("gitCommit", &version.git_commit),
        ("gitTreeState", &version.git_tree_state),
        ("buildDate", &version.build_date),
        ("goVersion", &version.go_version),
        ("compiler", &version.compiler),
        ("platform", &version.platform),
    ];
    let optional = |name: &str| name.starts_with("emulation") || name.starts_with("minCompat");
    let fields = fields
        .into_iter()
        .filter(|(name, value)| !(optional(name) && value.is_empty()));
    Node::Map(
        fields
            .map(|(name, value)| (name, Node::Text(value)))
            .collect(),
    )
}
