//! `WriteOrder`: one write of a key after another, given up or not.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use discovery_core::store::{Op, WriteOrder};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio_test::block_on;

/// The steps of operations, in the order in which they were taken.
#[derive(Clone, Default)]
struct Steps(Arc<Mutex<Vec<&'static str>>>);

impl Steps {
    fn take(&self, step: &'static str) {
        self.0.lock().unwrap().push(step);
    }

    fn taken(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }

    /// An operation of one step, which waits for nothing.
    fn step(&self, step: &'static str) -> impl Future<Output = ()> + Send + 'static {
        let this = self.clone();
        async move { this.take(step) }
    }
}

fn poll<T: Unpin + 'static>(op: &mut Op<T>) -> Poll<T> {
    Pin::new(op).poll(&mut Context::from_waker(Waker::noop()))
}

/// An operation that has begun, and whose end waits for the sender.
fn begun(order: &WriteOrder, steps: &Steps) -> (Op<()>, oneshot::Sender<()>) {
    let (end, ended) = oneshot::channel();
    let steps = steps.clone();
    let mut op = order.run("key", async move {
        steps.take("begun");
        let _ = ended.await;
        steps.take("ended");
    });
    assert!(poll(&mut op).is_pending());
    (op, end)
}

#[test]
fn operations_of_a_key_run_in_the_order_in_which_they_were_asked_for() {
    let (order, steps) = (WriteOrder::new(), Steps::default());
    let first = order.run("key", steps.step("first"));
    let second = order.run("key", steps.step("second"));
    block_on(second);
    assert_eq!(
        steps.taken(),
        ["first", "second"],
        "the second runs the first"
    );
    block_on(first);
    assert_eq!(steps.taken().len(), 2);
}

#[test]
fn other_keys_do_not_wait() {
    let (order, steps) = (WriteOrder::new(), Steps::default());
    let (_op, _end) = begun(&order, &steps);
    block_on(order.run("other", steps.step("other")));
    assert_eq!(steps.taken(), ["begun", "other"]);
}

#[test]
fn an_operation_that_was_given_up_before_it_began_never_runs() {
    let (order, steps) = (WriteOrder::new(), Steps::default());
    drop(order.run("key", steps.step("given up")));
    block_on(order.run("key", steps.step("later")));
    assert_eq!(steps.taken(), ["later"]);
}

#[test]
fn an_operation_that_was_given_up_while_another_ran_never_runs() {
    let (order, steps) = (WriteOrder::new(), Steps::default());
    let (op, end) = begun(&order, &steps);
    let mut waiting = order.run("key", steps.step("given up"));
    assert!(poll(&mut waiting).is_pending());
    drop(waiting);
    end.send(()).unwrap();
    block_on(op);
    block_on(order.run("key", steps.step("later")));
    assert_eq!(steps.taken(), ["begun", "ended", "later"]);
}

#[test]
fn an_operation_that_was_given_up_when_it_had_begun_ends_before_the_next() {
    let (order, steps) = (WriteOrder::new(), Steps::default());
    let (op, end) = begun(&order, &steps);
    drop(op);
    let mut next = order.run("key", steps.step("next"));
    assert!(poll(&mut next).is_pending());
    end.send(()).unwrap();
    block_on(next);
    assert_eq!(steps.taken(), ["begun", "ended", "next"]);
}

#[tokio::test]
async fn with_a_runtime_it_ends_though_there_is_no_next() {
    let order = WriteOrder::new().spawn(|op| drop(tokio::spawn(op)));
    let steps = Steps::default();
    let (op, end) = begun(&order, &steps);
    drop(op);
    end.send(()).unwrap();
    while steps.taken().len() < 2 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    assert_eq!(format!("{order:?}"), "WriteOrder { keys: 0, .. }");
}

#[test]
fn a_panic_is_the_callers_alone() {
    let (order, steps) = (WriteOrder::new(), Steps::default());
    let op = order.run("key", async { panic!("of the operation") });
    let mut next = order.run("key", steps.step("next"));
    let outcome = block_on(AssertUnwindSafe(op).catch_unwind());
    assert!(outcome.is_err_and(|_: Box<_>| true));
    assert!(poll(&mut next).is_ready());
}

#[test]
fn nothing_is_kept_of_operations_that_have_ended() {
    let order = WriteOrder::new();
    for key in ["a", "b", "a"] {
        block_on(order.run(key, async {}));
    }
    assert_eq!(format!("{order:?}"), "WriteOrder { keys: 0, .. }");
    let mut waiting = order.run("a", pending::<()>());
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(format!("{order:?}"), "WriteOrder { keys: 1, .. }");
}
