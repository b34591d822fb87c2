use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Holds back whatever waits for it, until it is opened. Clones are the same gate.
///
/// A gate that was opened stays open. Bodies ([`BodyStep::Wait`](super::BodyStep::Wait)), servers
/// ([`ScriptedService`](super::ScriptedService)) and stores ([`ScriptedStore`](super::ScriptedStore))
/// of this kit wait for gates, and so can any other future:
///
/// ```
/// use discovery_core::testing::Gate;
///
/// let gate = Gate::new();
/// let mut task = tokio_test::task::spawn(gate.opened());
/// assert!(task.poll().is_pending());
/// gate.open();
/// assert!(task.is_woken() && task.poll().is_ready());
/// ```
#[derive(Clone, Default)]
pub struct Gate {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    open: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate, and wakes all that wait for it.
    pub fn open(&self) {
        let waiting = {
            let mut state = self.lock();
            state.open = true;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// Whether it was opened.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Waits until the gate is open.
    pub fn opened(&self) -> Opened {
        Opened { gate: self.clone() }
    }

    /// Ready when the gate is open; the task of `cx` is woken when that happens. For futures and
    /// bodies that are written by hand.
    ///
    /// ```
    /// use discovery_core::testing::Gate;
    /// use std::future::poll_fn;
    ///
    /// let gate = Gate::new();
    /// gate.open();
    /// tokio_test::block_on(poll_fn(|cx| gate.poll_open(cx)));
    /// ```
    pub fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.open {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|one| one.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("open", &self.is_open())
            .finish()
    }
}

/// Ready when its [`Gate`] is open: the future of [`Gate::opened`], where an example is.
#[derive(Clone, Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Opened {
    gate: Gate,
}

impl Future for Opened {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.gate.poll_open(cx)
    }
}
