//! The whole decision function, against the model.

use discovery_http_cache_fuzz::scenario::{
    Answer, BodyKind, DateFormat, Directive, Kind, Mostly, Offset, Options, Reading, Reference,
    RequestField, Resource, ResponseField, Scenario, Seconds, Send, Step, Style, Tag, Value,
    VaryOn, Wait, When,
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

/// Found by the fuzzer: a HEAD that may be about two answers makes neither the newest, because nobody knows which of them
/// the cache had.
#[test]
fn a_head_that_may_be_about_two_answers_makes_neither_the_newest() {
    let varied = Answer {
        at_once: false,
        delay: 208,
        fresh: false,
        directives: vec![Directive::MustRevalidate(Style::Spaced)],
        fields: vec![
            ResponseField::LastModified(When {
                offset: Mostly(Offset::Now),
                format: Mostly(DateFormat::Rfc850),
            }),
            ResponseField::Unknown,
            ResponseField::Vary(VaryOn::Both),
        ],
        ..plain()
    };
    let held_back = Answer {
        at_once: false,
        at_once_too: false,
        delay: 100,
        fresh: false,
        tagged: false,
        directives: vec![
            Directive::Public,
            Directive::NoCacheField,
            Directive::MaxAge(Mostly(Seconds::Quoted(234))),
        ],
        fields: vec![
            ResponseField::ContentLocation(Reference::Path(Resource::A)),
            ResponseField::Vary(VaryOn::Nothing),
        ],
        ..plain()
    };
    let bare = Answer {
        delay: 182,
        fresh: false,
        tagged: false,
        ..plain()
    };
    let (get, head) = (0, 171);
    let accept = vec![Mostly(RequestField::Accept(Value::One))];
    let steps = vec![
        send(get, accept, varied),
        Step::Wait(Wait::Second),
        Step::Again(held_back),
        Step::Get(Mostly(Resource::A), bare),
        Step::ReadOn,
        Step::Release(120),
        send(head, vec![], plain()),
        send(get, vec![], plain()),
    ];
    let options = Options {
        strict: false,
        strict_dates: false,
        never_stale: true,
        drop_on_error: false,
        memo: false,
    };
    World::run(&Scenario { options, steps });
}

/// Found by the fuzzer: a 304 to OPTIONS is not about a stored response to GET.
#[test]
fn a_304_to_another_method_changes_nothing() {
    let options_method = 243;
    let first = Answer {
        kind: Mostly(Kind::Ok),
        delay: 148,
        tagged: false,
        directives: vec![Directive::NoCacheField],
        fields: vec![
            ResponseField::Tag(Tag::Strong(true)),
            ResponseField::Tag(Tag::Any),
            ResponseField::Date(When {
                offset: Mostly(Offset::FarAhead(212)),
                format: Mostly(DateFormat::Asctime),
            }),
        ],
        dated: false,
        dated_too: false,
        ..plain()
    };
    let fields = vec![
        Mostly(RequestField::MaxAge(Mostly(Seconds::Some(60)))),
        Mostly(RequestField::IfNoneMatch(Tag::Strong(true))),
    ];
    let other = Answer {
        fresh: false,
        tagged: false,
        fields: vec![ResponseField::Age(Mostly(Seconds::Some(60)))],
        ..plain()
    };
    let steps = vec![
        Step::Get(Mostly(Resource::A), first),
        send(options_method, fields, other),
        send(0, vec![], plain()),
    ];
    let options = Options {
        strict: true,
        strict_dates: true,
        never_stale: true,
        drop_on_error: false,
        memo: true,
    };
    World::run(&Scenario { options, steps });
}

/// Found by the fuzzer: a HEAD that goes by the stored answer to a GET brings a newer answer than the one that is stored for
/// HEAD alone, which then can't stand in for an error any more.
#[test]
fn an_answer_to_head_outdates_the_one_that_is_stored_for_head() {
    let (first_head, second_head) = (177, 180);
    let teapot = Answer {
        kind: Mostly(Kind::Status(30)),
        delay: 49,
        tagged: false,
        varied: 234,
        dated: false,
        dated_too: false,
        body: Mostly(BodyKind::WithLength),
        ..plain()
    };
    let first = Answer {
        kind: Mostly(Kind::Ok),
        delay: 253,
        fresh: false,
        ..plain()
    };
    let second = Answer {
        tagged: false,
        fields: vec![
            ResponseField::Age(Mostly(Seconds::Some(60))),
            ResponseField::LastModified(When {
                offset: Mostly(Offset::Now),
                format: Mostly(DateFormat::Imf),
            }),
        ],
        ..plain()
    };
    let broken = Answer {
        kind: Mostly(Kind::Broken),
        ..plain()
    };
    let language = Mostly(RequestField::Language(Value::Two));
    let accept = Mostly(RequestField::Accept(Value::One));
    let steps = vec![
        Step::Again(teapot),
        send(first_head, vec![language, accept], first),
        send(second_head, vec![], second),
        Step::Again(broken),
    ];
    let options = Options {
        strict: true,
        strict_dates: false,
        never_stale: false,
        drop_on_error: false,
        memo: true,
    };
    World::run(&Scenario { options, steps });
}

/// Found by the fuzzer: a 304 is not about a response that came after the request for it was sent.
#[test]
fn a_304_is_not_about_what_came_later() {
    let now = When {
        offset: Mostly(Offset::Now),
        format: Mostly(DateFormat::Imf),
    };
    let held_back = Answer {
        at_once: false,
        at_once_too: false,
        delay: 174,
        tagged: false,
        directives: vec![Directive::NoStore(Style::Plain)],
        fields: vec![ResponseField::LastModified(now)],
        dated: false,
        dated_too: false,
        ..plain()
    };
    let stored = Answer {
        kind: Mostly(Kind::Ok),
        delay: 9,
        tagged: false,
        fields: vec![ResponseField::LastModified(now)],
        ..plain()
    };
    let fields = vec![Mostly(RequestField::IfModifiedSince(now))];
    let steps = vec![
        send(0, fields, held_back),
        Step::Again(stored),
        Step::Release(0),
        send(0, vec![], plain()),
    ];
    let options = Options {
        strict: true,
        strict_dates: true,
        never_stale: true,
        drop_on_error: false,
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
