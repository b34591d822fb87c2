//! `cache prune` and `cache clear`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use discovery_client::request_defaults::go_duration;
use discovery_core::http::uri;
use discovery_core::{Endpoint, GroupVersion};
use http::Uri;
use serde_json::Value;

use super::args::Prune;
use super::check::{damage, entry, read};
use super::explain::{entry_path, key_path};
use super::files::{
    Found, TEMPORARY, What, all, discovery, discovery_dir, failed, http_dir, negative, negative_dir,
};
use crate::errors::Fatal;
use crate::printable::printable;
use crate::progress::Count;
use crate::session::Session;
use crate::style;

/// A temporary file that was last written this long ago is nobody's any more.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Removes files, or tells which it would.
#[derive(Debug)]
pub(super) struct Remover {
    dry_run: bool,
    /// The directories that stay, even if they are empty.
    keep: [PathBuf; 3],
    /// Those that may be empty now.
    parents: BTreeSet<PathBuf>,
    files: usize,
    bytes: u64,
    failure: Option<Fatal>,
}

impl Remover {
    pub(super) fn new(root: &Path, dry_run: bool) -> Self {
        Self {
            dry_run,
            keep: [discovery_dir(root), http_dir(root), negative_dir(root)],
            parents: BTreeSet::new(),
            files: 0,
            bytes: 0,
            failure: None,
        }
    }

    /// Removes a file. One that can't be removed does not keep the others, and neither does an output
    /// that nobody reads: half of the work would be worse.
    pub(super) fn remove(&mut self, file: &Found, why: &str) {
        let path = &file.path;
        if !self.dry_run {
            // Never a link's target: removing acts on the name itself.
            match fs::remove_file(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(error) => {
                    self.failure.get_or_insert(failed("remove", path, &error));
                    return;
                }
            }
            self.parents.extend(path.parent().map(Path::to_path_buf));
        }
        self.files += 1;
        self.bytes += file.bytes;
        let did = if self.dry_run {
            "would remove"
        } else {
            "removed"
        };
        let path = path.display().to_string();
        let line = format!("{did} {} ({})\n", printable(&path), printable(why));
        if let Err(error) = crate::print(&line) {
            self.failure.get_or_insert(error);
        }
    }

    /// Removes directories that are empty now.
    pub(super) fn end(&mut self) -> Result<(), Fatal> {
        let [.., negative] = &self.keep;
        for dir in std::mem::take(&mut self.parents).into_iter().rev() {
            let is_negative = dir.starts_with(negative);
            if is_negative {
                let _ = fs::remove_dir(dir.join(TEMPORARY));
            }
            let below = |dir: &&Path| {
                self.keep
                    .iter()
                    .any(|keep| dir.starts_with(keep) && dir != keep)
            };
            // kubectl does not have that of negative entries, nor the one above it: they go with their last file.
            let above = negative.ancestors().take(if is_negative { 2 } else { 0 });
            // Fails for one that is not empty, which ends the way up.
            let mut up = dir.ancestors().take_while(below).chain(above);
            while up.next().is_some_and(|dir| fs::remove_dir(dir).is_ok()) {}
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    fn summary(&self) -> Result<(), Fatal> {
        let (files, bytes) = (self.files, self.bytes);
        let did = if self.dry_run {
            "would be removed"
        } else {
            "removed"
        };
        crate::print(&format!("{files} files with {bytes} bytes {did}\n"))
    }
}

pub(super) fn prune(root: &Path, flags: &Prune) -> Result<(), Fatal> {
    let now = SystemTime::now();
    let files = all(root)?;
    let mut remover = Remover::new(root, flags.dry_run);
    let bar = Count::new("looking at", files.len());
    for file in &files {
        bar.advance();
        let age = file.age(now);
        let is_discovery = !matches!(file.what, What::Entry | What::Temporary);
        let why = if file.what == What::Temporary {
            (age >= ABANDONED).then(|| format!("temporary, {} old", style::age(age)))
        } else if is_discovery && age >= flags.older_than {
            Some(format!("{} old", style::age(age)))
        } else {
            damage(file)
        };
        if let Some(why) = why.filter(|_| file.is_unchanged()) {
            bar.around(|| remover.remove(file, &why));
        }
    }
    drop(bar);
    remover.end()?;
    remover.summary()
}

/// Removes all files of both caches.
pub(super) fn clear_all(root: &Path, dry_run: bool) -> Result<(), Fatal> {
    remove_all(root, &all(root)?, dry_run)
}

/// Removes the files of the server of a session.
pub(super) fn clear(session: &Session, dry_run: bool) -> Result<(), Fatal> {
    let root = &session.root;
    // An address without a directory has no files.
    let server = uri::server_directory(&session.address).ok();
    let mut files = discovery(root)?;
    files.extend(negative(root)?);
    files.retain(|file| file.server == server);
    let entries = entries(session, &files);
    files.extend(entries);
    remove_all(root, &files, dry_run)
}

fn remove_all(root: &Path, files: &[Found], dry_run: bool) -> Result<(), Fatal> {
    let mut remover = Remover::new(root, dry_run);
    let bar = Count::new("removing", files.len());
    for file in files {
        bar.advance();
        let why = match &file.what {
            What::Groups => "groups",
            What::Resources(group_version) => group_version,
            What::Negative(_) => "negative entry",
            What::Entry => "HTTP entry",
            What::Temporary => "temporary",
        };
        bar.around(|| remover.remove(file, why));
    }
    drop(bar);
    remover.end()?;
    remover.summary()
}

/// The entries of the HTTP cache whose URLs the server's discovery files and its list of OpenAPI
/// documents tell.
fn entries(session: &Session, discovery: &[Found]) -> Vec<Found> {
    let mut endpoints = vec![
        Endpoint::Api,
        Endpoint::Apis,
        Endpoint::Version,
        Endpoint::OpenApiV2,
        Endpoint::OpenApiV3,
    ];
    for file in discovery {
        if let What::Resources(name) = &file.what
            && let Ok(group_version) = name.parse::<GroupVersion>()
        {
            if !group_version.group().is_empty() {
                endpoints.push(Endpoint::Group(group_version.group().into()));
            }
            endpoints.push(Endpoint::Resources(group_version));
        }
    }
    let mut targets: BTreeSet<String> = endpoints
        .iter()
        .map(|endpoint| endpoint.path().into_owned())
        .collect();
    targets.extend(documents(session));
    let urls = targets.iter().flat_map(|target| urls(session, target));
    let mut paths = BTreeSet::new();
    for url in urls {
        paths.extend(entry_path(&session.root, &url));
        // The note of which document is the latest, as the HTTP cache keys it.
        if let Some((document, query)) = url.to_string().split_once('?')
            && query.starts_with("hash=")
        {
            paths.insert(key_path(&session.root, &format!("latest of {document}")));
        }
    }
    let found = paths.iter().map(|path| Found::at(path, What::Entry));
    found.filter_map(Result::ok).collect()
}

/// The targets of the OpenAPI documents that a stored list names.
fn documents(session: &Session) -> Vec<String> {
    let index = urls(session, &Endpoint::OpenApiV3.path());
    let mut targets = Vec::new();
    let paths = index
        .iter()
        .filter_map(|url| entry_path(&session.root, url));
    for path in paths {
        let answer = Found::at(&path, What::Entry)
            .ok()
            .and_then(|found| read(&found).ok())
            .and_then(|bytes| entry(&bytes).ok().flatten());
        let index: Option<Value> =
            answer.and_then(|answer| serde_json::from_slice(answer.body()).ok());
        let paths = index.as_ref().and_then(|index| index["paths"].as_object());
        for url in paths.into_iter().flat_map(|paths| paths.values()) {
            targets.extend(url["serverRelativeURL"].as_str().map(str::to_owned));
        }
    }
    targets
}

/// The URLs that a target is asked with: kubectl's timeout, that of this run, and none.
fn urls(session: &Session, target: &str) -> Vec<Uri> {
    let server = &session.url;
    let base = server.path().trim_end_matches('/');
    let target = target.strip_prefix(base).unwrap_or(target);
    let mark = if target.contains('?') { '&' } else { '?' };
    let timeout = session.timeout.map(go_duration);
    let timeouts = ["32s".to_owned()].into_iter().chain(timeout);
    let timeouts = timeouts.map(|timeout| format!("{mark}timeout={timeout}"));
    let targets: Vec<_> = timeouts
        .chain([String::new()])
        .map(|timeout| format!("{base}{target}{timeout}"))
        .collect();
    targets
        .into_iter()
        .filter_map(|target| uri::resolve(server, &target))
        .filter(|url| uri::same_origin(server, url))
        .collect()
}
