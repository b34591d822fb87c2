//! Watches: one request whose answer goes on, a line of JSON for each event.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use discovery_core::{BoxError, Error};
use http::{Response, StatusCode};
use http_body::Body;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

/// The longest event. Only metadata is asked for.
const MAX_LINE: usize = 1 << 20;

/// The wait before a watch is begun again, doubled with each failure in a row.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(30);

type Request<RB> = Pin<Box<dyn Future<Output = Result<Response<RB>, Error>> + Send>>;

/// A watch of one collection, which begins again when it ends.
pub(super) struct Watch<RB> {
    path: &'static str,
    request: Box<dyn Fn(&'static str) -> Request<RB> + Send>,
    state: State<RB>,
    wait: Duration,
}

enum State<RB> {
    Waiting(Instant),
    Asking(Request<RB>),
    Reading(Pin<Box<RB>>, BytesMut),
    /// The server does not allow it, or has no such collection.
    Off,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
}

impl<RB> Watch<RB>
where
    RB: Body<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    pub(super) fn new(
        path: &'static str,
        request: impl Fn(&'static str) -> Request<RB> + Send + 'static,
    ) -> Self {
        Self {
            path,
            request: Box::new(request),
            state: State::Waiting(Instant::now()),
            wait: FIRST_WAIT,
        }
    }

    /// Waits until something changes. The future can be dropped at any time, and nothing is lost.
    pub(super) async fn changed(&mut self) {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    sleep_until(*until).await;
                    self.state = State::Asking((self.request)(self.path));
                }
                State::Asking(request) => {
                    let answer = request.as_mut().await;
                    self.state = self.begin(answer);
                }
                State::Reading(body, buffer) => match next_event(body, buffer).await {
                    Ok(event) => {
                        self.wait = FIRST_WAIT;
                        if event.kind != "BOOKMARK" {
                            return;
                        }
                    }
                    Err(why) => self.state = self.again(why),
                },
                State::Off => pending().await,
            }
        }
    }

    /// Gives up, or tries again, on the interval.
    pub(super) fn retry(&mut self) {
        if matches!(self.state, State::Off) {
            self.state = State::Waiting(Instant::now());
        }
    }

    fn begin(&mut self, answer: Result<Response<RB>, Error>) -> State<RB> {
        match answer {
            Ok(answer) if answer.status().is_success() => {
                tracing::debug!(path = self.path, decision = "watch");
                State::Reading(Box::pin(answer.into_body()), BytesMut::new())
            }
            Ok(answer) => match answer.status() {
                status @ (StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED) => {
                    let reason = "the server does not allow the watch";
                    tracing::debug!(path = self.path, decision = "no watch", reason, %status);
                    State::Off
                }
                status => self.again(status),
            },
            Err(error) => self.again(error),
        }
    }

    fn again(&mut self, why: impl std::fmt::Display) -> State<RB> {
        let wait = self.wait;
        tracing::debug!(path = self.path, decision = "watch again", ?wait, reason = %why);
        self.wait = (2 * wait).min(MAX_WAIT);
        State::Waiting(Instant::now() + wait)
    }
}

/// The next event of a watch, or the reason why there are no more.
async fn next_event<RB>(body: &mut Pin<Box<RB>>, buffer: &mut BytesMut) -> Result<Event, String>
where
    RB: Body<Data = Bytes>,
    RB::Error: Into<BoxError>,
{
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            if line.trim_ascii().is_empty() {
                continue;
            }
            let event: Event =
                serde_json::from_slice(&line).map_err(|error| format!("no event: {error}"))?;
            if event.kind == "ERROR" {
                return Err("the server has ended it".into());
            }
            return Ok(event);
        }
        if buffer.len() > MAX_LINE {
            return Err(format!("an event has more than {MAX_LINE} bytes"));
        }
        match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    buffer.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => return Err(error.into().to_string()),
            None => return Err("it has ended".into()),
        }
    }
}
