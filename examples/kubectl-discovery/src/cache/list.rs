//! `cache list`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::args::List;
use super::check::damage;
use super::files::{Found, What, discovery, http, negative};
use crate::errors::Fatal;
use crate::printable::printable_json;
use crate::style;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    discovery: Vec<Server>,
    http: Http,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    server: String,
    files: usize,
    bytes: u64,
    /// The ages, in seconds.
    oldest_seconds: u64,
    newest_seconds: u64,
    expired: usize,
    negative: usize,
    temporary: usize,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    entries: usize,
    bytes: u64,
    damaged: usize,
    temporary: usize,
}

pub(super) fn run(root: &Path, ttl: Duration, flags: &List) -> Result<(), Fatal> {
    let now = SystemTime::now();
    let mut servers: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for file in discovery(root)?.into_iter().chain(negative(root)?) {
        let server = file.server.clone().unwrap_or_default();
        servers.entry(server).or_default().push(file);
    }
    let servers = servers.into_iter();
    let report = Report {
        discovery: servers
            .map(|(server, files)| Server::of(server, &files, ttl, now))
            .collect(),
        http: Http::of(&http(root)?),
    };
    if flags.output.is_some() {
        let json = serde_json::to_string_pretty(&report).map_err(Fatal::new)?;
        return crate::print(&format!("{}\n", printable_json(&json)));
    }
    crate::print(&report.tables())
}

impl Server {
    fn of(server: String, all: &[Found], ttl: Duration, now: SystemTime) -> Self {
        let is_document = |file: &&Found| matches!(file.what, What::Groups | What::Resources(_));
        let (files, others): (Vec<_>, Vec<_>) = all.iter().partition(is_document);
        let temporary = |file: &&&Found| file.what == What::Temporary;
        let temporary = others.iter().filter(temporary).count();
        let ages = || files.iter().map(|file| file.age(now));
        Self {
            server,
            files: files.len(),
            bytes: all.iter().map(|file| file.bytes).sum(),
            oldest_seconds: ages().max().unwrap_or_default().as_secs(),
            newest_seconds: ages().min().unwrap_or_default().as_secs(),
            expired: ages().filter(|age| *age > ttl).count(),
            negative: others.len() - temporary,
            temporary,
        }
    }
}

impl Http {
    fn of(all: &[Found]) -> Self {
        let mut http = Self::default();
        for file in all {
            http.bytes += file.bytes;
            if file.what == What::Temporary {
                http.temporary += 1;
            } else {
                http.entries += 1;
                http.damaged += usize::from(damage(file).is_some());
            }
        }
        http
    }
}

impl Report {
    fn tables(&self) -> String {
        let age = |seconds| style::age(Duration::from_secs(seconds));
        let rows: Vec<_> = self
            .discovery
            .iter()
            .map(|server| {
                [
                    server.server.clone(),
                    server.files.to_string(),
                    server.bytes.to_string(),
                    age(server.oldest_seconds),
                    age(server.newest_seconds),
                    server.expired.to_string(),
                    server.negative.to_string(),
                    server.temporary.to_string(),
                ]
            })
            .collect();
        let header = [
            "SERVER",
            "FILES",
            "BYTES",
            "OLDEST",
            "NEWEST",
            "EXPIRED",
            "NEGATIVE",
            "TEMPORARY",
        ];
        let mut text = style::table(header, &rows);
        let http = &self.http;
        let numbers = [http.entries, http.damaged, http.temporary].map(|number| number.to_string());
        let [entries, damaged, temporary] = numbers;
        let row = [entries, http.bytes.to_string(), damaged, temporary];
        text.push('\n');
        text += &style::table(["HTTP ENTRIES", "BYTES", "DAMAGED", "TEMPORARY"], &[row]);
        text
    }
}
