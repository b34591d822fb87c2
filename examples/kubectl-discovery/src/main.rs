//! `kubectl-discovery` prints the APIs of a Kubernetes server, through kubectl's caches.
//!
//! A program that shows the whole stack at work: see `--help`. It ends in milliseconds when the
//! files know the answer, for then it builds no TLS client, runs no credential plugin and opens no
//! socket.

mod args;
mod cache;
mod completion;
mod counted;
mod diff;
mod errors;
mod events;
mod explain;
mod kubeconfig;
mod kuberc;
mod openapi;
mod overrides;
mod print;
mod printable;
mod progress;
mod raw;
mod resolve;
mod resources;
mod select;
mod server;
mod session;
mod stats;
mod style;
mod transport;
mod values;
mod version;
mod versions;
mod warnings;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use crate::args::{Arguments, Command};
use crate::errors::Fatal;
use crate::session::Session;

fn main() -> ExitCode {
    let started = Instant::now();
    let Arguments { global, command } = Arguments::read();
    events::show(global.verbosity);
    let (stats, warnings_as_errors) = (global.stats, global.warnings_as_errors);
    let match_server_version = global.match_server_version;

    let mut session = None;
    let outcome = match command {
        Command::Version(flags) if flags.client => version::client(&flags),
        Command::Completion(flags) => completion::run(&flags),
        Command::Man(flags) => completion::man(&flags),
        Command::Diff(flags) => diff::run(&global, &flags),
        Command::Cache(command) => cache::run(global, &command),
        command => Session::start(global).and_then(|new| {
            let session = session.insert(new);
            if match_server_version {
                version::check(session)?;
            }
            match command {
                Command::ApiResources(flags) => resources::run(session, flags),
                Command::ApiVersions => versions::run(session),
                Command::Version(flags) => version::run(session, &flags),
                Command::Explain(flags) => explain::run(session, &flags),
                Command::Get(flags) => raw::run(session, &flags),
                Command::Resolve(flags) => resolve::run(session, &flags),
                Command::Openapi(flags) => openapi::run(session, &flags),
                Command::Watch(flags) => watch::run(session, &flags),
                // Answered above, for these need no session, or one of their own.
                Command::Diff(_) | Command::Cache(_) | Command::Completion(_) | Command::Man(_) => {
                    Ok(())
                }
            }
        }),
    };
    if let (true, Some(session)) = (stats, &session) {
        eprint(&stats::report(session, started));
    }
    if let Some(session) = session {
        session.end();
    }
    let outcome = outcome.and_then(|()| {
        if warnings_as_errors {
            warnings::as_errors()
        } else {
            Ok(())
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            let message = fatal.to_string();
            if !message.is_empty() {
                eprint(&format!("{}\n", printable::printable_lines(&message)));
            }
            ExitCode::FAILURE
        }
    }
}

/// Writes to stdout, in one piece.
fn print(text: &str) -> Result<(), Fatal> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Fatal::output(&error))
}

fn eprint(text: &str) {
    // If stderr is closed, there is no place left to complain.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
