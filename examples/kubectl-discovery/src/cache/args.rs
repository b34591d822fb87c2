//! The arguments of `cache`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::values;

/// A week: nobody asks that server any more.
const OLD: &str = "168h";

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// List the servers whose discovery files are kept, and the HTTP cache.
    ///
    /// EXPIRED counts the files that are older than --cache-ttl, NEGATIVE the answers that other programs keep for group
    /// versions without a list.
    #[command(args_override_self = true)]
    List(List),
    /// Tell which files would answer a request to the server of the current context, and whether they can.
    #[command(args_override_self = true)]
    Explain(Explain),
    /// Read all files and report the damaged ones; the exit code is 1 if there are any.
    #[command(args_override_self = true)]
    Verify(Verify),
    /// Remove files that are of no use: old discovery files, damaged ones, and temporary files of
    /// programs that were killed.
    #[command(args_override_self = true)]
    Prune(Prune),
    /// Remove the files of the server of the current context.
    ///
    /// The HTTP cache names its files by a checksum of the URL, so that those of one server can't be
    /// listed. Those of discovery, of the version and of OpenAPI are removed, as far as the files tell
    /// which there are; --all removes all.
    #[command(args_override_self = true)]
    Clear(Clear),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Output format, instead of tables.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    pub(super) output: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A path below the server's own, such as /apis/apps/v1, or a URL of the server.
    #[arg(value_name = "PATH|URL")]
    pub(super) target: String,

    /// Output format, instead of a table.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"])]
    pub(super) output: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Remove the damaged files.
    #[arg(long)]
    pub(super) remove: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// The age from which on discovery files are removed.
    #[arg(long, value_name = "DURATION", default_value = OLD, value_parser = values::duration)]
    pub(super) older_than: Duration,

    /// Only print what would be removed.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Clear {
    /// Remove the files of all servers.
    #[arg(long)]
    pub(super) all: bool,

    /// Only print what would be removed.
    #[arg(long)]
    pub(super) dry_run: bool,
}
