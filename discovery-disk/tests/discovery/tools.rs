//! A server that counts, a directory that goes away, and what is in it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use discovery_core::Format;
use discovery_core::engine::{Body, ParsedAnswer};
use discovery_core::testing::fixtures::{self, Group};
use discovery_core::testing::{self, ScriptedService};
use discovery_disk::DiskDiscoveryLayer;
use http::header::ACCEPT;
use http::{Request, Response};
use http_body_util::Full;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};

use crate::files;
#[cfg(unix)]
pub(crate) use crate::files::{inode, mode, set_mode};

pub(crate) type Req = Request<Full<Bytes>>;
pub(crate) type Res = Response<Full<Bytes>>;
pub(crate) type Answer = Response<Body<Full<Bytes>>>;

pub(crate) const GROUPS: &str = concat!(
    r#"{"kind":"APIGroupList","apiVersion":"v1","groups":["#,
    r#"{"name":"","versions":[{"groupVersion":"v1","version":"v1"}],"preferredVersion":{"groupVersion":"v1","version":"v1"}},"#,
    r#"{"name":"a","versions":[{"groupVersion":"a/v2","version":"v2"},{"groupVersion":"a/v1","version":"v1"}],"preferredVersion":{"groupVersion":"a/v2","version":"v2"}},"#,
    r#"{"name":"s","versions":null,"preferredVersion":{"groupVersion":"","version":""}}]}"#,
    "\n"
);

/// The file of a list with one resource.
pub(crate) fn file(group_version: &str, resource: &str) -> String {
    let list = r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":""#;
    format!(
        "{list}{group_version}\",\"resources\":[{{\"name\":\"{resource}\",\"singularName\":\"\",\"namespaced\":false,\"kind\":\"X\",\"verbs\":[\"get\"]}}]}}\n"
    )
}

/// The files in the directory after everything has been discovered.
pub(crate) fn all_files() -> Vec<(String, String)> {
    vec![
        ("a/v1/serverresources.json".into(), file("a/v1", "xs")),
        ("a/v2/serverresources.json".into(), file("a/v2", "xs")),
        ("servergroups.json".into(), GROUPS.into()),
        ("v1/serverresources.json".into(), file("v1", "pods")),
    ]
}

/// A server with three groups: the core group, `a` in two versions, and `s`, which is stale.
#[derive(Clone)]
pub(crate) struct Server {
    service: Service,
}

type Service = ScriptedService<Full<Bytes>, io::Error>;

impl Default for Server {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Server {
    pub(crate) fn new(legacy: bool) -> Self {
        let service = Service::default();
        service.fallback(move |request| Ok(answer(request.uri().path(), legacy)));
        Self { service }
    }

    pub(crate) fn legacy() -> Self {
        Self::new(true)
    }

    /// From now on this path has this answer.
    pub(crate) fn set(&self, path: &str, answer: Res) {
        self.service.respond_at(path, move |_| answer.clone());
    }

    /// From now on no request gets an answer, but this error.
    pub(crate) fn go_away(&self, error: &'static str) {
        self.service.fallback(move |_| Err(io::Error::other(error)));
    }

    /// Answers wait for the gate.
    pub(crate) fn hold(&self, gate: &testing::Gate) {
        self.service.hold_answers(gate);
    }

    /// The paths that were asked since the last call, sorted.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut asked = self.service.take_paths();
        asked.sort();
        asked
    }

    pub(crate) fn service(&self) -> BoxCloneSyncService<Req, Res, io::Error> {
        BoxCloneSyncService::new(self.service.clone())
    }

    pub(crate) fn ask_with(&self, layer: &DiskDiscoveryLayer, path: &str, accept: &str) -> Answer {
        let request = Request::get(path)
            .header(ACCEPT, accept)
            .body(Full::default())
            .unwrap();
        tokio_test::block_on(layer.layer(self.service()).oneshot(request)).unwrap()
    }

    pub(crate) fn ask(&self, layer: &DiskDiscoveryLayer, path: &str) -> Answer {
        self.ask_with(layer, path, "application/json")
    }

    /// Asks for the groups and every list, and tells whether all were hits.
    pub(crate) fn ask_all(&self, layer: &DiskDiscoveryLayer) -> bool {
        let mut hits = true;
        for path in ["/apis", "/api", "/api/v1", "/apis/a/v1", "/apis/a/v2"] {
            let answer = self.ask(layer, path);
            assert_eq!(answer.status(), 200, "{path}");
            hits &= answer.extensions().get::<ParsedAnswer>().unwrap().hit;
        }
        hits
    }
}

fn answer(path: &str, legacy: bool) -> Res {
    let aggregated = |groups: &[Group]| json(Format::V2, &fixtures::aggregated(groups));
    match path {
        "/api" if legacy => json(Format::Legacy, &fixtures::api_versions(&["v1"])),
        "/api" => aggregated(&[Group::new("").version("v1", &["pods"])]),
        // Its groups are those of the file, with the core group apart.
        "/apis" if legacy => {
            let (_, groups) = GROUPS.split_once(r#"{"name":"a""#).unwrap();
            let groups = format!(r#"{{"kind":"APIGroupList","groups":[{{"name":"a"{groups}"#);
            json(Format::Legacy, &groups)
        }
        "/apis" => aggregated(&[
            Group::new("a")
                .version("v2", &["xs"])
                .version("v1", &["xs"]),
            Group::new("s").stale_version("v1"),
        ]),
        "/api/v1" => json(Format::Legacy, &file("v1", "pods")),
        "/apis/a/v1" => json(Format::Legacy, &file("a/v1", "xs")),
        "/apis/a/v2" => json(Format::Legacy, &file("a/v2", "xs")),
        _ => Response::builder()
            .status(404)
            .body("404 page not found\n".into())
            .unwrap(),
    }
}

pub(crate) fn json(format: Format, body: &str) -> Res {
    fixtures::document(format, body.to_owned())
}

pub(crate) fn text(answer: Answer) -> String {
    tokio_test::block_on(testing::read_text(answer))
}

/// A layer that asks for one list alone, so that a test needs only one answer and one file.
pub(crate) fn of_single_lists(dir: impl Into<PathBuf>) -> DiskDiscoveryLayer {
    DiskDiscoveryLayer::new(dir).single_lists(true)
}

/// A directory that goes away with the test, and that of a server below it, which is not there.
pub(crate) fn directory() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let server = dir.path().join("cache/discovery/10.0.0.1_6443");
    (dir, server)
}

/// A directory in which everything has been written by somebody else.
pub(crate) fn warm_directory() -> (tempfile::TempDir, PathBuf) {
    let (dir, server) = directory();
    for (name, content) in all_files() {
        let path = server.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        #[cfg(unix)]
        set_mode(&path, 0o660);
    }
    (dir, server)
}

/// All files below a directory, sorted, with what is in them.
pub(crate) fn tree(dir: &Path) -> Vec<(String, String)> {
    let text = |(name, content)| (name, String::from_utf8(content).unwrap());
    files::tree(dir).into_iter().map(text).collect()
}

/// An aggregated answer of groups with a resource each.
pub(crate) fn serve_groups(server: &Server, names: impl Iterator<Item = String>, resource: &str) {
    let groups: Vec<_> = names
        .map(|name| Group::new(name).version("v1", &[resource]))
        .collect();
    server.set("/apis", json(Format::V2, &fixtures::aggregated(&groups)));
}

/// A test that needs what is not there says so, and ends.
#[cfg(unix)]
pub(crate) fn skipped(why: &str) {
    #[allow(clippy::print_stderr, reason = "nobody else is there to tell")]
    {
        eprintln!("skipped: {why}");
    }
}

pub(crate) fn set_modified(path: &Path, time: SystemTime) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

pub(crate) fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

/// A time long ago, with nanoseconds.
pub(crate) fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789)
}
