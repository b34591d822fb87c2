//! Requests for the same key at the same time.

mod common;

use common::mocked::{Mocked, Res, body, boxed, next, ok};
use common::slow::slow;
use common::{Gate, date, get, response};
use discovery_core::store::MapStore;
use discovery_http_cache::{CacheStatus, HttpCacheLayer};
use http_body_util::{BodyExt, Full};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Layer, ServiceExt};
use tower_test::mock;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn one_request_for_many() {
    let mut world = Mocked::new();
    let mut crowd = world.crowd(100);
    let (_, send) = world.next().unwrap();
    assert!(world.next().is_none());
    send.send_response(ok(&[FRESH], "one"));
    for task in &mut crowd {
        assert_eq!(body(assert_ready!(task.poll())), "one");
    }
    assert!(world.next().is_none());
    let stats = world.layer.handle().stats();
    assert_eq!(
        (stats.misses, stats.hits, stats.coalesced, stats.stores),
        (1, 99, 99, 1)
    );
}

#[test]
fn one_revalidation_for_many() {
    // Fresh afterwards or not: who has waited for a validation needs none of his own.
    for cc in ["max-age=60", "public"] {
        let mut world = Mocked::new();
        let mut first = world.crowd(1);
        let (_, send) = world.next().unwrap();
        send.send_response(ok(
            &[("cache-control", cc), ("etag", "\"1\""), ("date", &date(0))],
            "one",
        ));
        assert_eq!(body(assert_ready!(first[0].poll())), "one");
        world.pass(60);

        let mut crowd = world.crowd(10);
        let (request, send) = world.next().unwrap();
        assert_eq!(request.headers()["if-none-match"], "\"1\"");
        send.send_response(boxed(response(304, &[("date", &date(60))], Full::from(""))));
        for task in &mut crowd {
            assert_eq!(body(assert_ready!(task.poll())), "one");
        }
        assert!(world.next().is_none());
    }
}

#[test]
fn a_leader_that_goes_hands_the_lead_on() {
    let mut world = Mocked::new();
    let mut crowd = world.crowd(4);
    let (_, first) = world.next().unwrap();
    drop(crowd.remove(0));
    drop(first);
    // And so does a follower that is next, before it has noticed.
    drop(crowd.remove(0));
    assert!(crowd[0].is_woken());
    assert_pending!(crowd[0].poll());
    assert_pending!(crowd[1].poll());
    let (_, second) = world.next().unwrap();
    assert!(world.next().is_none());
    second.send_response(ok(&[FRESH], "one"));
    for task in &mut crowd {
        assert_eq!(body(assert_ready!(task.poll())), "one");
    }
}

/// Until something can be stored again.
#[test]
fn nobody_waits_twice_for_what_is_for_one_alone() {
    let mut world = Mocked::new();
    assert_eq!(
        world.fill(ok(&[("cache-control", "no-store")], "one")),
        "one"
    );
    let mut crowd = world.crowd(3);
    for task in &mut crowd {
        world.next().unwrap().1.send_response(ok(&[FRESH], "two"));
        assert_eq!(body(assert_ready!(task.poll())), "two");
    }
    world.pass(60);
    let crowd = world.crowd(3);
    let (_, _send) = world.next().unwrap();
    assert!(world.next().is_none());
    drop(crowd);
}

/// A stale response that one follower may have is nothing for the others.
#[test]
fn a_new_leader_that_takes_what_is_stale_lets_the_others_ask() {
    let mut world = Mocked::new();
    let mut first = world.ask(&[]);
    assert_pending!(first.poll());
    let _first = world.next().unwrap();
    let mut patient = world.ask(&[("cache-control", "max-stale=600")]);
    assert_pending!(patient.poll());
    // It does not wait for others, and what it gets is stale by now.
    let mut forced = world.ask(&[("cache-control", "no-cache")]);
    assert_pending!(forced.poll());
    let old = [FRESH, ("age", "83"), ("date", &date(0))];
    world.next().unwrap().1.send_response(ok(&old, "old"));
    assert_eq!(body(assert_ready!(forced.poll())), "old");
    let mut plain = world.ask(&[]);
    assert_pending!(plain.poll());
    assert!(world.next().is_none());

    drop(first);
    assert_eq!(body(assert_ready!(patient.poll())), "old");
    assert_pending!(plain.poll());
    world.next().unwrap().1.send_response(ok(&[FRESH], "new"));
    assert_eq!(body(assert_ready!(plain.poll())), "new");
}

#[test]
fn after_an_answer_of_no_use_all_go_on_at_once() {
    let answers: [fn() -> Option<Res>; 5] = [
        || None,
        || Some(boxed(response(503, &[], Full::from("one")))),
        || Some(ok(&[("cache-control", "no-store")], "one")),
        // Storable, but each has to ask.
        || {
            Some(ok(
                &[("cache-control", "no-cache"), ("etag", "\"1\"")],
                "one",
            ))
        },
        || Some(ok(&[FRESH, ("vary", "Authorization")], "one")),
    ];
    for answer in answers {
        let mut world = Mocked::new();
        let mut crowd = world.crowd(5);
        let (_, send) = world.next().unwrap();
        match answer() {
            Some(answer) => send.send_response(answer),
            None => send.send_error(common::Broken("refused")),
        }
        assert_eq!(assert_ready!(crowd[0].poll()).is_ok(), answer().is_some());
        for task in &mut crowd[1..] {
            assert!(task.is_woken());
            assert_pending!(task.poll());
        }
        let mut asked = 0;
        while let Some((_, send)) = world.next() {
            send.send_response(ok(&[], "two"));
            asked += 1;
        }
        assert_eq!(asked, 4);
        for task in &mut crowd[1..] {
            assert_eq!(body(assert_ready!(task.poll())), "two");
        }
        assert_eq!(world.layer.handle().stats().coalesced, 0);
    }
}

#[test]
fn who_may_not_share_does_not_wait() {
    let mut world = Mocked::new();
    let _leader = world.crowd(1);
    let (_, _first) = world.next().unwrap();
    let table: [&[(&str, &str)]; 6] = [
        &[("cache-control", "no-cache")],
        &[("cache-control", "no-store")],
        &[("cache-control", "max-age=5")],
        &[("cache-control", "min-fresh=5")],
        &[("range", "bytes=0-1")],
        &[("if-none-match", "\"1\"")],
    ];
    for headers in table {
        let mut task = world.ask(headers);
        assert_pending!(task.poll());
        let (_, send) = world.next().expect("it asks");
        send.send_response(ok(&[], "own"));
        assert_eq!(body(assert_ready!(task.poll())), "own");
    }
}

#[test]
fn followers_of_another_variant_ask_for_their_own() {
    let mut world = Mocked::new();
    let mut a = world.ask(&[("accept", "a")]);
    assert_pending!(a.poll());
    let mut b = world.ask(&[("accept", "b")]);
    assert_pending!(b.poll());
    let (_, send) = world.next().unwrap();
    send.send_response(ok(&[FRESH, ("vary", "accept")], "for a"));
    assert_eq!(body(assert_ready!(a.poll())), "for a");
    assert_pending!(b.poll());
    let (request, send) = world.next().unwrap();
    assert_eq!(request.headers()["accept"], "b");
    send.send_response(ok(&[FRESH, ("vary", "accept")], "for b"));
    assert_eq!(body(assert_ready!(b.poll())), "for b");
}

#[test]
fn a_thousand() {
    let mut world = Mocked::new();
    world.fill(ok(&[FRESH, ("etag", "\"1\"")], "one"));
    world.pass(60);
    let mut crowd = world.crowd(1000);
    let (_, send) = world.next().unwrap();
    send.send_response(boxed(response(304, &[FRESH], Full::from(""))));
    for task in &mut crowd {
        assert_eq!(body(assert_ready!(task.poll())), "one");
    }
    assert!(world.next().is_none());
    let stats = world.layer.handle().stats();
    assert_eq!(
        (stats.misses, stats.revalidations, stats.coalesced),
        (1, 1, 999)
    );
}

/// RFC 5861 §4: all who may have what is stale get it at once, when one has seen that the server
/// fails.
#[test]
fn what_is_stale_is_for_all_who_wait() {
    const LASTING: (&str, &str) = ("cache-control", "max-age=10, stale-if-error=60");
    for status in [Some(503), None] {
        let mut world = Mocked::with(|layer| layer.marker(CacheStatus::new("x").unwrap()));
        world.fill(ok(&[LASTING, ("etag", "\"1\"")], "one"));
        world.pass(20);
        let mut crowd = world.crowd(50);
        let (_, send) = world.next().unwrap();
        match status {
            Some(status) => send.send_response(boxed(response(status, &[], Full::from("")))),
            None => send.send_error(common::Broken("refused")),
        }
        for task in &mut crowd {
            let answer = assert_ready!(task.poll()).unwrap();
            let mark = answer.headers()["cache-status"]
                .to_str()
                .unwrap()
                .to_owned();
            assert!(mark.starts_with("x; fwd=stale; "), "{mark}");
            assert_eq!(body(Ok(answer)), "one");
        }
        assert!(
            world.next().is_none(),
            "one request has found it out for all"
        );
        assert_eq!(world.layer.handle().stats().coalesced, 49);
    }

    // Each by what he asks for: only one may have it.
    let mut world = Mocked::new();
    world.fill(ok(
        &[("cache-control", "max-age=10"), ("etag", "\"1\"")],
        "one",
    ));
    world.pass(20);
    let mut crowd = world.crowd(2);
    let mut patient = world.ask(&[("cache-control", "stale-if-error=60")]);
    assert_pending!(patient.poll());
    world
        .next()
        .unwrap()
        .1
        .send_error(common::Broken("refused"));
    assert!(assert_ready!(crowd[0].poll()).is_err());
    assert_pending!(crowd[1].poll());
    assert_eq!(body(assert_ready!(patient.poll())), "one");
    world.next().unwrap().1.send_response(ok(&[FRESH], "two"));
    assert_eq!(body(assert_ready!(crowd[1].poll())), "two");

    // A response that has been invalidated meanwhile is not served.
    let mut world = Mocked::new();
    world.fill(ok(&[LASTING], "one"));
    world.pass(20);
    let mut crowd = world.crowd(2);
    let (_, first) = world.next().unwrap();
    let mut put = world.send(common::request(http::Method::PUT, &[]));
    assert_pending!(put.poll());
    world.next().unwrap().1.send_response(ok(&[], ""));
    assert_ready_ok!(put.poll());
    first.send_error(common::Broken("refused"));
    drop(assert_ready!(crowd[0].poll()));
    assert_pending!(crowd[1].poll());
    assert!(world.next().is_some());
}

/// RFC 9111 §5.2.2.2, §5.2.2.4: what has to be validated for each request is no reason to wait.
#[test]
fn who_has_to_validate_for_himself_does_not_wait() {
    for cc in ["no-cache", "max-age=0, must-revalidate"] {
        let mut world = Mocked::new();
        world.fill(ok(&[("cache-control", cc), ("etag", "\"1\"")], "one"));
        let mut crowd = world.crowd(3);
        for task in &mut crowd {
            let (_, send) = world.next().expect("each has asked at once");
            send.send_response(boxed(response(304, &[], Full::from(""))));
            assert_eq!(body(assert_ready!(task.poll())), "one");
        }
        assert_eq!(world.layer.handle().stats().coalesced, 0);

        // A follower that could not know is let go.
        let mut world = Mocked::new();
        let mut crowd = world.crowd(3);
        let (_, send) = world.next().unwrap();
        send.send_response(ok(&[("cache-control", cc), ("etag", "\"1\"")], "one"));
        assert_ready_ok!(crowd[0].poll());
        for task in &mut crowd[1..] {
            assert_pending!(task.poll());
        }
        assert!(world.next().is_some() && world.next().is_some());
    }
    // Fresh again: for all.
    let mut world = Mocked::new();
    let cc = ("cache-control", "max-age=10, must-revalidate");
    world.fill(ok(&[cc, ("etag", "\"1\"")], "one"));
    world.pass(20);
    let mut crowd = world.crowd(3);
    world
        .next()
        .unwrap()
        .1
        .send_response(boxed(response(304, &[cc], Full::from(""))));
    for task in &mut crowd {
        assert_eq!(body(assert_ready!(task.poll())), "one");
    }
}

/// Those who have waited for another variant wait for their own, one of them asking.
#[test]
fn one_request_for_each_variant() {
    let mut world = Mocked::new();
    let mut a = world.ask(&[("accept", "a")]);
    assert_pending!(a.poll());
    let mut crowd: Vec<_> = (0..10).map(|_| world.ask(&[("accept", "b")])).collect();
    for task in &mut crowd {
        assert_pending!(task.poll());
    }
    let vary = [FRESH, ("vary", "accept")];
    world.next().unwrap().1.send_response(ok(&vary, "for a"));
    assert_eq!(body(assert_ready!(a.poll())), "for a");
    for task in &mut crowd {
        assert_pending!(task.poll());
    }
    world.next().unwrap().1.send_response(ok(&vary, "for b"));
    assert!(world.next().is_none());
    for task in &mut crowd {
        assert_eq!(body(assert_ready!(task.poll())), "for b");
    }
}

/// An answer without `Vary` takes the place of all variants. Those who waited for one of them get it, and
/// not the old answer that is still under the key of their variant (RFC 9111 §4.1).
#[test]
fn followers_of_a_variant_get_an_answer_that_is_for_all() {
    for cc in ["max-age=60", "public"] {
        let mut world = Mocked::new();
        let one = [("accept", "one")];
        for (headers, answer) in [(&[][..], "first"), (&one[..], "old")] {
            let mut task = world.ask(headers);
            assert_pending!(task.poll());
            let (_, send) = world.next().unwrap();
            send.send_response(ok(&[FRESH, ("vary", "accept")], answer));
            assert_eq!(body(assert_ready!(task.poll())), answer);
        }
        world.pass(9_720);

        let mut crowd: Vec<_> = (0..3).map(|_| world.ask(&one)).collect();
        for task in &mut crowd {
            assert_pending!(task.poll());
        }
        let (_, send) = world.next().unwrap();
        assert!(world.next().is_none());
        let fields = [
            ("cache-control", cc),
            ("etag", "\"2\""),
            ("date", &date(9_720)),
        ];
        send.send_response(ok(&fields, "for all"));
        for task in &mut crowd {
            assert_eq!(body(assert_ready!(task.poll())), "for all", "{cc}");
        }
        assert!(world.next().is_none());
    }
}

/// The answer is that of another URI, so that it is for its own caller only; all others go on at once.
#[test]
fn a_leader_that_was_led_elsewhere_lets_all_others_go_at_once() {
    let mut world = Mocked::with(|layer| {
        layer.response_uri(|parts: &http::response::Parts| {
            parts
                .headers
                .get("x-from")
                .map(|_| "https://elsewhere/".parse().unwrap())
        })
    });
    let mut crowd = world.crowd(3);
    let (_, send) = world.next().unwrap();
    send.send_response(ok(&[FRESH, ("x-from", "1")], "elsewhere"));
    assert_eq!(body(assert_ready!(crowd[0].poll())), "elsewhere");
    for task in &mut crowd[1..] {
        assert_pending!(task.poll());
    }
    for task in &mut crowd[1..] {
        let (_, send) = world.next().expect("each asks for itself");
        send.send_response(ok(&[FRESH], "own"));
        assert_eq!(body(assert_ready!(task.poll())), "own");
    }
}

/// RFC 9111 §4.4: an invalidated response may not be served without validation, also not in place of an error.
#[test]
fn a_response_that_is_invalidated_meanwhile_replaces_no_error() {
    for status in [Some(503), None] {
        let mut world = Mocked::new();
        let cc = ("cache-control", "max-age=10, stale-if-error=60");
        world.fill(ok(&[cc, ("etag", "\"1\"")], "before"));
        world.pass(20);
        let mut task = world.ask(&[]);
        assert_pending!(task.poll());
        let (_, asked) = world.next().unwrap();
        let mut put = world.send(common::request(http::Method::PUT, &[]));
        assert_pending!(put.poll());
        world.next().unwrap().1.send_response(ok(&[], ""));
        assert_ready_ok!(put.poll());
        match status {
            Some(status) => asked.send_response(boxed(response(status, &[], Full::from("error")))),
            None => asked.send_error(common::Broken("refused")),
        }
        match assert_ready!(task.poll()) {
            Ok(response) => assert_eq!(Some(response.status().as_u16()), status),
            Err(_) => assert_eq!(status, None),
        }
    }
}

/// The followers find that they have waited for another variant: one of them asks for theirs, and the others wait for that.
#[test]
fn followers_whose_leader_goes_to_another_variant_still_share_one_request() {
    let mut world = Mocked::new();
    let mut first = world.ask(&[("accept", "a")]);
    assert_pending!(first.poll());
    let _hung = world.next().unwrap();
    let mut crowd: Vec<_> = (0..5).map(|_| world.ask(&[("accept", "b")])).collect();
    for task in &mut crowd {
        assert_pending!(task.poll());
    }
    // It waits for nobody, and tells that there are variants.
    let mut forced = world.ask(&[("accept", "a"), ("cache-control", "no-cache")]);
    assert_pending!(forced.poll());
    let vary = [FRESH, ("vary", "accept")];
    world.next().unwrap().1.send_response(ok(&vary, "for a"));
    assert_eq!(body(assert_ready!(forced.poll())), "for a");

    drop(first);
    for task in &mut crowd {
        assert_pending!(task.poll());
    }
    let (request, send) = world.next().unwrap();
    assert_eq!(request.headers()["accept"], "b");
    assert!(world.next().is_none(), "one request for all");
    send.send_response(ok(&vary, "for b"));
    for task in &mut crowd {
        assert_eq!(body(assert_ready!(task.poll())), "for b");
    }
}

/// A response whose entry is not yet in the store is read by those who come meanwhile.
#[test]
fn one_request_while_the_entry_is_written() {
    let (inner, mut handle) = mock::pair();
    let (store, open) = (MapStore::new(), Gate::default());
    let service = HttpCacheLayer::new(slow(store.clone(), &open)).layer(inner);
    let ask = || task::spawn(service.clone().oneshot(get(&[])));

    let mut call = ask();
    assert_pending!(call.poll());
    let (_, send) = next(&mut handle).unwrap();
    send.send_response(ok(&[FRESH], "one"));
    let response = assert_ready_ok!(call.poll());
    let mut bodies = vec![task::spawn(response.collect())];
    assert_pending!(bodies[0].poll());

    for _ in 0..3 {
        let response = assert_ready_ok!(ask().poll());
        bodies.push(task::spawn(response.collect()));
        assert_pending!(bodies.last_mut().unwrap().poll());
    }
    assert!(next(&mut handle).is_none(), "the entry is being written");
    assert!(store.is_empty());
    open.open();
    for body in &mut bodies {
        assert_eq!(assert_ready_ok!(body.poll()).to_bytes(), "one");
    }
    assert_eq!(store.len(), 1);
}
