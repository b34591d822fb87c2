//! HTTP dates: those of the three formats count, and nothing else does.

use std::time::UNIX_EPOCH;

use bolero::TypeGenerator;
use discovery_http_cache_fuzz::{Ask, model, start, target};
use http::{HeaderMap, HeaderValue, Response, header};

#[derive(Clone, Debug, TypeGenerator)]
struct Input {
    seconds: u16,
    century: u8,
    format: u8,
    lenient: bool,
    edits: [Edit; 2],
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Edit {
    None,
    None2,
    Put { at: u8, byte: u8 },
    Delete { at: u8 },
    Insert { at: u8, byte: u8 },
    Double { at: u8 },
    Case { at: u8 },
    Zone { which: u8 },
}

fn text(input: &Input) -> Vec<u8> {
    let time = start() + std::time::Duration::from_secs(u64::from(input.seconds));
    let imf = httpdate::fmt_http_date(time);
    let (day, rest) = imf.split_once(", ").expect("a date");
    let words: Vec<&str> = rest.split(' ').collect();
    let year = if input.century == 1 { "2126" } else { words[2] };
    let text = match input.format % 4 {
        0 | 1 => format!("{day}, {} {} {year} {} GMT", words[0], words[1], words[3]),
        2 => {
            let long = if day == "Sat" { "Saturday" } else { "Sunday" };
            format!(
                "{long}, {}-{}-{} {} GMT",
                words[0],
                words[1],
                &year[2..],
                words[3]
            )
        }
        _ => format!("{day} {} {} {} {year}", words[1], words[0], words[3]),
    };
    let mut bytes = text.into_bytes();
    for edit in input.edits {
        let place = |at: u8| usize::from(at) % bytes.len().max(1);
        match edit {
            Edit::None | Edit::None2 => {}
            Edit::Put { at, byte } => {
                let at = place(at);
                bytes[at] = byte;
            }
            Edit::Delete { at } => drop(bytes.remove(place(at))),
            Edit::Insert { at, byte } => bytes.insert(place(at), byte),
            Edit::Double { at } => {
                let at = place(at);
                bytes.insert(at, bytes[at]);
            }
            Edit::Case { at } => {
                let at = place(at);
                bytes[at] ^= 0x20;
            }
            Edit::Zone { which } => {
                let zones = ["UTC", "CEST", "+01", "Z", "-0330", "gmt", "+01:00", ""];
                let zone = zones[usize::from(which) % zones.len()];
                let at = bytes.len().saturating_sub(3);
                bytes.truncate(at);
                bytes.extend(zone.bytes());
            }
        }
    }
    bytes
}

/// A response is fresh until the date that the model reads in `Expires`, and no longer.
fn check(input: &Input) {
    let text = text(input);
    let Ok(expires) = HeaderValue::from_bytes(&text) else {
        return;
    };
    let now = i64::try_from(start().duration_since(UNIX_EPOCH).expect("later").as_secs());
    let now = now.expect("not so late");
    let latin: String = text.iter().map(|b| char::from(*b)).collect();
    let date = model::date(&latin, input.lenient, start());
    let mut answer = Response::new("");
    let sent = HeaderValue::try_from(httpdate::fmt_http_date(start())).expect("a date");
    answer.headers_mut().insert(header::DATE, sent);
    answer.headers_mut().insert(header::EXPIRES, expires);
    let ask = || {
        let ask = Ask::new(|layer| layer.lenient_dates(input.lenient));
        assert!(ask.get(&HeaderMap::new(), &answer).asked);
        ask
    };
    let strict = model::date(&latin, false, start());
    let lifetime = date
        .and_then(|date| u64::try_from(date - now).ok())
        .unwrap_or(0);
    let late = ask();
    late.wait(lifetime);
    assert!(
        late.get(&HeaderMap::new(), &answer).asked,
        "{latin:?} is not {lifetime} s from now"
    );
    // Which other zones there are is a matter of taste.
    if lifetime > 0 && (strict.is_some() || text.ends_with(b" CEST") || text.ends_with(b" +01")) {
        let early = ask();
        early.wait(lifetime - 1);
        let asked = early.get(&HeaderMap::new(), &answer).asked;
        assert!(!asked, "{latin:?} is {lifetime} s from now");
    }
}

#[test]
fn expires() {
    target!(Input, 2_000, check);
}
