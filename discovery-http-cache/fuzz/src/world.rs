use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use discovery_core::store::{MapStore, Op, Store, Value};
use discovery_core::sync::clock::ManualClock;
use discovery_http_cache::{Body, BoxFuture, HttpCache, HttpCacheLayer};
use http::{Request, Response};
use http_body::Body as _;
use hyper::rt::Executor;
use tower_layer::Layer;
use tower_service::Service;

use crate::model::{Asked, Got, History, Rules};
use crate::once::start;
use crate::origin::{Broken, Frames, Order, Origin};
use crate::render;
use crate::scenario::{
    Answer, Damage, Mostly, Options, Reading, Resource, Scenario, Send, Step, Wait,
};
use crate::story::Story;

type Cache = HttpCache<Origin>;
type Tasks = VecDeque<BoxFuture<()>>;
type Answering = Pin<Box<<Cache as Service<Request<Order>>>::Future>>;

/// The layer, a server, a store and a clock, and clients that do what a [`Scenario`] says. Each
/// response, and all that is in the store after each step, is judged by the [model](crate::model).
pub struct World {
    clock: ManualClock,
    origin: Origin,
    store: MapStore,
    cache: Cache,
    background: Background,
    waiting: Vec<Waiting>,
    reading: Vec<Unread>,
    last: Option<Send>,
    requests: usize,
}

struct Waiting {
    asked: Asked,
    reading: Reading,
    future: Answering,
}

struct Unread {
    asked: Asked,
    got: Got,
    body: Pin<Box<Body<Frames>>>,
    data: Vec<u8>,
}

/// Keeps what is to be done behind an answer.
#[derive(Clone, Default)]
struct Background {
    tasks: Arc<Mutex<Tasks>>,
}

impl World {
    /// Goes through a scenario.
    ///
    /// # Panics
    ///
    /// When the layer does what it must not.
    pub fn run(scenario: &Scenario) {
        let mut world = Self::new(scenario.options);
        for step in &scenario.steps {
            world.step(step);
            world.check_store();
        }
        while !world.waiting.is_empty() {
            world.origin.release(0);
            world.poll();
        }
        world.read_on();
        world.check_store();
    }

    fn new(options: Options) -> Self {
        let clock = ManualClock::new(start());
        let rules = Rules {
            kubectl: !options.strict,
            lenient_dates: !options.strict_dates || !options.strict,
            stale_if_disconnected: !options.never_stale,
        };
        let origin = Origin::new(clock.clone(), History::new(rules));
        let (store, background) = (MapStore::new(), Background::default());
        let mut layer = HttpCacheLayer::new(store.clone());
        if !options.strict {
            layer = layer.kubectl();
        }
        if !options.strict_dates {
            layer = layer.lenient_dates(true);
        }
        if !options.memo {
            layer = layer.max_head_cache_size(0);
        }
        let layer = layer
            .clock(clock.clone())
            .stale_if_disconnected(!options.never_stale)
            .keep_on_error(!options.drop_on_error)
            .executor(background.clone());
        Self {
            clock,
            cache: layer.layer(origin.clone()),
            origin,
            store,
            background,
            waiting: Vec::new(),
            reading: Vec::new(),
            last: None,
            requests: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send(send) => self.send(send.clone()),
            Step::Again(answer) => {
                let last = self.last.clone();
                self.send(Send {
                    answer: answer.clone(),
                    ..last.unwrap_or_else(|| plain(Mostly(Resource::A), answer.clone()))
                });
            }
            Step::Get(resource, answer) => self.send(plain(*resource, answer.clone())),
            Step::Wait(wait) => self.clock.advance(match wait {
                Wait::Second => Duration::from_secs(1),
                Wait::Seconds(n) => Duration::from_secs((*n).into()),
                Wait::Minutes(n) => Duration::from_secs(u64::from(*n) * 60),
                Wait::Millis(n) => Duration::from_millis((*n).into()),
                // Never beyond the fifty years of RFC 9110 §5.6.7.
                Wait::Years(n) => Duration::from_secs(u64::from(*n % 4) * 31_556_952),
            }),
            Step::Release(n) => self.origin.release((*n).into()),
            Step::Cancel(n) if !self.waiting.is_empty() => {
                let at = usize::from(*n) % self.waiting.len();
                drop(self.waiting.remove(at));
            }
            Step::Cancel(_) => {}
            Step::ReadOn => self.read_on(),
            Step::Damage(damage) => self.damage(damage),
        }
        self.poll();
    }

    fn send(&mut self, send: Send) {
        self.requests += 1;
        let number = self.requests;
        let at = self.origin.moment();
        let asked = Asked {
            number,
            method: render::method(send.method),
            uri: render::uri(*send.resource),
            headers: render::request_headers(&send.fields, number, at.time),
            at,
        };
        let mut request = Request::new(Order {
            asked: asked.clone(),
            answer: send.answer.clone(),
        });
        *request.method_mut() = asked.method.clone();
        *request.uri_mut() = asked.uri.parse().expect("a URI");
        *request.headers_mut() = asked.headers.clone();
        let mut cache = self.cache.clone();
        assert!(
            cache.poll_ready(&mut context()).is_ready(),
            "the server is ready"
        );
        self.waiting.push(Waiting {
            asked,
            reading: *send.reading,
            future: Box::pin(cache.call(request)),
        });
        self.last = Some(send);
        self.poll();
    }

    /// Polls what waits, until nothing happens any more.
    fn poll(&mut self) {
        loop {
            let mut progress = self.background.poll();
            let mut at = 0;
            while at < self.waiting.len() {
                match self.waiting[at].future.as_mut().poll(&mut context()) {
                    Poll::Pending => at += 1,
                    Poll::Ready(result) => {
                        progress = true;
                        let waiting = self.waiting.remove(at);
                        self.answered(waiting, result);
                    }
                }
            }
            // A second look, for those that have been woken by one behind them.
            if !progress {
                return;
            }
        }
    }

    fn answered(&mut self, waiting: Waiting, result: Result<Response<Body<Frames>>, Broken>) {
        let at = self.origin.moment();
        let Ok(response) = result else {
            return;
        };
        let (parts, body) = response.into_parts();
        let mut unread = Unread {
            asked: waiting.asked,
            got: Got {
                status: parts.status,
                headers: parts.headers,
                body: None,
                at,
            },
            body: Box::pin(body),
            data: Vec::new(),
        };
        // The headers, at once: what comes later is no excuse.
        self.judge(&unread);
        match waiting.reading {
            Reading::Whole => self.read(unread),
            Reading::Nothing => {}
            Reading::OneFrame => {
                let _ = unread.body.as_mut().poll_frame(&mut context());
            }
            Reading::Later => self.reading.push(unread),
        }
    }

    fn read_on(&mut self) {
        for unread in std::mem::take(&mut self.reading) {
            self.read(unread);
        }
    }

    fn read(&mut self, mut unread: Unread) {
        loop {
            match unread.body.as_mut().poll_frame(&mut context()) {
                Poll::Pending => panic!("the body does not come"),
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    unread.data.extend_from_slice(&data);
                }
                Poll::Ready(Some(Err(_))) => return,
                Poll::Ready(None) => break,
            }
        }
        unread.got.body = Some(std::mem::take(&mut unread.data));
        self.judge(&unread);
        // It may be in the store from now on.
        let at = self.origin.moment();
        let mut state = self.origin.state();
        for contact in &mut state.history.contacts {
            if contact.asked.number == unread.asked.number
                && let Some(given) = &mut contact.answer
            {
                given.read.get_or_insert(at);
            }
        }
    }

    fn judge(&self, unread: &Unread) {
        let state = self.origin.state();
        if let Err(reason) = state.history.judge(&unread.asked, &unread.got) {
            let history = Story(&state.history, Some((&unread.asked, &unread.got)));
            panic!("{reason}\n{history}");
        }
    }

    fn check_store(&self) {
        let state = self.origin.state();
        for key in self.store.all_keys() {
            let Some(value) = now(self.store.get(&key)) else {
                continue;
            };
            let bytes = [key.as_bytes(), &value.into_bytes()].concat();
            if let Some(reason) = state.history.betrayed_by(&bytes) {
                let story = Story(&state.history, None);
                panic!("stored: {reason}\n{}\n{story}", bytes.escape_ascii());
            }
        }
    }

    /// Does to the store what another program might do.
    fn damage(&self, damage: &Damage) {
        let mut keys = self.store.all_keys();
        keys.sort();
        let (Damage::Forget(n)
        | Damage::Empty(n)
        | Damage::Garbage(n, _)
        | Damage::CutAt(n, _)
        | Damage::Flip(n, _)) = *damage;
        let Some(key) = keys.get(usize::from(n) % keys.len().max(1)) else {
            return;
        };
        let mut bytes = now(self.store.get(key))
            .unwrap_or_default()
            .into_bytes()
            .to_vec();
        let size = bytes.len().max(1);
        match *damage {
            Damage::Forget(_) => {
                now_done(self.store.remove(key));
            }
            Damage::Empty(_) => bytes.clear(),
            Damage::Garbage(_, garbage) => bytes = garbage.to_vec(),
            // The end of the body is not the head's business: that is what the sum of a file is for.
            Damage::CutAt(_, at) => bytes.truncate(usize::from(at).min(size / 4)),
            // Breaks the status line.
            Damage::Flip(_, by) => {
                if let Some(byte) = bytes.get_mut(usize::from(by) % 5) {
                    *byte ^= 0x80;
                }
            }
        }
        if !matches!(damage, Damage::Forget(_)) {
            now_done(self.store.put(key, Value::new(bytes, Bytes::new())));
        }
        let at = self.origin.moment();
        self.origin.state().history.damaged.get_or_insert(at);
    }
}

impl Background {
    /// Runs what there is. Says whether something has ended.
    fn poll(&self) -> bool {
        let mut tasks = self.take();
        let before = tasks.len();
        tasks.retain_mut(|task| task.as_mut().poll(&mut context()).is_pending());
        let ended = tasks.len() < before;
        self.lock().extend(tasks);
        ended
    }

    fn take(&self) -> Vec<BoxFuture<()>> {
        self.lock().drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executor<BoxFuture<()>> for Background {
    fn execute(&self, refresh: BoxFuture<()>) {
        self.lock().push_back(refresh);
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("store", &self.store)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

fn plain(resource: Mostly<Resource>, answer: Answer) -> Send {
    Send {
        method: 0,
        resource,
        fields: Vec::new(),
        answer,
        reading: Mostly(Reading::Whole),
    }
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// The result of an operation on a store in memory, which never waits.
fn now_done<T>(op: Op<std::io::Result<T>>) -> Option<T> {
    match op {
        Op::Ready(result) => result.ok(),
        Op::Wait(_) => None,
    }
}

pub(crate) fn now(op: Op<std::io::Result<Option<Value>>>) -> Option<Value> {
    now_done(op).flatten()
}
