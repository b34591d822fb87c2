//! The server, its body, and what they remember.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use discovery_core::sync::clock::{Clock, ManualClock};
use http::{Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tower_service::Service;

use crate::model::{Asked, Contact, Given, History, Moment};
use crate::render;
use crate::scenario::{Answer, BodyKind, Kind};

/// The request's body: which of the client's requests it is, and what the server does.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) asked: Asked,
    pub(crate) answer: Answer,
}

#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) clock: ManualClock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) history: History,
    turns: usize,
    /// The contacts whose answers are held back.
    held: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Broken;

pub(crate) struct Answering {
    origin: Origin,
    contact: usize,
    answer: Answer,
}

pub(crate) struct Frames {
    frames: VecDeque<Bytes>,
    breaks: bool,
    left: Option<u64>,
}

impl Origin {
    pub(crate) fn new(clock: ManualClock, history: History) -> Self {
        Self {
            clock,
            state: Arc::new(Mutex::new(State {
                history,
                turns: 0,
                held: Vec::new(),
            })),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next moment.
    pub(crate) fn moment(&self) -> Moment {
        let mut state = self.state();
        state.turns += 1;
        Moment {
            turn: state.turns,
            time: self.clock.now(),
        }
    }

    /// Lets the n-th of the answers go that are held back.
    pub(crate) fn release(&self, n: usize) {
        let mut state = self.state();
        if !state.held.is_empty() {
            let at = n % state.held.len();
            state.held.remove(at);
        }
    }
}

impl Service<Request<Order>> for Origin {
    type Response = Response<Frames>;
    type Error = Broken;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Order>) -> Answering {
        let at = self.moment();
        let (parts, Order { asked, answer }) = request.into_parts();
        let mut state = self.state();
        let contact = state.history.contacts.len();
        if !answer.at_once && !answer.at_once_too {
            state.held.push(contact);
        }
        state.history.contacts.push(Contact {
            asked,
            headers: parts.headers,
            at,
            answer: None,
        });
        drop(state);
        Answering {
            origin: self.clone(),
            contact,
            answer,
        }
    }
}

impl Future for Answering {
    type Output = Result<Response<Frames>, Broken>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            origin,
            contact: id,
            answer,
        } = &*self;
        let (method, is_conditional) = {
            let state = origin.state();
            if state.held.contains(id) {
                return Poll::Pending;
            }
            let contact = &state.history.contacts[*id];
            let conditions = ["if-none-match", "if-modified-since"];
            let is_conditional = conditions
                .iter()
                .any(|name| contact.headers.contains_key(*name));
            (contact.asked.method.clone(), is_conditional)
        };
        if answer.delay > 128 && !matches!(*answer.kind, Kind::Broken) {
            origin
                .clock
                .advance(Duration::from_secs(u64::from(answer.delay) - 128));
        }
        let at = origin.moment();
        let status = render::status(answer, is_conditional);
        let mut headers = render::response_headers(answer, status, *id, at.time);
        let has_none = method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let (frames, whole) = render::body(*answer.body, has_none, *id, &mut headers);
        let broken = matches!(*answer.kind, Kind::Broken);
        let size: usize = frames.iter().map(String::len).sum();
        origin.state().history.contacts[*id].answer = Some(Given {
            id: *id,
            at,
            response: (!broken).then(|| (status, headers.clone())),
            body: frames.concat().into_bytes(),
            whole,
            read: None,
        });
        if broken {
            return Poll::Ready(Err(Broken));
        }
        let knows = matches!(*answer.body, BodyKind::Plain | BodyKind::Empty) || has_none;
        let mut response = Response::new(Frames {
            frames: frames.into_iter().map(Bytes::from).collect(),
            breaks: matches!(*answer.body, BodyKind::Cut) && !has_none,
            left: knows.then_some(size as u64),
        });
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Poll::Ready(Ok(response))
    }
}

/// For the cache it has no content.
impl http_body::Body for Order {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

impl Frames {
    /// A body of one piece, of known length.
    pub(crate) fn of(text: &str) -> Self {
        let data = Bytes::copy_from_slice(text.as_bytes());
        Self {
            left: Some(data.len() as u64),
            frames: VecDeque::from_iter([data].into_iter().filter(|data| !data.is_empty())),
            breaks: false,
        }
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(match self.frames.pop_front() {
            Some(frame) => {
                if let Some(left) = &mut self.left {
                    *left -= frame.len() as u64;
                }
                Some(Ok(Frame::data(frame)))
            }
            None if self.breaks => Some(Err(Broken)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}
