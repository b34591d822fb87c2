//! Any bytes as a discovery file, and files in which something has changed.

use bolero::TypeGenerator;
use discovery_core::kube::document::{
    ApiGroupDiscoveryList, ApiGroupList, ApiResourceList, Document, Kind, decode, go_json,
};
use discovery_http_cache_fuzz::target;

const GROUPS: &str = "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{\"name\":\"apps\",\"versions\":[{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}]}\n";

const LIST: &str = "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"apps/v1\",\"resources\":[{\"name\":\"deployments\",\"singularName\":\"deployment\",\"namespaced\":true,\"kind\":\"Deployment\",\"verbs\":[\"get\",\"list\"],\"shortNames\":[\"deploy\"],\"categories\":[\"all\"],\"storageVersionHash\":\"8aSe+NMegvE=\"}]}\n";

const AGGREGATED: &str = "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/v2\",\"metadata\":{},\"items\":[{\"metadata\":{\"name\":\"apps\",\"creationTimestamp\":null},\"versions\":[{\"version\":\"v1\",\"resources\":[{\"resource\":\"deployments\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":\"Deployment\"},\"scope\":\"Namespaced\",\"singularResource\":\"deployment\",\"verbs\":[\"get\",\"list\"],\"shortNames\":[\"deploy\"],\"categories\":[\"all\"],\"subresources\":[{\"subresource\":\"status\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":\"Deployment\"},\"verbs\":[\"get\"]}]}],\"freshness\":\"Current\"}]}]}";

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Sample {
    Groups,
    List,
    Aggregated,
}

#[derive(Clone, Debug, TypeGenerator)]
enum File {
    Bytes(Vec<u8>),
    Changed { sample: Sample, edits: Vec<Edit> },
}

#[derive(Clone, Debug, TypeGenerator)]
struct Edit {
    at: u16,
    removed: u8,
    inserted: Vec<u8>,
    /// Whether these stand for pieces of JSON, and not for themselves.
    is_json: bool,
}

/// Pieces that a document may be changed by and still be one.
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "\\u2028",
    "\\n",
    "\n",
    " ",
    "null",
    "true",
    "0",
    "<",
    "é",
    "\u{2028}",
    "x",
    "\"name\":",
    "\"verbs\":",
    "[]",
    "{}",
    "\"\"",
];

impl File {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Changed { sample, edits } => {
                let sample = match sample {
                    Sample::Groups => GROUPS,
                    Sample::List => LIST,
                    Sample::Aggregated => AGGREGATED,
                };
                let mut bytes = sample.as_bytes().to_vec();
                for edit in edits.iter().take(4) {
                    let at = usize::from(edit.at) % (bytes.len() + 1);
                    // Often none, or one.
                    let removed = usize::from(edit.removed % 64).saturating_sub(48);
                    let end = (at + removed).min(bytes.len());
                    let piece = |byte: &u8| match edit.is_json {
                        true => PIECES[usize::from(*byte) % PIECES.len()]
                            .as_bytes()
                            .to_vec(),
                        false => vec![*byte],
                    };
                    let most = if edit.is_json { 2 } else { 8 };
                    let inserted = edit.inserted.iter().take(most).flat_map(piece);
                    bytes.splice(at..end, inserted);
                }
                bytes
            }
        }
    }
}

/// A file that is taken is exactly the one that is written for what it says; but for the line end, without which it still
/// says the same.
#[test]
fn documents() {
    target!(File, 2_000, |file| {
        let mut bytes = file.bytes();
        if !bytes.ends_with(b"\n") {
            // Whether it is taken or not, no other document may come out.
            let taken = Document::<ApiResourceList>::decode_exact(bytes.clone().into());
            bytes.push(b'\n');
            if let Ok(taken) = taken {
                let again = Document::new(ApiResourceList::clone(&taken));
                assert_eq!(again.json()[..], bytes[..]);
            }
        }
        if let Ok(groups) = Document::<ApiGroupList>::decode_exact(bytes.clone().into()) {
            let again = Document::new(ApiGroupList::clone(&groups));
            assert_eq!(again.json()[..], bytes[..]);
        }
        if let Ok(list) = Document::<ApiResourceList>::decode_exact(bytes.clone().into()) {
            let again = Document::new(ApiResourceList::clone(&list));
            assert_eq!(again.json()[..], bytes[..]);
        }
    });
}

/// The quick ways to read and to write a document do what serde does.
#[test]
fn quick_ways() {
    fn agrees<T: Kind + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        let Ok(text) = str::from_utf8(bytes) else {
            return;
        };
        // serde takes a list of the fields' values for an object.
        let is_object = text.trim_start().starts_with('{');
        let parsed = serde_json::from_str::<T>(text).ok();
        let parsed = parsed.filter(|_| is_object);
        if let Some(document) = &parsed {
            assert_eq!(document.to_line(), go_json::to_line(document));
        }
        let parsed = parsed.filter(|document| document.kind() == T::KIND);
        assert_eq!(decode(bytes).ok(), parsed);
    }
    target!(File, 2_000, |file| {
        let bytes = file.bytes();
        agrees::<ApiGroupList>(&bytes);
        agrees::<ApiResourceList>(&bytes);
        agrees::<ApiGroupDiscoveryList>(&bytes);
    });
}
