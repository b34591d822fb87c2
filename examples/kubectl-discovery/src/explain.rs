//! `explain`.

use std::sync::Arc;

use discovery_client::mapper::RestMapper;
use discovery_client::openapi;
use discovery_core::{GroupVersion, GroupVersionResource};

use crate::args::Explain;
use crate::errors::{Fatal, chain};
use crate::session::Session;

/// The only format; kubectl has one more, for OpenAPI v2.
const PLAINTEXT: &str = "plaintext";

pub(crate) fn run(session: &Session, flags: &Explain) -> Result<(), Fatal> {
    let word = flags.word()?;
    let path = fields(word)?;
    let found = find(session, &path[0])?;
    let (resource, fields) = match &flags.api_version {
        Some(text) if !text.is_empty() => {
            let resource = found.into_iter().next().ok_or_else(|| unknown(&path[0]))?;
            (in_version(&resource, text)?, path[1..].to_vec())
        }
        _ => choose(found, word, &path)?,
    };
    if flags.output != PLAINTEXT {
        let format = &flags.output;
        return Err(Fatal::new(format_args!("unrecognized format: {format}")));
    }
    let document = document(session, &resource)?;
    let explain = openapi::Explain::new(&resource)
        .fields(fields)
        .recursive(flags.recursive)
        .max_depth(flags.depth()?);
    match explain.to_text(&document) {
        Ok(text) => crate::print(&text),
        Err(error) => {
            // kubectl has printed this much when it fails.
            crate::print(error.head())?;
            Err(Fatal::new(error))
        }
    }
}

/// The resources that a word names. Cached documents may be outdated, hence the second time.
fn find(session: &Session, word: &str) -> Result<Vec<GroupVersionResource>, Fatal> {
    for is_last in [false, true] {
        let found = session.wait(session.client.discover());
        let found = found.map_err(|failure| Fatal::failure(&failure, &session.url))?;
        let resources = RestMapper::new(&found.snapshot).resources_for(word);
        if !resources.is_empty() {
            let resources = resources.iter();
            return Ok(resources
                .map(|found| found.group_version_resource())
                .collect());
        }
        if !is_last {
            session.forget();
        }
    }
    Err(unknown(word))
}

fn unknown(word: &str) -> Fatal {
    Fatal::plain(format!("the server doesn't have a resource type {word:?}"))
}

/// The resource whose name and group `word` begins with, and the fields behind them; or else the first one.
fn choose(
    found: Vec<GroupVersionResource>,
    word: &str,
    path: &[String],
) -> Result<(GroupVersionResource, Vec<String>), Fatal> {
    for resource in &found {
        let name = match resource.group_version.group() {
            "" => resource.resource.as_str().to_owned(),
            group => format!("{}.{group}", resource.resource),
        };
        if let Some(rest) = word.strip_prefix(&name) {
            let fields = fields(rest)?.into_iter().skip(1).collect();
            return Ok((resource.clone(), fields));
        }
    }
    let first = found.into_iter().next().ok_or_else(|| unknown(&path[0]))?;
    Ok((first, path[1..].to_vec()))
}

/// The resource in the group and version that `--api-version` names.
fn in_version(resource: &GroupVersionResource, text: &str) -> Result<GroupVersionResource, Fatal> {
    if text.matches('/').count() > 1 {
        return Err(Fatal::new(format_args!(
            "unexpected GroupVersion string: {text}"
        )));
    }
    let (group, version) = text.split_once('/').unwrap_or(("", text));
    match GroupVersion::new(group, version) {
        Ok(group_version) => Ok(group_version.with_resource(resource.resource.clone())),
        Err(_) => Err(not_served(group, version, &resource.resource)),
    }
}

fn not_served(group: &str, version: &str, resource: &str) -> Fatal {
    Fatal::new(format_args!(
        "couldn't find resource for \"{group}/{version}, Resource={resource}\""
    ))
}

fn document(
    session: &Session,
    resource: &GroupVersionResource,
) -> Result<Arc<openapi::Document>, Fatal> {
    let client = session.client.openapi();
    let group_version = &resource.group_version;
    session
        .wait(client.v3_paths())
        .map_err(|failure| Fatal::failure(&failure, &session.url))?;
    match session.wait(client.v3_document(group_version)) {
        Ok(Some(document)) => Ok(document),
        Ok(None) => Err(not_served(
            group_version.group(),
            group_version.version(),
            &resource.resource,
        )),
        Err(failure) if Fatal::of_configuration(&failure).is_some() => {
            Err(Fatal::failure(&failure, &session.url))
        }
        Err(failure) => {
            let path = group_version.path();
            let path = path.trim_start_matches('/');
            let why = chain(&failure);
            Err(Fatal::new(format_args!(
                "failed to fetch openapi schema for {path}: {why}"
            )))
        }
    }
}

/// The names in a path such as `pods.spec.containers`, as kubectl's JSONPath reads them. A backslash takes the meaning
/// from the character behind it.
fn fields(path: &str) -> Result<Vec<String>, Fatal> {
    let path = path.strip_suffix('.').unwrap_or(path);
    let mut names = vec![String::new()];
    let mut chars = path.chars();
    while let Some(char) = chars.next() {
        match char {
            '.' => names.push(String::new()),
            '[' | ']' | '{' | '}' | '(' | ')' | '*' => {
                return Err(Fatal::new(
                    "invalid jsonpath syntax, first node must be field node",
                ));
            }
            _ => {
                let char = match char {
                    '\\' => chars.next(),
                    char => Some(char),
                };
                if let Some(name) = names.last_mut() {
                    name.extend(char);
                }
            }
        }
    }
    Ok(names)
}
