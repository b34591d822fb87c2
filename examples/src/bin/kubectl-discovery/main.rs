//! `kubectl-discovery`: what a Kubernetes API server serves, through kubectl's caches.
//!
//! A program that shows the whole stack at work: see `--help`. It ends in milliseconds when the
//! files know the answer, for then it builds no TLS client, runs no credential plugin and opens no
//! socket.

mod args;
mod counted;
mod errors;
mod print;
mod progress;
mod raw;
mod resources;
mod select;
mod server;
mod session;
mod stats;
mod transport;
mod values;
mod version;
mod versions;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Arguments, Command};
use crate::errors::Fatal;
use crate::session::Session;

fn main() -> ExitCode {
    let started = Instant::now();
    let Arguments { global, command } = Arguments::parse();
    trace(global.verbosity);
    let stats = global.stats;

    let mut session = None;
    let outcome = match command {
        Command::Version(flags) if flags.client => version::client(&flags),
        command => Session::start(global).and_then(|new| {
            let session = session.insert(new);
            match command {
                Command::ApiResources(flags) => resources::run(session, flags),
                Command::ApiVersions => versions::run(session),
                Command::Version(flags) => version::run(session, &flags),
                Command::Get(flags) => raw::run(session, &flags),
            }
        }),
    };
    if let (true, Some(session)) = (stats, &session) {
        eprint(&stats::report(session, started));
    }
    if let Some(session) = session {
        session.end();
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            let message = fatal.to_string();
            if !message.is_empty() {
                eprint(&format!("{message}\n"));
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

/// Events go to stderr. Warnings always do.
fn trace(verbosity: u8) {
    let (own, others) = match verbosity {
        0 => (LevelFilter::WARN, LevelFilter::ERROR),
        1..=4 => (LevelFilter::INFO, LevelFilter::WARN),
        5..=7 => (LevelFilter::DEBUG, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    let targets = Targets::new()
        .with_default(others)
        // The crates are all named `discovery_…`.
        .with_target("discovery", own)
        // That the cache directory can't be written is told once, by the discovery files.
        .with_target(
            "discovery_http_cache",
            if verbosity == 0 { others } else { own },
        )
        .with_target("kubectl_discovery", own);
    let events = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time();
    tracing_subscriber::registry()
        .with(events)
        .with(targets)
        .init();
}
