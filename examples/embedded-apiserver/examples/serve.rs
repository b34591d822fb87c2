//! Runs the embedded API server on loopback until standard input ends, for trying things out and
//! for benchmarks.
//!
//! ```console
//! $ cargo run -p embedded-apiserver --example serve -- --crds 300 --tls --kubeconfig /tmp/embedded.yaml
//! $ kubectl --kubeconfig /tmp/embedded.yaml api-resources
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use embedded_apiserver::EmbeddedServer;

/// An embedded Kubernetes API server on loopback. It ends when its standard input does.
#[derive(Parser)]
struct Arguments {
    /// Serve this many custom resources, five to a group.
    #[arg(long, default_value_t = 0)]
    crds: usize,
    /// Serve this many custom groups, with one resource each.
    #[arg(long, default_value_t = 0)]
    groups: usize,
    /// Serve over TLS, with HTTP/2 and a throw-away CA.
    #[arg(long)]
    tls: bool,
    /// Ask for this bearer token. kubectl sends it over TLS only, and asks for a password there
    /// where a kubeconfig has none.
    #[arg(long)]
    token: Option<String>,
    /// Serve legacy discovery documents only.
    #[arg(long)]
    legacy: bool,
    /// Wait this many milliseconds before each answer.
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// Listen on this port; 0 is any.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Write a kubeconfig for the server to this file.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut server = EmbeddedServer::builder()
        .tls(arguments.tls)
        .legacy_only(arguments.legacy)
        .latency(Duration::from_millis(arguments.latency))
        .port(arguments.port);
    if arguments.crds > 0 {
        server = server.crds(arguments.crds);
    }
    if arguments.groups > 0 {
        server = server.custom_groups(arguments.groups);
    }
    if let Some(token) = arguments.token {
        server = server.token(token);
    }
    let server = server.start_in_thread()?;
    if let Some(path) = &arguments.kubeconfig {
        server.write_kubeconfig(path)?;
    }
    println!("{}", server.url());
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    println!("{} requests", server.counters().total);
    Ok(())
}
