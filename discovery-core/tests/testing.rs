//! The test kit: what it promises to tests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use discovery_core::kube::document::{
    ApiGroupDiscoveryList, ApiGroupList, ApiResourceList, ApiVersions, decode,
};
use discovery_core::store::{MapStore, Store, Value};
use discovery_core::testing::fixtures::{self, Group};
use discovery_core::testing::{
    self, BodyScript, BodyStep, Events, Gate, ManualExecutor, ManualTimer, ScriptedService,
    ScriptedStore, StoreOp, TestError, conformance,
};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::rt::{Executor, Timer};
use std::time::Duration;
use tokio_test::{assert_pending, assert_ready, block_on, task};
use tower::{Service, ServiceExt};

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

#[test]
fn a_gate_wakes_all_that_wait_for_it_and_stays_open() {
    let gate = Gate::new();
    let mut waiting = [(); 3].map(|()| task::spawn(gate.opened()));
    for task in &mut waiting {
        assert_pending!(task.poll());
        assert_pending!(task.poll());
    }
    gate.clone().open();
    for task in &mut waiting {
        assert!(task.is_woken());
        assert_ready!(task.poll());
    }
    assert_ready!(task::spawn(gate.opened()).poll());
}

#[test]
fn a_body_carries_out_its_steps_in_order() {
    let gates = [Gate::new(), Gate::new()];
    let trailers: http::HeaderMap = [("x-sum".parse().unwrap(), "1".parse().unwrap())]
        .into_iter()
        .collect();
    let body = BodyScript::new()
        .data("one")
        .wait(&gates[0])
        .wait(&gates[1])
        .trailers(trailers.clone())
        .error(TestError("cut"));
    let read = body.frames_read();
    let mut body = task::spawn(body);
    let mut next = || body.enter(|cx, body| body.poll_frame(cx));
    assert_eq!(frame(next()).into_data().unwrap(), "one");
    assert_pending!(next());
    gates[0].open();
    assert_pending!(next());
    gates[1].open();
    assert_eq!(frame(next()).into_trailers().unwrap(), trailers);
    assert_eq!(read.get(), 2);
    match next() {
        Poll::Ready(Some(Err(error))) => assert_eq!(error, TestError("cut")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(next(), Poll::Ready(None)));
    assert_eq!(read.get(), 3);
    assert!(!body.is_end_stream(), "it does not tell its end");
}

fn frame(
    poll: Poll<Option<Result<http_body::Frame<bytes::Bytes>, TestError>>>,
) -> http_body::Frame<bytes::Bytes> {
    match poll {
        Poll::Ready(Some(Ok(frame))) => frame,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_body_of_a_text_knows_its_length_and_its_end() {
    let body = BodyScript::<TestError>::from("text");
    assert_eq!(body.size_hint().exact(), Some(4));
    assert!(!body.is_end_stream());
    let empty = BodyScript::<TestError>::from(String::new());
    assert!(empty.is_end_stream());
    assert_eq!(block_on(empty.collect()).unwrap().to_bytes(), "");
}

#[test]
fn answers_in_order_come_before_those_by_path_and_these_before_the_fallback() {
    let server = ScriptedService::new();
    server.fallback(|request| Ok(Response::new(request.uri().path().to_owned().into())));
    server.respond_at("/a", |_| Response::new("by path".into()));
    server.respond(Response::new("in order"));
    for (uri, text) in [
        ("/a", "in order"),
        ("/a?x=1", "by path"),
        ("/b?x=1", "/b"),
        ("/a", "by path"),
    ] {
        let response = block_on(server.clone().oneshot(get(uri))).unwrap();
        assert_eq!(block_on(testing::read_text(response)), text, "{uri}");
    }
    assert_eq!(server.request_count(), 4);
    assert_eq!(server.last_request().unwrap().uri(), "/a");
    assert_eq!(server.requests()[1].uri(), "/a?x=1");
    assert_eq!(server.take_paths(), ["/a", "/a", "/b", "/a"]);
    assert_eq!(server.request_count(), 0);
}

#[test]
fn a_server_without_an_answer_panics() {
    let server = ScriptedService::new();
    let call = catch_unwind(AssertUnwindSafe(|| {
        block_on(server.clone().oneshot(get("/"))).map(drop)
    }));
    assert!(call.is_err());
    assert_eq!(server.request_count(), 1, "the panic has poisoned nothing");
}

#[test]
fn a_call_of_a_service_that_was_not_made_ready_panics() {
    let mut server = ScriptedService::new();
    server.fallback(|_| Ok(Response::new("".into())));
    block_on(ServiceExt::<Request<()>>::ready(&mut server)).unwrap();
    let mut clone = server.clone();
    let call = |service: &mut ScriptedService| {
        catch_unwind(AssertUnwindSafe(|| {
            block_on(service.call(get("/"))).is_ok()
        }))
        .is_ok()
    };
    assert!(
        !call(&mut clone),
        "the original was ready, the clone was not"
    );
    assert!(call(&mut server));
    assert!(!call(&mut server), "one readiness is for one call");
}

#[test]
fn a_held_answer_is_that_of_the_request_that_came_first() {
    let (server, gate) = (ScriptedService::new(), Gate::new());
    server.hold_answers(&gate);
    server.respond(Response::new("one"));
    server.respond(Response::new("two"));
    let mut calls = ["/1", "/2"].map(|uri| task::spawn(server.clone().oneshot(get(uri))));
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    gate.open();
    for (call, text) in calls.iter_mut().zip(["one", "two"]).rev() {
        let response = assert_ready!(call.poll()).unwrap();
        assert_eq!(block_on(testing::read_text(response)), text);
    }
}

#[test]
fn a_scripted_store_keeps_the_contract_however_slow_it_is() {
    for delay in [0, 2] {
        block_on(conformance::run(|| {
            let store = ScriptedStore::new();
            for op in StoreOp::ALL {
                store.delay(op, delay);
            }
            store
        }));
    }
}

#[test]
fn an_operation_that_fails_does_not_reach_the_inner_store() {
    let store = ScriptedStore::around(MapStore::new());
    let value = || Value::new("", "value");
    block_on(store.put("key", value())).unwrap();
    for op in StoreOp::ALL {
        store.fail_with(op, |key| std::io::Error::other(key.to_owned()));
    }
    for error in [
        block_on(store.get("key")).unwrap_err(),
        block_on(store.put("key", Value::default())).unwrap_err(),
        block_on(store.create("key", "".into()))
            .map(drop)
            .unwrap_err(),
        block_on(store.remove("key")).unwrap_err(),
        block_on(store.keys("key")).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "key");
    }
    assert!(block_on(store.clear()).is_err() && block_on(store.size()).is_err());
    store.heal(StoreOp::Create);
    let writer = || block_on(store.create("key", "".into())).unwrap();
    assert!(block_on(writer().write("x".into())).is_err());
    assert!(block_on(writer().commit()).is_err());
    assert_eq!(block_on(store.inner().get("key")).unwrap(), Some(value()));
    assert_eq!(
        (store.count(StoreOp::Put), store.count(StoreOp::Create)),
        (2, 3)
    );
}

#[test]
fn a_held_operation_that_is_dropped_never_happens() {
    let (store, gate) = (ScriptedStore::new(), Gate::new());
    store.hold(StoreOp::Put, &gate);
    let mut put = task::spawn(store.put("key", Value::new("", "value")));
    assert_pending!(put.poll());
    drop(put);
    gate.open();
    assert!(store.inner().is_empty());
}

#[test]
fn a_sleep_ends_when_its_own_time_has_passed() {
    let timer = ManualTimer::new();
    let second = Duration::from_secs(1);
    let mut short = task::spawn(timer.sleep(second));
    let mut long = task::spawn(timer.sleep_until(timer.now() + 2 * second));
    assert_pending!(short.poll());
    assert_pending!(long.poll());
    timer.advance(second);
    assert!(short.is_woken() && !long.is_woken());
    assert_ready!(short.poll());
    assert_pending!(long.poll());
    timer.clone().advance(second);
    assert_ready!(long.poll());
    assert_eq!(timer.sleeps(), [second, 2 * second]);
}

#[test]
fn the_fixtures_are_documents_that_decode() {
    let versions: ApiVersions = decode(fixtures::api_versions(&["v1"]).as_bytes()).unwrap();
    assert_eq!(versions.versions, ["v1"]);
    let groups = fixtures::group_list(&[
        Group::new("a").version("v2", &["xs"]).version("v1", &[]),
        Group::new("b\"").stale_version("v1"),
        Group::new("none"),
    ]);
    let groups: ApiGroupList = decode(groups.as_bytes()).unwrap();
    let seen: Vec<_> = groups
        .groups
        .iter()
        .map(|group| {
            (
                &*group.name,
                group.versions().len(),
                &*group.preferred_version.version,
            )
        })
        .collect();
    assert_eq!(seen, [("a", 2, "v2"), ("b\"", 1, "v1"), ("none", 0, "")]);
    let list = fixtures::resource_list("a/v1", &["xs", "xs/status"]);
    let list: ApiResourceList = decode(list.as_bytes()).unwrap();
    assert_eq!((&*list.group_version, list.resources.len()), ("a/v1", 2));
    let aggregated = fixtures::aggregated(&[
        Group::new("").version("v1", &["pods"]),
        Group::new("s").stale_version("v1"),
    ]);
    let aggregated: ApiGroupDiscoveryList = decode(aggregated.as_bytes()).unwrap();
    assert_eq!(
        &*aggregated.items[0].versions[0].resources[0].resource,
        "pods"
    );
    assert!(aggregated.items[1].versions[0].is_stale());
}

#[test]
fn a_script_can_be_collected_from_steps() {
    let body: BodyScript = (0..3).map(|_| BodyStep::Data("ab".into())).collect();
    assert_eq!(block_on(body.collect()).unwrap().to_bytes(), "ababab");
}

#[test]
fn a_span_is_captured_with_the_fields_that_it_begins_with() {
    let events = Events::new("testing");
    events.capture(|| {
        let span = tracing::debug_span!("request", path = "/api", status = tracing::field::Empty);
        span.record("status", 200);
        span.in_scope(|| tracing::trace!(age = ?Some(6), "{} of it", "half"));
    });
    let texts: Vec<_> = events.take().iter().map(ToString::to_string).collect();
    assert_eq!(texts, [" path=/api", " message=half of it age=Some(6)"]);
}

#[test]
fn the_check_for_secrets_fails_on_secrets_control_characters_and_silence() {
    let check = |log: fn()| {
        let events = Events::new("");
        events.capture(log);
        catch_unwind(AssertUnwindSafe(|| events.assert_without(&["hunter2"]))).is_ok()
    };
    assert!(check(|| tracing::info!(path = "/api", "miss")));
    assert!(!check(|| tracing::info!(path = "/?token=hunter2", "miss")));
    assert!(!check(|| tracing::info!("one line\nand another")));
    assert!(!check(|| ()));
}

#[test]
fn tasks_that_a_task_starts_stay_for_the_next_run() {
    let executor = ManualExecutor::new();
    let inner = executor.clone();
    executor.execute(async move { inner.execute(async {}) });
    block_on(executor.run());
    assert_eq!(executor.len(), 1);
    drop(executor.take());
    assert!(executor.is_empty());
}
