//! Any bytes as a discovery file, and files in which something has changed.

use bolero::TypeGenerator;
use discovery_core::kube::document::{ApiGroupList, ApiResourceList, Document};
use discovery_http_cache_fuzz::target;

const GROUPS: &str = "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{\"name\":\"apps\",\"versions\":[{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}]}\n";

const LIST: &str = "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"apps/v1\",\"resources\":[{\"name\":\"deployments\",\"singularName\":\"deployment\",\"namespaced\":true,\"kind\":\"Deployment\",\"verbs\":[\"get\",\"list\"],\"shortNames\":[\"deploy\"],\"categories\":[\"all\"],\"storageVersionHash\":\"8aSe+NMegvE=\"}]}\n";

#[derive(Clone, Debug, TypeGenerator)]
enum File {
    Bytes(Vec<u8>),
    Changed { list: bool, edits: Vec<Edit> },
}

#[derive(Clone, Debug, TypeGenerator)]
struct Edit {
    at: u16,
    removed: u8,
    inserted: Vec<u8>,
}

impl File {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Changed { list, edits } => {
                let mut bytes = if *list { LIST } else { GROUPS }.as_bytes().to_vec();
                for edit in edits.iter().take(4) {
                    let at = usize::from(edit.at) % (bytes.len() + 1);
                    let end = (at + usize::from(edit.removed % 16)).min(bytes.len());
                    let inserted = edit.inserted.iter().take(8).copied();
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
