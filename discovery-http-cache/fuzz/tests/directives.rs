//! `Cache-Control`, of responses and of requests, in any bytes.

use bolero::{TypeGenerator, produce};
use discovery_http_cache_fuzz::model::directives;
use discovery_http_cache_fuzz::{Ask, target};
use http::{HeaderMap, HeaderValue, Response, header};

/// A piece of a line.
#[derive(Clone, Debug, TypeGenerator)]
enum Piece {
    Known(u8),
    Seconds(u8),
    Separator(u8),
    Raw(u8),
}

#[derive(Clone, Debug, TypeGenerator)]
struct Input {
    #[generator(produce::<Vec<Piece>>().with().len(0..=12usize))]
    response: Vec<Piece>,
    #[generator(produce::<Vec<Piece>>().with().len(0..=6usize))]
    request: Vec<Piece>,
    wait: u8,
}

const KNOWN: [&str; 16] = [
    "max-age=",
    "no-store",
    "no-cache",
    "must-revalidate",
    "private",
    "public",
    "immutable",
    "must-understand",
    "stale-if-error=",
    "s-maxage=",
    "MAX-AGE=",
    "No-Store",
    "max-stale",
    "min-fresh=",
    "no-cache=\"x-y\"",
    "x=",
];
const SEPARATORS: [&str; 10] = [", ", ",", "\"", " ", "\t", "=", ";", "\\", ",,", "\", "];

fn line(pieces: &[Piece]) -> Option<HeaderValue> {
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Known(n) => bytes.extend(KNOWN[usize::from(*n) % KNOWN.len()].bytes()),
            Piece::Seconds(n) => bytes.extend(n.to_string().bytes()),
            Piece::Separator(n) => {
                bytes.extend(SEPARATORS[usize::from(*n) % SEPARATORS.len()].bytes());
            }
            Piece::Raw(b) => bytes.push(*b),
        }
    }
    HeaderValue::from_bytes(&bytes).ok()
}

/// A restriction binds a cache, however it is written; a permission that is not well-formed permits nothing.
fn check(input: &Input) {
    let (Some(response), Some(request)) = (line(&input.response), line(&input.request)) else {
        return;
    };
    let mut answer = Response::new("secret");
    answer.headers_mut().insert(header::CACHE_CONTROL, response);
    answer
        .headers_mut()
        .insert(header::ETAG, HeaderValue::from_static("\"1\""));
    let mut asked = HeaderMap::new();
    if !request.is_empty() {
        asked.insert(header::CACHE_CONTROL, request);
    }
    let ask = Ask::new(|layer| layer);
    let first = ask.get(&asked, &answer);
    let (response, request) = (directives(answer.headers()), directives(&asked));
    let has = |all: &[discovery_http_cache_fuzz::model::Directive], name: &str| {
        all.iter().any(|directive| directive.name == name)
    };
    let no_store = has(&request, "no-store")
        || has(&response, "no-store") && !has(&response, "must-understand");
    let stored = ask.stored();
    assert!(!no_store || stored.is_empty(), "stored: {stored:?}");
    if first.asked {
        assert_eq!(first.body, b"secret");
    } else {
        assert!(has(&request, "only-if-cached"));
    }

    ask.wait(input.wait.into());
    let second = ask.get(&HeaderMap::new(), &answer);
    if second.asked {
        return;
    }
    let unqualified = |name: &str| {
        let mut all = response.iter();
        all.any(|directive| directive.name == name && directive.argument.is_none())
    };
    assert!(!no_store, "reused despite no-store");
    assert!(!unqualified("no-cache"), "reused despite no-cache");
    let max_age = response
        .iter()
        .find(|directive| directive.name == "max-age");
    let lifetime = max_age.and_then(|directive| directive.argument.as_ref()?.parse::<u128>().ok());
    assert!(
        lifetime > Some(input.wait.into()),
        "reused, although stale: {lifetime:?}"
    );
}

/// Inputs that have failed.
#[test]
fn a_string_with_more_behind_it_is_no_lifetime() {
    for pieces in [
        // max-age="1"max-age=
        &[
            Piece::Known(0),
            Piece::Separator(2),
            Piece::Seconds(1),
            Piece::Separator(2),
            Piece::Known(0),
        ][..],
        // max-age="103"7
        &[
            Piece::Known(0),
            Piece::Separator(2),
            Piece::Seconds(103),
            Piece::Separator(2),
            Piece::Seconds(7),
        ],
        // stale-if-error="9"x=, max-age=60
        &[
            Piece::Known(8),
            Piece::Separator(2),
            Piece::Seconds(9),
            Piece::Separator(2),
            Piece::Known(15),
            Piece::Separator(0),
            Piece::Known(0),
            Piece::Seconds(60),
        ],
    ] {
        check(&Input {
            response: pieces.to_vec(),
            request: Vec::new(),
            wait: 0,
        });
    }
}

#[test]
fn cache_control() {
    target!(Input, 8_000, check);
}
