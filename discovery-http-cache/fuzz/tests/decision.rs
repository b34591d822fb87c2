//! The whole decision function, against the model.

use discovery_http_cache_fuzz::scenario::{
    Answer, BodyKind, Directive, Kind, Mostly, Options, Reading, RequestField, Resource, Scenario,
    Seconds, Send, Step, Tag,
};
use discovery_http_cache_fuzz::{World, target};

#[test]
fn decision() {
    target!(Scenario, 4_000, |scenario: &Scenario| World::run(scenario));
}

/// Found by the fuzzer: an answer to a request with `If-Match` is not stored, and so a HEAD that comes later does not make
/// it the newest of the stored ones.
#[test]
fn an_answer_that_went_past_the_cache_is_not_newer_than_a_stored_one() {
    let head = 187;
    let fields = vec![Mostly(RequestField::NoCache)];
    let steps = vec![
        Step::Get(
            Mostly(Resource::A),
            Answer {
                fresh: false,
                tagged: false,
                directives: vec![Directive::StaleWhileRevalidate(Mostly(Seconds::TooMany))],
                body: Mostly(BodyKind::Empty),
                ..plain()
            },
        ),
        send(0, vec![Mostly(RequestField::IfMatch(Tag::Odd))], plain()),
        send(
            head,
            fields,
            Answer {
                delay: 252,
                tagged: false,
                ..plain()
            },
        ),
        send(0, vec![], plain()),
    ];
    let options = Options {
        strict: false,
        strict_dates: true,
        never_stale: true,
        drop_on_error: true,
        memo: true,
    };
    World::run(&Scenario { options, steps });
}

fn send(method: u8, fields: Vec<Mostly<RequestField>>, answer: Answer) -> Step {
    Step::Send(Send {
        method,
        resource: Mostly(Resource::A),
        fields,
        answer,
        reading: Mostly(Reading::Whole),
    })
}

fn plain() -> Answer {
    Answer {
        kind: Mostly(Kind::Confirm),
        at_once: true,
        at_once_too: true,
        delay: 0,
        fresh: true,
        tagged: true,
        varied: 0,
        directives: Vec::new(),
        fields: Vec::new(),
        dated: true,
        dated_too: true,
        body: Mostly(BodyKind::Plain),
    }
}
