//! Bodies that break off: nobody may take what has come for the whole.

mod common;

use bytes::Bytes;
use common::mocked::{Mocked, boxed};
use common::{Piece, Pieces, response};
use discovery_core::store::MapStore;
use discovery_http_cache::HttpCacheLayer;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_test::{assert_ready, task};
use tower::{Layer, service_fn};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn cut() -> Pieces {
    Pieces::new([Piece::Data("abc"), Piece::Fail])
}

#[test]
fn a_cut_body_has_no_exact_size_and_no_end_before_its_error() {
    for waiting in [1, 2] {
        for length in [None, Some(("content-length", "6"))] {
            let mut world = Mocked::new();
            let mut crowd = world.crowd(waiting);
            let headers: Vec<_> = [FRESH].into_iter().chain(length).collect();
            let answer = boxed(response(200, &headers, cut()));
            world.next().unwrap().1.send_response(answer);
            let first = assert_ready!(crowd[0].poll()).unwrap();
            let mut body = first.into_body();
            loop {
                let hint = body.size_hint();
                assert_eq!(hint.exact(), None, "{waiting} {length:?}");
                assert!(!body.is_end_stream(), "{waiting} {length:?}");
                match assert_ready!(task::spawn(body.frame()).poll()) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) => break,
                    None => panic!("the body ended without an error"),
                }
            }
            assert!(world.store.is_empty());
        }
    }
}

/// A server in front of the cache tells its clients of the cut: it closes the connection without the last chunk, and
/// before the announced length has come.
#[tokio::test]
async fn a_server_passes_the_cut_on() {
    for length in [None, Some("6")] {
        let inner = service_fn(move |_: Request<hyper::body::Incoming>| async move {
            let mut headers = vec![FRESH];
            headers.extend(length.map(|length| ("content-length", length)));
            Ok::<_, std::convert::Infallible>(boxed(response(200, &headers, cut())))
        });
        let service = HttpCacheLayer::new(MapStore::new())
            .authority(http::uri::Scheme::HTTP, "h".parse().unwrap())
            .layer(inner);
        let (mut client, server) = tokio::io::duplex(4096);
        let serve = http1::Builder::new()
            .serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
        let talk = async {
            let request = b"GET /a HTTP/1.1\r\nhost: h\r\n\r\nGET /b HTTP/1.1\r\nhost: h\r\n\r\n";
            client.write_all(request).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (served, answer) = tokio::join!(serve, talk);
        assert!(served.is_err(), "{length:?}");
        // A server that knows of the cut before it has sent anything sends nothing.
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            continue;
        };
        match length {
            None => {
                assert!(head.contains("transfer-encoding: chunked"), "{head}");
                assert!(!body.contains("0\r\n\r\n"), "{body}");
            }
            Some(_) => {
                assert!(head.contains("content-length: 6"), "{head}");
                assert_eq!(body, "abc");
            }
        }
    }
}

/// The hint is exact where the end is known and no error comes.
#[test]
fn a_whole_body_that_is_there_has_an_exact_size() {
    let mut world = Mocked::new();
    let mut crowd = world.crowd(2);
    let whole: Response<Full<Bytes>> = response(200, &[FRESH], Full::from("abc"));
    world.next().unwrap().1.send_response(boxed(whole));
    let first = assert_ready!(crowd[0].poll()).unwrap();
    assert_eq!(first.body().size_hint().exact(), Some(3));
}
