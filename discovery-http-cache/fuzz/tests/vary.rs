//! `Vary`, against fields as they are.

use std::collections::BTreeSet;

use bolero::{TypeGenerator, produce};
use discovery_http_cache_fuzz::{Ask, target};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};

#[derive(Clone, Debug, TypeGenerator)]
struct Input {
    #[generator(produce::<Vec<Piece>>().with().len(0..=5usize))]
    vary: Vec<Piece>,
    requests: [Request; 3],
}

#[derive(Clone, Debug, TypeGenerator)]
enum Piece {
    Name(u8),
    Odd(u8),
    Line,
    Raw(u8),
}

#[derive(Clone, Debug, TypeGenerator)]
struct Request {
    #[generator(produce::<Vec<(u8, Text)>>().with().len(0..=3usize))]
    fields: Vec<(u8, Text)>,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Text {
    Word(u8),
    List(u8, u8),
    Raw([u8; 3]),
}

const NAMES: [&str; 5] = ["accept", "x-a", "X-B", "Accept-Language", "accept-encoding"];
const ODD: [&str; 7] = [
    "*",
    " ",
    "a b",
    "\"accept\"",
    "cookie",
    "Authorization",
    "x-unknown",
];
const WORDS: [&str; 6] = ["", "a", "b", "A", "a;q=0.5", "\"a, b\""];

fn lines(pieces: &[Piece]) -> Option<Vec<HeaderValue>> {
    let mut lines = vec![Vec::new()];
    for piece in pieces {
        let line = lines.last_mut().expect("one at least");
        match piece {
            Piece::Name(n) => line.extend(NAMES[usize::from(*n) % NAMES.len()].bytes()),
            Piece::Odd(n) => line.extend(ODD[usize::from(*n) % ODD.len()].bytes()),
            Piece::Raw(b) => line.push(*b),
            Piece::Line => {
                lines.push(Vec::new());
                continue;
            }
        }
        line.push(b',');
    }
    lines
        .iter()
        .map(|line| HeaderValue::from_bytes(line).ok())
        .collect()
}

fn headers(request: &Request) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, text) in &request.fields {
        let name = NAMES[usize::from(*name) % NAMES.len()].to_ascii_lowercase();
        let word = |n: &u8| WORDS[usize::from(*n) % WORDS.len()];
        let value = match text {
            Text::Word(n) => word(n).as_bytes().to_vec(),
            Text::List(a, b) => format!(" {} ,\t{}", word(a), word(b)).into_bytes(),
            Text::Raw(bytes) => bytes.to_vec(),
        };
        let name = HeaderName::try_from(name).ok()?;
        headers.append(name, HeaderValue::from_bytes(&value).ok()?);
    }
    Some(headers)
}

/// A field without everything that may have no meaning: blanks, empty members, and for some fields order and
/// case. Two values that still differ mean different things, and so do an absent field and an empty one.
fn bare(headers: &HeaderMap, name: &str) -> Option<Vec<Vec<u8>>> {
    if !headers.contains_key(name) {
        return None;
    }
    let mut members = Vec::new();
    for line in headers.get_all(name) {
        for member in line.as_bytes().split(|b| *b == b',') {
            let blank = |b: &u8| matches!(b, b' ' | b'\t');
            let member: Vec<u8> = member.iter().copied().filter(|b| !blank(b)).collect();
            if !member.is_empty() {
                members.push(member);
            }
        }
    }
    if name != "accept" && !name.starts_with("x-") {
        let lower = members.iter().map(|member| member.to_ascii_lowercase());
        return Some(lower.collect::<BTreeSet<_>>().into_iter().collect());
    }
    Some(members)
}

/// A response is reused for requests with the same fields, and never for others.
fn check(input: &Input) {
    let Some(vary) = lines(&input.vary) else {
        return;
    };
    let mut names: Vec<String> = Vec::new();
    for line in &vary {
        for name in line.as_bytes().split(|b| *b == b',') {
            let name: String = name.iter().map(|b| char::from(*b)).collect();
            names.push(name.trim_matches([' ', '\t']).to_ascii_lowercase());
        }
    }
    names.retain(|name| !name.is_empty());
    let is_odd = |name: &String| {
        HeaderName::try_from(name).is_err()
            || ["*", "cookie", "authorization", "proxy-authorization"].contains(&name.as_str())
            || name.starts_with("impersonate-")
    };
    let odd = names.iter().any(is_odd);

    let ask = Ask::new(|layer| layer);
    let mut before: Vec<HeaderMap> = Vec::new();
    for request in &input.requests {
        let Some(headers) = headers(request) else {
            return;
        };
        let body = before.len().to_string();
        let mut answer = Response::new(&*body);
        answer.headers_mut().insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("max-age=60"),
        );
        for line in &vary {
            answer.headers_mut().append(header::VARY, line.clone());
        }
        let reply = ask.get(&headers, &answer);
        if reply.asked {
            // The very same request has been answered before.
            assert!(
                odd || !before.contains(&headers),
                "not reused for {headers:?}"
            );
        } else {
            assert!(!odd, "varies by what can't be compared");
            let at: usize = String::from_utf8(reply.body)
                .expect("a number")
                .parse()
                .expect("one");
            for name in &names {
                let [then, now] = [&before[at], &headers].map(|headers| bare(headers, name));
                assert_eq!(then, now, "{name} differs from request {at}");
            }
        }
        assert!(!odd || ask.stored().is_empty());
        before.push(headers);
    }
}

#[test]
fn vary() {
    target!(Input, 8_000, check);
}
