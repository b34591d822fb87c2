//! A body that is stored while any number of readers read it.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

use super::entry_writer::{EntryWriter, HOLD, Progress, SMALL};
use crate::BoxError;

/// Finds the [tee](Reader::handle) of a body as long as somebody reads it. Cheap to clone.
#[derive(Clone)]
pub struct TeeHandle {
    shared: Weak<Shared>,
}

/// One reader of a body that is stored while it is read.
///
/// A piece of the body goes to the store first, and then to the readers. Whichever reader is polled drives the body for
/// all of them, and all are woken when it moves, so that a reader that is slow, or goes away, holds up nobody. The last
/// piece is delivered when the entry is in the store; a reader may stop there. If the size of the body is not announced,
/// one piece is looked for ahead, without waiting for it, so that the last one is known to be the last.
///
/// A body that breaks off fails for every reader, after the pieces that have come.
pub struct Reader {
    shared: Arc<Shared>,
    /// The place in the table of readers.
    place: usize,
    /// The bytes that came before this reader did.
    prefix: Bytes,
    /// The bytes that this reader has been given.
    given: u64,
    has_failed: bool,
}

struct Shared {
    state: Mutex<State>,
    wakers: Arc<Wakers>,
    /// Wakes every reader.
    waker: Waker,
}

struct State {
    /// `None` once it has ended, and while a reader polls it without the lock.
    body: Option<UnsyncBoxBody<Bytes, BoxError>>,
    writer: EntryWriter,
    is_stored: bool,
    /// The pieces that some reader has not been given.
    pieces: VecDeque<Piece>,
    /// The number of pieces that every reader has been given.
    passed: u64,
    held_bytes: u64,
    readers: Vec<Option<Place>>,
    end: End,
    /// The size hint of the body when it began.
    hint: SizeHint,
    /// The size of the body in bytes, if it is announced.
    announced: Option<u64>,
    /// The bytes that have come.
    seen: u64,
}

enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

#[derive(Clone, Copy)]
struct Place {
    /// The number of the next piece for this reader.
    next: u64,
    /// Whether pieces that this reader had not been given are no longer held.
    has_lost: bool,
}

enum End {
    Open,
    Whole,
    /// Broken off, and only one reader knows.
    Failed(BoxError),
    /// Broken off, for several readers.
    FailedForAll(Arc<dyn Error + Send + Sync>),
}

/// The error of a body that several readers read.
#[derive(Debug)]
struct SharedError(Arc<dyn Error + Send + Sync>);

/// The error of a reader that was so much slower than others that the pieces it had not read could not be held.
#[derive(Debug)]
struct FellBehind;

/// The error of a body that has another size than was announced.
#[derive(Debug)]
struct WrongSize {
    announced: u64,
    seen: u64,
}

/// The wakers of the readers, by their places.
#[derive(Default)]
struct Wakers {
    table: Mutex<WakerTable>,
}

#[derive(Default)]
struct WakerTable {
    wakers: Vec<Option<Waker>>,
    /// How many readers poll the body or the entry. They wake the others themselves when they are done.
    drivers: usize,
    /// How often a poll was called for while there were such readers.
    calls: u64,
}

impl TeeHandle {
    /// Another reader, from the first byte on, if all that has come is still held and no error has come. The bytes that
    /// have come are copied for it, if they came in several pieces.
    #[must_use]
    pub fn join(&self) -> Option<Reader> {
        let shared = self.shared.upgrade()?;
        let mut state = shared.lock();
        if state.end.is_failed() {
            return None;
        }
        let prefix = state.writer.held()?;
        let next = state.passed + state.pieces.len() as u64;
        let place = state.add_reader(Place {
            next,
            has_lost: false,
        });
        drop(state);
        Some(Reader {
            shared,
            place,
            prefix,
            given: 0,
            has_failed: false,
        })
    }
}

impl Reader {
    /// The first reader of `body`, which `writer` stores.
    pub fn new<B>(body: B, mut writer: EntryWriter) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let hint = body.size_hint();
        let is_empty = body.is_end_stream();
        let expected = writer.expected();
        // A response to HEAD has no content, whatever its body has.
        let announced = expected.or(hint.exact()).filter(|_| !writer.is_for_head());
        if is_empty || expected.or(hint.exact()) == Some(0) {
            writer.finish();
        }
        let first = Place {
            next: 0,
            has_lost: false,
        };
        let mut state = State {
            body: (!is_empty).then(|| body.map_err(Into::into).boxed_unsync()),
            writer,
            is_stored: false,
            pieces: VecDeque::new(),
            passed: 0,
            held_bytes: 0,
            readers: vec![Some(first)],
            end: End::Open,
            hint,
            announced,
            seen: 0,
        };
        if is_empty {
            state.end_whole();
        }
        let wakers = Arc::new(Wakers::default());
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                waker: Waker::from(Arc::clone(&wakers)),
                wakers,
            }),
            place: 0,
            prefix: Bytes::new(),
            given: 0,
            has_failed: false,
        }
    }

    /// Another reader that has been given the data that this one has. Of a reader that has failed, it fails too.
    #[must_use]
    pub fn another(&self) -> Self {
        let mut state = self.shared.lock();
        let own = state.place(self.place);
        let place = state.add_reader(own);
        drop(state);
        Self {
            shared: Arc::clone(&self.shared),
            place,
            prefix: self.prefix.clone(),
            given: self.given,
            has_failed: false,
        }
    }

    /// Finds this body for readers that come later.
    #[must_use]
    pub fn handle(&self) -> TeeHandle {
        TeeHandle {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// Whether the entry is in the store.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.shared.lock().is_stored
    }

    /// Whether there is nothing left to store.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.shared.lock().writer.is_settled()
    }

    /// Whether this reader can't be given the whole body any more, because it was too slow.
    #[must_use]
    pub fn has_fallen_behind(&self) -> bool {
        self.shared.lock().place(self.place).has_lost
    }

    /// Reads on while there is something to read without waiting, up to about `limit` bytes ahead of this reader. It
    /// waits only for the store to confirm a body without content, to whose end nobody may read.
    pub fn poll_read_ahead(&mut self, cx: &mut Context<'_>, limit: u64) -> Poll<()> {
        loop {
            let state = self.shared.lock();
            if state.writer.is_settled() || state.unread_cost() >= limit {
                return Poll::Ready(());
            }
            let may_wait = state.seen == 0 && state.writer.is_finishing();
            match self.drive(state, cx) {
                Poll::Ready(()) => {}
                Poll::Pending if may_wait => return Poll::Pending,
                Poll::Pending => return Poll::Ready(()),
            }
        }
    }

    /// Reads and forgets the body until there is nothing left to store.
    pub fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_settled() {
            match ready!(self.poll_frame(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        Poll::Ready(())
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let mut state = self.shared.lock();
            if self.has_failed {
                return Poll::Ready(None);
            }
            if state.place(self.place).has_lost {
                self.has_failed = true;
                return Poll::Ready(Some(Err(FellBehind.into())));
            }
            let left = state.left(self.place) + usize::from(!self.prefix.is_empty());
            // The newest piece may be the last, and that one is delivered when the entry is stored.
            let may_be_last = state.writer.is_finishing();
            let looks_ahead = left == 1 && !may_be_last && state.needs_end();
            if left > 1 || (left == 1 && !may_be_last && !looks_ahead) {
                let frame = take(&mut self.prefix, state, self.place);
                self.given += size(frame.as_ref());
                return Poll::Ready(frame.map(Ok));
            }
            if left == 0 && state.writer.is_settled() {
                if let Some(error) = state.error() {
                    self.has_failed = true;
                    return Poll::Ready(Some(Err(error)));
                }
                if matches!(state.end, End::Whole) {
                    return Poll::Ready(None);
                }
            }
            match self.drive(state, cx) {
                Poll::Ready(()) => {}
                Poll::Pending if looks_ahead => {
                    let state = self.shared.lock();
                    // Meanwhile another reader may have brought the end, or so much that this one has lost its pieces.
                    if !state.writer.is_finishing() && !state.place(self.place).has_lost {
                        let frame = take(&mut self.prefix, state, self.place);
                        self.given += size(frame.as_ref());
                        return Poll::Ready(frame.map(Ok));
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Moves the body or the entry on, unless another reader does. Ready when something has changed; else this reader is
    /// woken when it does.
    fn drive<'a>(&'a self, mut state: MutexGuard<'a, State>, cx: &Context<'_>) -> Poll<()> {
        let shared = &*self.shared;
        if let Some(replaced) = shared.wakers.register(self.place, cx.waker()) {
            // A waker that is dropped can drop a task, and with it another reader.
            drop(state);
            drop(replaced);
            state = shared.lock();
        }
        let cx = &mut Context::from_waker(&shared.waker);
        let driver = Driver::begin(shared);
        // Declared after the driver, so that the lock is free when a panic drops that.
        let mut state = state;
        match state.poll_writer(cx) {
            Poll::Ready(false) => {}
            Poll::Ready(true) => return driver.rest(state, true),
            Poll::Pending => return driver.rest(state, false),
        }
        let Some(mut body) = state.body.take() else {
            return driver.rest(state, false);
        };
        drop(state);

        let frame = Pin::new(&mut body).poll_frame(cx);
        let mut state = shared.lock();
        let Poll::Ready(frame) = frame else {
            state.body = Some(body);
            return driver.rest(state, false);
        };
        let has_ended = state.receive(frame, &body, self.place);
        let rest = if has_ended {
            Some(body)
        } else {
            state.body.replace(body)
        };
        // If it has to be waited for, the next poll does that.
        let _ = state.poll_writer(cx);
        let moved = driver.rest(state, true);
        drop(rest);
        moved
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let state = self.shared.lock();
        self.has_failed
            || (self.prefix.is_empty()
                && !state.place(self.place).has_lost
                && state.left(self.place) == 0
                && state.writer.is_settled()
                && matches!(state.end, End::Whole))
    }

    /// Exact only where the size was announced, or where the body has ended without an error.
    pub(crate) fn size_hint(&self) -> SizeHint {
        let state = self.shared.lock();
        if state.place(self.place).has_lost || state.end.is_failed() {
            return SizeHint::default();
        }
        let left = |bytes: u64| bytes.saturating_sub(self.given);
        if matches!(state.end, End::Whole) {
            return SizeHint::with_exact(left(state.seen));
        }
        let lower = state.hint.lower().max(state.seen);
        let upper = state.hint.upper().map(|upper| upper.max(state.seen));
        let mut hint = SizeHint::new();
        // A body that has come as far as its upper bound may still fail there.
        if let Some(upper) = upper.filter(|upper| *upper > lower || state.announced.is_some()) {
            hint.set_upper(left(upper));
        }
        hint.set_lower(left(lower));
        hint
    }
}

/// The next piece for the reader at `place`, to whom `prefix` comes first.
fn take(
    prefix: &mut Bytes,
    mut state: MutexGuard<'_, State>,
    place: usize,
) -> Option<Frame<Bytes>> {
    if prefix.is_empty() {
        state.take(place)
    } else {
        Some(Frame::data(mem::take(prefix)))
    }
}

fn size(frame: Option<&Frame<Bytes>>) -> u64 {
    let data = frame.and_then(Frame::data_ref);
    data.map_or(0, |data| data.len() as u64)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader that polls the body or the entry. When the poll panics, it fails the body, so that other readers do not wait
/// for ever.
struct Driver<'a> {
    shared: &'a Shared,
    /// The number of calls for a poll when it began.
    calls: u64,
}

impl<'a> Driver<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let calls = shared.wakers.begin();
        Self { shared, calls }
    }

    /// Ends what one reader did for all. The others are told if there is something new, and all, this reader included,
    /// if a poll was called for meanwhile: not in a loop, because the body may wait for its task to yield.
    fn rest(self, state: MutexGuard<'_, State>, has_moved: bool) -> Poll<()> {
        let wakers = &self.shared.wakers;
        // With the lock held, so that a reader that is woken from now on finds everything in its place.
        let is_called = wakers.end(self.calls);
        mem::forget(self);
        let is_shared = state.is_shared();
        drop(state);
        if has_moved && is_shared || !has_moved && is_called {
            wakers.wake_all();
        }
        if has_moved {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        const REASON: &str = "the body or the store panicked";
        let mut state = self.shared.lock();
        state.writer.abandon(REASON);
        state.end = End::FailedForAll(Arc::from(BoxError::from(REASON)));
        drop(state);
        self.shared.wakers.end(self.calls);
        self.shared.wakers.wake_all();
    }
}

impl State {
    fn place(&self, place: usize) -> Place {
        self.readers[place].expect("a reader has its place until it is dropped")
    }

    fn add_reader(&mut self, place: Place) -> usize {
        let new = Some(place);
        match self.readers.iter().position(Option::is_none) {
            Some(free) => {
                self.readers[free] = new;
                free
            }
            None => {
                self.readers.push(new);
                self.readers.len() - 1
            }
        }
    }

    fn remove_reader(&mut self, place: usize) {
        self.readers[place] = None;
        self.forget_passed();
    }

    /// Ready with whether the entry has come to an end.
    fn poll_writer(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.writer.is_settled() {
            return Poll::Ready(false);
        }
        let progress = ready!(self.writer.poll(cx));
        self.is_stored = progress == Progress::Stored;
        Poll::Ready(progress != Progress::Open)
    }

    fn is_shared(&self) -> bool {
        self.readers.iter().flatten().nth(1).is_some()
    }

    /// The number of pieces that are there for a reader.
    fn left(&self, place: usize) -> usize {
        let next = self.place(place).next;
        usize::try_from(self.passed + self.pieces.len() as u64 - next).unwrap_or(usize::MAX)
    }

    /// Whether the last piece is recognised only by the end that comes after it.
    fn needs_end(&self) -> bool {
        matches!(self.end, End::Open) && self.writer.needs_end()
    }

    /// About how much memory the held pieces take. Small ones, and trailers, take some as well.
    fn unread_cost(&self) -> u64 {
        const PIECE: u64 = 128;
        self.held_bytes + self.pieces.len() as u64 * PIECE
    }

    /// The next piece for a reader.
    fn take(&mut self, place: usize) -> Option<Frame<Bytes>> {
        let next = self.place(place).next;
        let index = usize::try_from(next.checked_sub(self.passed)?).ok()?;
        if let Some(Some(place)) = self.readers.get_mut(place) {
            place.next += 1;
        }
        if index == 0 && !self.is_shared() {
            let piece = self.pieces.pop_front()?;
            self.passed += 1;
            self.held_bytes -= piece.len();
            return Some(piece.into_frame());
        }
        let frame = self.pieces.get(index)?.to_frame();
        if index == 0 {
            self.forget_passed();
        }
        Some(frame)
    }

    /// Drops the pieces that every reader has been given.
    fn forget_passed(&mut self) {
        let all = self.passed + self.pieces.len() as u64;
        let readers = self.readers.iter().flatten();
        let slowest = readers
            .filter(|place| !place.has_lost)
            .map(|place| place.next)
            .min()
            .unwrap_or(all);
        while self.passed < slowest
            && let Some(piece) = self.pieces.pop_front()
        {
            self.held_bytes -= piece.len();
            self.passed += 1;
        }
    }

    /// Takes what the body has brought while the reader at `place` polled it, and says whether the body has ended.
    fn receive(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BoxError>>,
        body: &UnsyncBoxBody<Bytes, BoxError>,
        place: usize,
    ) -> bool {
        match frame {
            Some(Ok(frame)) => {
                let has_ended = body.is_end_stream();
                // They come after all data.
                let is_trailers = frame.is_trailers();
                if let Some(data) = frame.data_ref() {
                    self.seen += data.len() as u64;
                    self.writer.push(data);
                }
                if self
                    .announced
                    .is_some_and(|announced| self.seen > announced)
                {
                    self.end = End::Failed(self.wrong_size());
                    return true;
                }
                self.hold(frame, place);
                if is_trailers {
                    self.writer.finish_without_trailers();
                } else if has_ended {
                    self.writer.finish();
                }
                if has_ended {
                    self.end_whole();
                }
                has_ended
            }
            Some(Err(error)) => {
                self.writer.abandon("the body failed");
                self.end = End::Failed(error);
                true
            }
            None => {
                self.writer.finish();
                self.end_whole();
                true
            }
        }
    }

    fn hold(&mut self, frame: Frame<Bytes>, driver: usize) {
        let piece = match frame.into_data() {
            // A small piece is copied where it may be held for long, because it may be a part of a large buffer.
            Ok(data) if data.len() < SMALL && self.is_shared() => {
                Piece::Data(Bytes::copy_from_slice(&data))
            }
            Ok(data) => Piece::Data(data),
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => Piece::Trailers(trailers),
                Err(_) => return,
            },
        };
        self.held_bytes += piece.len();
        self.pieces.push_back(piece);
        // Readers that are so far behind the one that drives the body are given up.
        let reached = self.place(driver).next;
        let limit = self.writer.max_body_size().max(HOLD);
        while self.unread_cost() > limit && self.passed < reached {
            let oldest = self.passed;
            for place in self.readers.iter_mut().flatten() {
                place.has_lost |= place.next == oldest;
            }
            self.forget_passed();
        }
    }

    /// The body has ended without an error of its own.
    fn end_whole(&mut self) {
        self.end = match self.announced {
            Some(announced) if self.seen < announced => End::Failed(self.wrong_size()),
            _ => End::Whole,
        };
    }

    fn wrong_size(&self) -> BoxError {
        let announced = self.announced.unwrap_or_default();
        let seen = self.seen;
        WrongSize { announced, seen }.into()
    }

    /// The error that the body has ended with, for one of its readers.
    fn error(&mut self) -> Option<BoxError> {
        if !self.end.is_failed() {
            return None;
        }
        let shared: Arc<dyn Error + Send + Sync> = match mem::replace(&mut self.end, End::Open) {
            End::Failed(error) if !self.is_shared() => {
                self.end = End::FailedForAll(Arc::new(Delivered));
                return Some(error);
            }
            End::Failed(error) => Arc::from(error),
            End::FailedForAll(error) => error,
            End::Open | End::Whole => return None,
        };
        self.end = End::FailedForAll(Arc::clone(&shared));
        Some(SharedError(shared).into())
    }
}

impl End {
    fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::FailedForAll(_))
    }
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Trailers(_) => 0,
        }
    }

    fn to_frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers(trailers.clone()),
        }
    }

    fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(trailers),
        }
    }
}

impl Wakers {
    /// Returns the waker that is replaced.
    fn register(&self, place: usize, waker: &Waker) -> Option<Waker> {
        let mut table = self.lock();
        if table.wakers.len() <= place {
            table.wakers.resize(place + 1, None);
        }
        let slot = &mut table.wakers[place];
        if slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return None;
        }
        slot.replace(waker.clone())
    }

    fn unregister(&self, place: usize) -> Option<Waker> {
        self.lock().wakers.get_mut(place).and_then(Option::take)
    }

    /// Returns how many calls there were.
    fn begin(&self) -> u64 {
        let mut table = self.lock();
        table.drivers += 1;
        table.calls
    }

    /// Says whether there were calls since the beginning.
    fn end(&self, calls: u64) -> bool {
        let mut table = self.lock();
        table.drivers -= 1;
        table.calls != calls
    }

    fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let mut table = self.lock();
            table.wakers.iter_mut().filter_map(Option::take).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, WakerTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut table = self.lock();
        if table.drivers > 0 {
            table.calls += 1;
            return;
        }
        drop(table);
        self.wake_all();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let waker = self.shared.wakers.unregister(self.place);
        self.shared.lock().remove_reader(self.place);
        drop(waker);
    }
}

/// The error of a body whose only reader has been told already.
#[derive(Debug)]
struct Delivered;

impl fmt::Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the error has been delivered to another reader")
    }
}

impl Error for Delivered {}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response body, which several requests share, broke off")
    }
}

impl Error for SharedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl fmt::Display for FellBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader fell too far behind other readers of the response body")
    }
}

impl Error for FellBehind {}

impl fmt::Display for WrongSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { announced, seen } = self;
        write!(f, "the body has {seen} bytes in place of {announced}")
    }
}

impl Error for WrongSize {}

impl fmt::Debug for TeeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeeHandle").finish_non_exhaustive()
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}
