//! Files that have rotted.

use std::fs;

use discovery_core::kube::document::{ApiGroupList, ApiResourceList, decode, decode_exact};

const GROUPS: &str = "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{\"name\":\"apps\",\"versions\":[{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}]}\n";
const LIST: &str = "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"apps/v1\",\"resources\":[{\"name\":\"deployments\",\"singularName\":\"deployment\",\"namespaced\":true,\"kind\":\"Deployment\",\"verbs\":[\"get\",\"list\"],\"shortNames\":[\"deploy\"],\"categories\":[\"all\"]}]}\n";

/// The places of a document that are not in its values: the names of its fields, and what stands between.
fn form(json: &str) -> Vec<usize> {
    let bytes = json.as_bytes();
    let (mut places, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] != b'"' {
            places.push(at);
            at += 1;
            continue;
        }
        let end = at + 1 + json[at + 1..].find('"').unwrap();
        places.push(at);
        if bytes.get(end + 1) == Some(&b':') {
            places.extend(at + 1..end);
        }
        places.push(end);
        at = end + 1;
    }
    places
}

/// Each bit of what makes the form of a document, flipped: never a document that says something else. Bits of the names
/// themselves are nothing that the form could reveal.
#[test]
fn no_flipped_bit_of_the_form_makes_another_document() {
    let lenient = |bytes: &[u8]| decode::<ApiResourceList>(bytes).is_ok();
    let mut taken = 0;
    for at in form(GROUPS) {
        for bit in 0..8 {
            let mut bytes = GROUPS.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            if let Ok(read) = decode_exact::<ApiGroupList>(&bytes) {
                assert_eq!(
                    read,
                    decode::<ApiGroupList>(GROUPS.as_bytes()).unwrap(),
                    "bit {bit} of {at}"
                );
            }
        }
    }
    for at in form(LIST) {
        for bit in 0..8 {
            let mut bytes = LIST.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            taken += usize::from(lenient(&bytes));
            if let Ok(read) = decode_exact::<ApiResourceList>(&bytes) {
                assert_eq!(
                    read,
                    decode::<ApiResourceList>(LIST.as_bytes()).unwrap(),
                    "bit {bit} of {at}"
                );
            }
        }
    }
    assert!(taken > 100, "kubectl would take hundreds of them: {taken}");
    // Go escapes these, so that kubectl has never written them.
    for odd in ["&", "<", ">", "\u{2028}", "\u{2029}", "\u{7}", "\\u0064"] {
        let changed = LIST.replace("[\"deploy\"]", &format!("[\"{odd}\"]"));
        assert!(
            decode_exact::<ApiResourceList>(changed.as_bytes()).is_err(),
            "{odd:?}"
        );
    }
    let others = LIST.replace("[\"deploy\"]", "[\"\u{20ac}é\"]");
    assert!(decode_exact::<ApiResourceList>(others.as_bytes()).is_ok());
    let spaces = format!("{LIST} \n");
    assert!(decode_exact::<ApiResourceList>(spaces.as_bytes()).is_err());
    for length in 0..LIST.len() - 1 {
        assert!(
            decode_exact::<ApiResourceList>(&LIST.as_bytes()[..length]).is_err(),
            "{length}"
        );
    }
}

/// A file that is not as kubectl writes it is a miss: the server is asked, and the file is written anew.
#[tokio::test]
async fn a_file_of_another_form_is_a_miss() {
    use scene::{client, server};

    for damaged in [
        "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"froups\":[]}\n",
        "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\"}\n",
        "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[],\"more\":1}\n",
        "{ \"kind\": \"APIGroupList\", \"apiVersion\": \"v1\", \"groups\": [] }\n",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = server();
        client(dir.path(), &server, "/apis").await;
        let file = dir.path().join("servergroups.json");
        let good = fs::read(&file).unwrap();
        fs::write(&file, damaged).unwrap();
        server.take_requests();
        client(dir.path(), &server, "/apis").await;
        assert_eq!(server.request_count(), 2, "{damaged}");
        assert_eq!(fs::read(&file).unwrap(), good, "{damaged}");
    }
}

mod scene {
    use std::path::Path;

    use bytes::Bytes;
    use discovery_core::Format;
    use discovery_core::testing::{ScriptedService, fixtures};
    use discovery_disk::DiskDiscoveryLayer;
    use http::Request;
    use http_body_util::Full;
    use tower::{Layer, ServiceExt};

    pub(super) type Server = ScriptedService<Full<Bytes>, std::io::Error>;

    pub(super) fn server() -> Server {
        let server = Server::default();
        server.fallback(|request| {
            let apps = fixtures::Group::new("apps").version("v1", &["deployments"]);
            Ok(match request.uri().path() {
                "/api" => fixtures::document(Format::V2, fixtures::aggregated(&[])),
                _ => fixtures::document(Format::V2, fixtures::aggregated(&[apps])),
            })
        });
        server
    }

    /// As another process.
    pub(super) async fn client(dir: &Path, server: &Server, path: &str) {
        let service = DiskDiscoveryLayer::new(dir).layer(server.clone());
        let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
        assert!(
            service
                .oneshot(request)
                .await
                .unwrap()
                .status()
                .is_success()
        );
    }
}
