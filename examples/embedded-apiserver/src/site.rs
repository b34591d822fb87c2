//! The groups together with the documents made from them. Documents are made when first asked for
//! and kept; a change of the groups makes a new site.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::HeaderValue;
use sha2::{Digest, Sha512};

use super::{
    json,
    model::{Group, Version},
};

/// Bodies above this size are compressed for clients that take it.
const GZIP_ABOVE: usize = 128 * 1024;

/// A document and what can be derived from it, each made once.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) body: Bytes,
    hash: OnceLock<String>,
    gzip: OnceLock<Bytes>,
    pretty: OnceLock<Arc<Document>>,
}

impl Document {
    pub(super) fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            hash: OnceLock::new(),
            gzip: OnceLock::new(),
            pretty: OnceLock::new(),
        }
    }

    /// The upper-case hexadecimal SHA-512 of the body.
    pub(super) fn hash(&self) -> &str {
        self.hash.get_or_init(|| {
            Sha512::digest(&self.body)
                .iter()
                .map(|byte| format!("{byte:02X}"))
                .collect()
        })
    }

    /// The strong entity tag, the same for every encoding of the document.
    pub(super) fn etag(&self) -> HeaderValue {
        HeaderValue::try_from(format!("\"{}\"", self.hash())).expect("hexadecimal digits are valid")
    }

    /// The compressed body, for bodies that are worth it.
    pub(super) fn gzip(&self) -> Option<Bytes> {
        (self.body.len() > GZIP_ABOVE).then(|| self.gzip.get_or_init(|| gzip(&self.body)).clone())
    }

    /// The document with line breaks and indentation.
    pub(super) fn pretty(&self) -> &Arc<Self> {
        self.pretty.get_or_init(|| {
            let indented = json::indent(&String::from_utf8_lossy(&self.body));
            Arc::new(Self::new(indented))
        })
    }
}

fn gzip(body: &[u8]) -> Bytes {
    // Real servers prefer speed as well.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    match encoder.write_all(body).and_then(|()| encoder.finish()) {
        Ok(compressed) => compressed.into(),
        Err(never) => unreachable!("a vector takes everything: {never}"),
    }
}

#[derive(Debug)]
pub(super) struct Site {
    /// The core group first if there is one, then the built-in groups, then the custom ones by name.
    groups: Vec<Group>,
    by_name: HashMap<String, usize>,
    documents: Mutex<HashMap<String, Arc<Document>>>,
    /// The index of the OpenAPI documents, which needs all of these to be made.
    pub(super) openapi_index: OnceLock<Document>,
    /// When the groups took this shape: `Last-Modified` of the OpenAPI documents.
    pub(super) modified: SystemTime,
}

impl Site {
    pub(super) fn new(mut groups: Vec<Group>) -> Self {
        // Stable: the built-in groups keep the order of their priorities.
        groups.sort_by(|a, b| match (a.name.is_empty(), b.name.is_empty()) {
            (false, false) if a.builtin || b.builtin => b.builtin.cmp(&a.builtin),
            (false, false) => a.name.cmp(&b.name),
            (a_is_core, b_is_core) => b_is_core.cmp(&a_is_core),
        });
        let mut by_name = HashMap::with_capacity(groups.len());
        for (index, group) in groups.iter().enumerate() {
            by_name.entry(group.name.clone()).or_insert(index);
        }
        Self {
            groups,
            by_name,
            documents: Mutex::default(),
            openapi_index: OnceLock::new(),
            modified: SystemTime::now(),
        }
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn core(&self) -> Option<&Group> {
        self.group("")
    }

    /// All groups but the core one.
    pub(super) fn named(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| !group.name.is_empty())
    }

    pub(super) fn group(&self, name: &str) -> Option<&Group> {
        self.by_name.get(name).map(|&index| &self.groups[index])
    }

    pub(super) fn version(&self, group: &str, version: &str) -> Option<(&Group, &Version)> {
        let group = self.group(group)?;
        Some((
            group,
            group.versions.iter().find(|known| known.name == version)?,
        ))
    }

    /// The document under `key`, made by `make` the first time.
    pub(super) fn document(&self, key: String, make: impl FnOnce() -> String) -> Arc<Document> {
        let mut documents = self
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            documents
                .entry(key)
                .or_insert_with(|| Arc::new(Document::new(make()))),
        )
    }
}
