use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::{Gate, TestError};

/// A body that does what the test has written down: pieces of data, trailers, errors and pauses.
///
/// Unless told otherwise it is like a chunked body: it knows neither its length nor when its last
/// frame has come. `E` is the error of the body.
///
/// ```
/// use discovery_core::testing::{BodyScript, Gate, TestError};
/// use http_body_util::BodyExt;
///
/// let gate = Gate::new();
/// let body = BodyScript::new()
///     .data("half of ")
///     .wait(&gate)
///     .data("the answer")
///     .error(TestError("cut"));
/// let mut reading = tokio_test::task::spawn(body.collect());
/// assert!(reading.poll().is_pending());
/// gate.open();
/// match reading.poll() {
///     std::task::Poll::Ready(Err(error)) => assert_eq!(error, TestError("cut")),
///     other => panic!("{other:?}"),
/// }
/// ```
pub struct BodyScript<E = TestError> {
    steps: VecDeque<BodyStep<E>>,
    size_hint: SizeHint,
    tells_end: bool,
    frames_read: FrameCount,
}

/// One thing that a [`BodyScript`] does.
///
/// Scripts collect from steps, which is for bodies that a loop makes:
///
/// ```
/// use discovery_core::testing::{self, BodyScript, BodyStep};
/// use http::Response;
///
/// let body: BodyScript = (0..3).map(|_| BodyStep::Data("ab".into())).collect();
/// let text = tokio_test::block_on(testing::read_text(Response::new(body)));
/// assert_eq!(text, "ababab");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BodyStep<E = TestError> {
    /// A frame of data.
    Data(Bytes),
    /// A frame of trailers.
    Trailers(HeaderMap),
    /// The body fails. Later steps are still carried out for a reader who goes on.
    Error(E),
    /// The body is pending until the gate is open.
    Wait(Gate),
}

/// Counts the frames of a [`BodyScript`] that have been read. Clones show the same number.
///
/// ```
/// use discovery_core::testing::BodyScript;
/// use http_body_util::BodyExt;
///
/// let mut body: BodyScript = BodyScript::new().data("one").data("two");
/// let read = body.frames_read();
/// tokio_test::block_on(body.frame());
/// assert_eq!(read.get(), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct FrameCount(Arc<AtomicUsize>);

impl FrameCount {
    /// The number of frames so far, errors included.
    #[must_use]
    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl BodyScript {
    /// A body that ends at once, unless steps are added. Its errors are the kit's own; `default` makes
    /// a body with others.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<E> BodyScript<E> {
    /// Adds a step.
    #[must_use]
    pub fn then(mut self, step: BodyStep<E>) -> Self {
        self.steps.push_back(step);
        self
    }

    /// Adds a frame of data, which may be empty.
    #[must_use]
    pub fn data(self, data: impl Into<Bytes>) -> Self {
        self.then(BodyStep::Data(data.into()))
    }

    /// Adds a frame of trailers.
    #[must_use]
    pub fn trailers(self, trailers: HeaderMap) -> Self {
        self.then(BodyStep::Trailers(trailers))
    }

    /// Adds an error.
    #[must_use]
    pub fn error(self, error: E) -> Self {
        self.then(BodyStep::Error(error))
    }

    /// Holds back everything after it until the gate is open. A gate that nobody opens makes a body
    /// that stalls.
    #[must_use]
    pub fn wait(self, gate: &Gate) -> Self {
        self.then(BodyStep::Wait(gate.clone()))
    }

    /// Sets the hint that the body gives about its length, in bytes, whatever its steps are: a body
    /// that is cut has announced more than it has. The hint does not change while the body is read.
    ///
    /// ```
    /// use discovery_core::testing::BodyScript;
    /// use http_body::{Body, SizeHint};
    ///
    /// let body = BodyScript::new().data("half").with_size_hint(SizeHint::with_exact(8));
    /// assert_eq!(body.size_hint().exact(), Some(8));
    /// ```
    #[must_use]
    pub fn with_size_hint(mut self, hint: SizeHint) -> Self {
        self.size_hint = hint;
        self
    }

    /// Lets the body tell its end: `is_end_stream` is true once the last step was carried out. By
    /// default it is never true, and only the end itself tells that there is no more.
    ///
    /// ```
    /// use discovery_core::testing::BodyScript;
    /// use http_body::Body;
    ///
    /// assert!(!BodyScript::new().is_end_stream());
    /// assert!(BodyScript::new().tells_end().is_end_stream());
    /// ```
    #[must_use]
    pub fn tells_end(mut self) -> Self {
        self.tells_end = true;
        self
    }

    /// A counter that goes on counting when the body has been given away.
    #[must_use]
    pub fn frames_read(&self) -> FrameCount {
        self.frames_read.clone()
    }
}

impl<E> Default for BodyScript<E> {
    fn default() -> Self {
        Self {
            steps: VecDeque::new(),
            size_hint: SizeHint::default(),
            tells_end: false,
            frames_read: FrameCount::default(),
        }
    }
}

impl<E> FromIterator<BodyStep<E>> for BodyScript<E> {
    fn from_iter<I: IntoIterator<Item = BodyStep<E>>>(steps: I) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// A body of one frame that knows its length, as `Full` is. An empty text has no frame.
impl<E> From<&'static str> for BodyScript<E> {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

/// As `From<&'static str>`.
impl<E> From<String> for BodyScript<E> {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

/// As `From<&'static str>`.
impl<E> From<Bytes> for BodyScript<E> {
    fn from(data: Bytes) -> Self {
        let script = Self::default()
            .with_size_hint(SizeHint::with_exact(data.len() as u64))
            .tells_end();
        match data.is_empty() {
            true => script,
            false => script.data(data),
        }
    }
}

// No field is pinned.
impl<E> Unpin for BodyScript<E> {}

impl<E> Body for BodyScript<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        while let Some(BodyStep::Wait(gate)) = self.steps.front() {
            if gate.poll_open(cx).is_pending() {
                return Poll::Pending;
            }
            self.steps.pop_front();
        }
        let frame = match self.steps.pop_front() {
            None | Some(BodyStep::Wait(_)) => return Poll::Ready(None),
            Some(BodyStep::Data(data)) => Ok(Frame::data(data)),
            Some(BodyStep::Trailers(trailers)) => Ok(Frame::trailers(trailers)),
            Some(BodyStep::Error(error)) => Err(error),
        };
        self.frames_read.0.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.size_hint
    }
}

impl<E: fmt::Debug> fmt::Debug for BodyScript<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyScript")
            .field("steps", &self.steps)
            .field("size_hint", &self.size_hint)
            .field("tells_end", &self.tells_end)
            .finish_non_exhaustive()
    }
}

/// Reads the body of a response to its end.
///
/// ```
/// use discovery_core::testing;
/// use http::Response;
/// use http_body_util::Full;
///
/// let response = Response::new(Full::<bytes::Bytes>::from("hello"));
/// assert_eq!(tokio_test::block_on(testing::read_text(response)), "hello");
/// ```
///
/// # Panics
///
/// When the body fails, or is no UTF-8.
pub async fn read_text<B>(response: Response<B>) -> String
where
    B: Body,
    B::Error: fmt::Debug,
{
    let collected = response.into_body().collect().await;
    let bytes = collected.expect("the body has an error").to_bytes();
    String::from_utf8(bytes.into()).expect("the body is no text")
}
