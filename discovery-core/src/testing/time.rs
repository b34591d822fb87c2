use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Sleep, Timer};

/// A [`hyper::rt::Timer`] whose time passes when the test says so. Clones share one time.
///
/// [`ManualClock`](crate::sync::clock::ManualClock) does the same for the wall-clock time.
///
/// ```
/// use discovery_core::testing::ManualTimer;
/// use hyper::rt::Timer;
/// use std::time::Duration;
///
/// let timer = ManualTimer::new();
/// let mut sleep = tokio_test::task::spawn(timer.sleep(Duration::from_secs(5)));
/// assert!(sleep.poll().is_pending());
/// timer.advance(Duration::from_secs(4));
/// assert!(!sleep.is_woken() && sleep.poll().is_pending());
/// timer.advance(Duration::from_secs(1));
/// assert!(sleep.is_woken() && sleep.poll().is_ready());
/// assert_eq!(timer.sleeps(), [Duration::from_secs(5)]);
/// ```
#[derive(Clone)]
pub struct ManualTimer {
    time: Arc<Mutex<Time>>,
}

struct Time {
    now: Instant,
    sleeping: Vec<(Instant, Waker)>,
    sleeps: Vec<Duration>,
}

impl ManualTimer {
    /// A timer for which no time passes.
    #[must_use]
    pub fn new() -> Self {
        let time = Time {
            now: Instant::now(),
            sleeping: Vec::new(),
            sleeps: Vec::new(),
        };
        Self {
            time: Arc::new(Mutex::new(time)),
        }
    }

    /// Lets time pass, and wakes those whose sleep is over.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut time = self.lock();
            time.now += by;
            let now = time.now;
            let (due, later) = std::mem::take(&mut time.sleeping)
                .into_iter()
                .partition::<Vec<_>, _>(|(deadline, _)| *deadline <= now);
            time.sleeping = later;
            due
        };
        for (_, waker) in due {
            waker.wake();
        }
    }

    /// The durations that the timer was asked to sleep for, since the beginning, in order.
    #[must_use]
    pub fn sleeps(&self) -> Vec<Duration> {
        self.lock().sleeps.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let mut time = self.lock();
        time.sleeps.push(duration);
        Box::pin(Asleep {
            deadline: time.now + duration,
            timer: self.clone(),
        })
    }
}

impl Default for ManualTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for ManualTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.start(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let duration = deadline.saturating_duration_since(self.now());
        self.start(duration)
    }

    fn now(&self) -> Instant {
        self.lock().now
    }
}

impl fmt::Debug for ManualTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.lock();
        f.debug_struct("ManualTimer")
            .field("sleeps", &time.sleeps)
            .finish_non_exhaustive()
    }
}

struct Asleep {
    deadline: Instant,
    timer: ManualTimer,
}

impl Sleep for Asleep {}

impl Future for Asleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut time = self.timer.lock();
        if time.now >= self.deadline {
            return Poll::Ready(());
        }
        time.sleeping.push((self.deadline, cx.waker().clone()));
        Poll::Pending
    }
}

/// A [`hyper::rt::Executor`] that keeps tasks until the test runs them. Clones share the tasks.
///
/// ```
/// use discovery_core::testing::ManualExecutor;
/// use hyper::rt::Executor;
///
/// let executor = ManualExecutor::new();
/// executor.execute(async { println!("behind the answer") });
/// assert_eq!(executor.len(), 1);
/// tokio_test::block_on(executor.run());
/// assert!(executor.is_empty());
/// ```
#[derive(Clone, Default)]
pub struct ManualExecutor {
    tasks: Arc<Mutex<Vec<Task>>>,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl ManualExecutor {
    /// An executor without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of tasks that were not begun.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no task is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs the tasks that are there, one after the other in the order in which they came. Tasks that
    /// they start stay for the next run.
    pub async fn run(&self) {
        for task in self.take() {
            task.await;
        }
    }

    /// The tasks that are there, in the order in which they came, to be polled or dropped.
    #[must_use]
    pub fn take(&self) -> Vec<Pin<Box<dyn Future<Output = ()> + Send>>> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Executor<F> for ManualExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.lock().push(Box::pin(future));
    }
}

impl fmt::Debug for ManualExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualExecutor")
            .field("tasks", &self.len())
            .finish()
    }
}
