//! `openapi`.

use std::io::{self, Write};

use bytes::Bytes;
use clap::Args;
use discovery_client::openapi::OpenApiFormat;
use discovery_core::http::uri;
use discovery_core::kube::is_success;
use discovery_core::kube::plan::ask;
use discovery_core::{Error as DiscoveryError, GroupVersion};
use http::header::ACCEPT;
use http::uri::PathAndQuery;
use http::{Request, Uri};
use http_body_util::Full;
use serde::de::IgnoredAny;

use crate::errors::Fatal;
use crate::printable::{printable, printable_json};
use crate::session::Session;

/// The largest document that is read.
const MAX_DOCUMENT: u64 = 256 << 20;

#[derive(Debug, Args)]
pub(crate) struct OpenApi {
    /// The group version (apps/v1, v1), or another name of the list (apis/apps, version). Without one,
    /// the names of all documents are printed.
    #[arg(value_name = "GROUP/VERSION")]
    name: Option<String>,

    /// The OpenAPI v2 document, which has everything in one.
    #[arg(long, conflicts_with = "name")]
    v2: bool,

    /// Print the document as the server sends it, and not with indentation.
    #[arg(long)]
    raw: bool,
}

pub(crate) fn run(session: &Session, flags: &OpenApi) -> Result<(), Fatal> {
    let client = session.client.openapi();
    let fail = |failure: DiscoveryError| Fatal::failure(&failure, &session.url);
    if flags.v2 {
        let document = session.wait(client.v2(OpenApiFormat::Json)).map_err(fail)?;
        return show(&document, flags.raw);
    }
    let paths = session.wait(client.v3_paths()).map_err(fail)?;
    let Some(asked) = &flags.name else {
        let lines: String = paths
            .iter()
            .map(|(name, _)| format!("{}\n", printable(name)))
            .collect();
        return crate::print(&lines);
    };
    let name = name(asked, |name| paths.url(name).is_some());
    let Some(url) = name.as_deref().and_then(|name| paths.url(name)) else {
        return Err(Fatal::new(format_args!(
            "the server has no OpenAPI document for {asked:?}; kubectl-discovery openapi lists those that it has"
        )));
    };
    let document = session.wait(fetch(session, url))?;
    show(&document, flags.raw)
}

/// The name in the list: as it is, or that of a group version.
fn name(asked: &str, is_listed: impl Fn(&str) -> bool) -> Option<String> {
    let asked = asked.trim_start_matches('/');
    let of_version = asked.parse::<GroupVersion>().ok();
    let of_version = of_version.map(|group_version| group_version.path());
    let names = [
        of_version.map(|path| path.trim_start_matches('/').to_owned()),
        Some(asked.to_owned()),
    ];
    names.into_iter().flatten().find(|name| is_listed(name))
}

/// Asks for the bytes of a document, through the HTTP cache. The client would parse them.
async fn fetch(session: &Session, url: &str) -> Result<Bytes, Fatal> {
    let uri = located(&session.url, url).ok_or_else(|| {
        Fatal::new(format_args!(
            "the server's list of OpenAPI documents names {url:?}, which is no path of it"
        ))
    })?;
    let mut request = Request::new(Full::<Bytes>::default());
    let accept = http::HeaderValue::from_static(OpenApiFormat::Json.accept());
    request.headers_mut().insert(ACCEPT, accept);
    let path = uri.path().to_owned();
    *request.uri_mut() = uri;
    let answer = ask(session.service.clone(), request, MAX_DOCUMENT)
        .await
        .map_err(|failure| Fatal::failure(&failure, &session.url))?;
    if is_success(answer.status()) {
        return Ok(answer.into_body());
    }
    let failure = DiscoveryError::status(path, &answer);
    Err(Fatal::failure(&failure, &session.url))
}

/// The whole URL of a document. Credentials go to the server itself only.
fn located(server: &Uri, url: &str) -> Option<Uri> {
    let uri = uri::resolve(server, url)?;
    if !uri::same_origin(server, &uri) {
        return None;
    }
    let base = server.path().trim_end_matches('/');
    let is_below = |path: &str| {
        path.strip_prefix(base)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let mut parts = server.clone().into_parts();
    let target = uri.path_and_query()?;
    parts.path_and_query = Some(if is_below(uri.path()) {
        target.clone()
    } else {
        format!("{base}{target}").parse::<PathAndQuery>().ok()?
    });
    Uri::from_parts(parts).ok()
}

fn show(document: &Bytes, raw: bool) -> Result<(), Fatal> {
    if raw {
        let mut out = io::stdout().lock();
        return out
            .write_all(document)
            .and_then(|()| out.flush())
            .map_err(|error| Fatal::output(&error));
    }
    let malformed = |why: &dyn std::fmt::Display| {
        Fatal::new(format_args!(
            "the OpenAPI document is not JSON: {why}; --raw prints it all the same"
        ))
    };
    let text = std::str::from_utf8(document).map_err(|error| malformed(&error))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| malformed(&error))?;
    crate::print(&printable_json(&indented(text)))
}

/// Valid JSON with two spaces of indentation; fields stay in their order, and numbers as they are.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut is_escaped = false;
    let mut just_opened = false;
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    for c in json.chars() {
        if in_string {
            out.push(c);
            in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            continue;
        }
        match c {
            ' ' | '\t' | '\n' | '\r' => continue,
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !just_opened {
                    line(&mut out, depth);
                }
            }
            _ if just_opened => line(&mut out, depth),
            _ => {}
        }
        just_opened = matches!(c, '{' | '[');
        out.push(c);
        match c {
            '{' | '[' => depth += 1,
            ',' => line(&mut out, depth),
            ':' => out.push(' '),
            '"' => in_string = true,
            _ => {}
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_as_serde_json_does() {
        for json in [
            r#"{"a":[1,2.50,{}],"b":{"c":"x,{\"\\"},"d":[]}"#,
            "[]",
            "\"x\"",
            r#"[[[null]], {"a" : true}]"#,
        ] {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            let expected = serde_json::to_string_pretty(&value).unwrap();
            let indented = indented(json).replace("2.50", "2.5");
            assert_eq!(indented, expected + "\n");
        }
    }

    #[test]
    fn documents_are_below_the_servers_path_and_nowhere_else() {
        let server = Uri::from_static("https://h/k8s");
        for url in ["/openapi/v3/a?hash=1", "/k8s/openapi/v3/a?hash=1"] {
            let uri = located(&server, url).unwrap();
            assert_eq!(uri, "https://h/k8s/openapi/v3/a?hash=1");
        }
        assert_eq!(located(&server, "https://elsewhere/openapi/v3/a"), None);
    }
}
