//! The dump codec: what is written is read again, and what is read was written by anybody.

use bolero::{TypeGenerator, produce};
use bytes::Bytes;
use discovery_core::http::dump::{self, Encoder, Framing, Head, Reason};
use discovery_core::store::{MapStore, Op, Store, Value};
use discovery_http_cache_fuzz::target;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, response};

/// A response in words that the codec has to understand.
#[derive(Clone, Debug, TypeGenerator)]
struct Message {
    head: bool,
    status: u16,
    version: u8,
    framing: u8,
    #[generator(produce::<Vec<(Name, Vec<u8>)>>().with().len(0..=5usize))]
    headers: Vec<(Name, Vec<u8>)>,
    reason: Option<[u8; 6]>,
    body: Vec<u8>,
    /// Where the body is cut in pieces.
    pieces: u8,
    /// Where head and body part in the store.
    split: u8,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Name {
    Some(u8),
    Raw([u8; 3]),
}

const NAMES: [&str; 12] = [
    "etag",
    "date",
    "vary",
    "content-length",
    "transfer-encoding",
    "connection",
    "trailer",
    "x-varied-accept",
    "cache-control",
    "set-cookie",
    "content-type",
    "x-b",
];
const FRAMINGS: [Framing; 4] = [
    Framing::Length,
    Framing::Chunked,
    Framing::Close,
    Framing::Bare,
];
const VERSIONS: [Version; 5] = [
    Version::HTTP_11,
    Version::HTTP_2,
    Version::HTTP_10,
    Version::HTTP_3,
    Version::HTTP_09,
];

fn parts(message: &Message) -> response::Parts {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(100 + message.status % 900).expect("three digits");
    parts.version = VERSIONS[usize::from(message.version) % VERSIONS.len()];
    for (name, value) in &message.headers {
        let name = match name {
            Name::Some(n) => HeaderName::from_static(NAMES[usize::from(*n) % NAMES.len()]),
            Name::Raw(bytes) => match HeaderName::from_bytes(bytes) {
                Ok(name) => name,
                Err(_) => continue,
            },
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            parts.headers.append(name, value);
        }
    }
    if let Some(reason) = message
        .reason
        .and_then(|bytes| Reason::new(Bytes::copy_from_slice(&bytes)))
    {
        parts.extensions.insert(reason);
    }
    parts
}

fn has_body(parts: &response::Parts, method: &Method) -> bool {
    let none = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    method != Method::HEAD && !parts.status.is_informational() && !none.contains(&parts.status)
}

/// The same bytes, parted elsewhere.
fn resplit(value: &Value, at: u8) -> Value {
    let bytes = value.clone().into_bytes();
    let at = usize::from(at) * 2 % (bytes.len() + 1);
    Value::new(bytes.slice(..at), bytes.slice(at..))
}

/// A value that was encoded is decoded to what it was, in each framing, wherever the store parts it.
fn round_trip(message: &Message) {
    let method = if message.head {
        Method::GET
    } else {
        Method::HEAD
    };
    let parts = parts(message);
    let framing = FRAMINGS[usize::from(message.framing) % FRAMINGS.len()];
    let old = matches!(parts.version, Version::HTTP_09 | Version::HTTP_10);
    if old && framing == Framing::Chunked {
        // There are no chunks in HTTP/1.0.
        return;
    }
    let body = Bytes::from(message.body.clone());
    let value = dump::encode(&method, &parts, framing, body.clone());
    let streamed = stream(&method, &parts, framing, &body, message.pieces);
    for value in [value, streamed] {
        let value = resplit(&value, message.split);
        let again = dump::decode(&method, &value).expect("what was written is read");
        let expected = if has_body(&parts, &method) {
            &body[..]
        } else {
            b""
        };
        assert_eq!(again.body(), expected);
        assert_eq!(again.status(), parts.status);
        assert_eq!(again.version(), parts.version);
        let framed = [
            header::CONNECTION,
            header::TRANSFER_ENCODING,
            header::TRAILER,
            header::CONTENT_LENGTH,
        ];
        for name in parts.headers.keys().chain(again.headers().keys()) {
            if framed.contains(name) {
                continue;
            }
            let trimmed = |value: &HeaderValue| value.as_bytes().trim_ascii().to_vec();
            let was: Vec<_> = parts.headers.get_all(name).iter().map(trimmed).collect();
            let is: Vec<_> = again.headers().get_all(name).iter().map(trimmed).collect();
            assert_eq!(was, is, "{name}");
        }
        // The head that has been kept is that of the value.
        let head = Head::decode(&method, &value).expect("the same");
        assert!(head.begins(&value));
        assert_eq!(head.body(value.clone()).expect("the same"), expected);
        // A dump that ends too early is not taken for a whole one, if it says where it ends.
        let bytes = value.into_bytes();
        let ends = matches!(head.framing(), Framing::Length | Framing::Chunked);
        if ends && has_body(&parts, &method) && !bytes.is_empty() {
            let cut = bytes.slice(..bytes.len() - 1);
            assert!(dump::decode(&method, &Value::new("", cut)).is_err());
        }
    }
}

/// The dump as it is written bit by bit.
fn stream(
    method: &Method,
    parts: &response::Parts,
    framing: Framing,
    body: &Bytes,
    pieces: u8,
) -> Value {
    let framing = if framing == Framing::Length {
        Framing::Close
    } else {
        framing
    };
    let store = MapStore::new();
    if !has_body(parts, method) {
        return dump::encode(method, parts, framing, Bytes::new());
    }
    let head = dump::encode_head(method, parts, framing, None);
    let mut encoder = Encoder::new(now(store.create("", head)), framing);
    for piece in body.chunks(usize::from(pieces).max(1)) {
        encoder = now(encoder.write(Bytes::copy_from_slice(piece)));
    }
    now(encoder.finish());
    now(store.get("")).expect("it has been stored")
}

fn now<T>(op: Op<std::io::Result<T>>) -> T {
    match op {
        Op::Ready(result) => result.expect("memory does not fail"),
        Op::Wait(_) => panic!("memory does not wait"),
    }
}

/// Bytes of anybody's making.
#[derive(Clone, Debug, TypeGenerator)]
struct Garbage {
    head: bool,
    split: u8,
    #[generator(produce::<Vec<Piece>>().with().len(0..=16usize))]
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Piece {
    Known(u8),
    Raw(u8),
    Many(u8, u8),
}

const KNOWN: [&str; 20] = [
    "HTTP/1.1 200 OK\r\n",
    "HTTP/2.0 200 OK\n",
    "HTTP/1.0 204 \r\n",
    "HTTP/1.1 200\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: close\r\n",
    "\r\n",
    "\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "5;x=y\r\n",
    "hello",
    ": ",
    "X: \0\r\n",
    "0\r\nX: y\r\n\r\n",
];

/// Never a panic, and what is understood is understood in the same way wherever it is parted, and
/// again after it has been written.
fn garbage(input: &Garbage) {
    let mut bytes = Vec::new();
    for piece in &input.pieces {
        match piece {
            Piece::Known(n) => bytes.extend(KNOWN[usize::from(*n) % KNOWN.len()].bytes()),
            Piece::Raw(b) => bytes.push(*b),
            Piece::Many(b, n) => bytes.resize(bytes.len() + usize::from(*n) * 8, *b),
        }
    }
    let method = if input.head {
        Method::GET
    } else {
        Method::HEAD
    };
    let value = Value::new("", bytes);
    let whole = dump::decode(&method, &value);
    let parted = dump::decode(&method, &resplit(&value, input.split));
    let (response, other) = match (whole, parted) {
        (Ok(response), Ok(other)) => (response, other),
        (Err(a), Err(b)) => {
            assert_eq!(a.is_truncated(), b.is_truncated());
            return;
        }
        (a, b) => panic!("{a:?} {b:?}"),
    };
    assert_eq!(response.body(), other.body());
    assert_eq!(response.headers(), other.headers());

    let framing = Framing::of(
        &method,
        &response_parts(&response),
        Some(response.body().len() as u64),
    );
    let (parts, body) = response.into_parts();
    let value = dump::encode(&method, &parts, framing, body.clone());
    let again = dump::decode(&method, &value).expect("what was written is read");
    assert_eq!(again.status(), parts.status);
    assert_eq!(again.body(), &body);
}

fn response_parts(response: &Response<Bytes>) -> response::Parts {
    response.clone().into_parts().0
}

#[test]
fn dump_round_trip() {
    target!(Message, 20_000, round_trip);
}

#[test]
fn dump_garbage() {
    target!(Garbage, 20_000, garbage);
}
