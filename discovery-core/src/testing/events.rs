use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber, subscriber};

/// Captures `tracing` events of one thread, to test what a layer or store logs. Clones share the
/// events.
///
/// Spans are captured too, as events with their fields at the time when they begin.
///
/// `tracing` decides once for all threads whether anybody listens to a place in the code. A test
/// that expects events below the warnings should be the only one in its process, so that no other
/// thread can make that decision without a listener.
///
/// ```
/// use discovery_core::testing::{EventLevel, Events};
///
/// let events = Events::new("my_layer");
/// events.capture(|| {
///     tracing::warn!(target: "my_layer", path = "/api", "not stored");
///     tracing::warn!(target: "other", "not captured");
/// });
/// let captured = events.take();
/// assert_eq!(captured.len(), 1);
/// assert_eq!(captured[0].level(), EventLevel::Warn);
/// assert_eq!(captured[0].field("path"), Some("/api"));
/// assert_eq!(captured[0].to_string(), " message=not stored path=/api");
/// ```
#[derive(Clone, Debug)]
pub struct Events {
    target: String,
    most_verbose: EventLevel,
    events: Arc<Mutex<Vec<Event>>>,
}

/// An event that [`Events`] has captured, where an example is. It displays as its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    level: EventLevel,
    target: String,
    fields: Vec<(&'static str, String)>,
}

/// The level of an [`Event`]; less severe levels are greater, as in `tracing`.
///
/// ```
/// use discovery_core::testing::EventLevel;
///
/// assert!(EventLevel::Error < EventLevel::Warn && EventLevel::Warn < EventLevel::Trace);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventLevel {
    /// Something failed.
    Error,
    /// An operator should look at it.
    Warn,
    /// Worth knowing.
    Info,
    /// For those who look for a fault.
    Debug,
    /// Every step.
    Trace,
}

/// Converts without a trait, so that no type of `tracing` is public.
fn level(metadata: &Metadata<'_>) -> EventLevel {
    match *metadata.level() {
        tracing::Level::ERROR => EventLevel::Error,
        tracing::Level::WARN => EventLevel::Warn,
        tracing::Level::INFO => EventLevel::Info,
        tracing::Level::DEBUG => EventLevel::Debug,
        tracing::Level::TRACE => EventLevel::Trace,
    }
}

impl Events {
    /// Captures the events at every level whose targets begin with `target`: all for an empty one.
    #[must_use]
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            most_verbose: EventLevel::Trace,
            events: Arc::default(),
        }
    }

    /// Leaves out events that are less severe than `level`. Clones that exist already keep theirs.
    ///
    /// ```
    /// use discovery_core::testing::{EventLevel, Events};
    ///
    /// let events = Events::new("").level(EventLevel::Warn);
    /// events.capture(|| {
    ///     tracing::info!("left out");
    ///     tracing::error!("captured");
    /// });
    /// assert_eq!(events.take().len(), 1);
    /// ```
    #[must_use]
    pub fn level(mut self, level: EventLevel) -> Self {
        self.most_verbose = level;
        self
    }

    /// Captures what `work` logs on this thread. Futures are captured when `work` polls them, for
    /// example in a runtime that runs on this thread.
    pub fn capture<T>(&self, work: impl FnOnce() -> T) -> T {
        subscriber::with_default(Capture(self.clone()), work)
    }

    /// The events since the last call.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock())
    }

    /// Checks that no event so far has one of these texts, or a control character.
    ///
    /// ```should_panic
    /// use discovery_core::testing::Events;
    ///
    /// let events = Events::new("");
    /// events.capture(|| tracing::info!("GET /?token=hunter2"));
    /// events.assert_without(&["hunter2"]);
    /// ```
    ///
    /// # Panics
    ///
    /// When an event has one, or when there is no event at all.
    #[track_caller]
    pub fn assert_without(&self, secrets: &[&str]) {
        let events = self.lock().clone();
        assert!(!events.is_empty(), "there are no events");
        for event in events {
            let text = event.to_string();
            for secret in secrets {
                assert!(!text.contains(secret), "{secret:?} is in {text:?}");
            }
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    /// The severity.
    #[must_use]
    pub fn level(&self) -> EventLevel {
        self.level
    }

    /// The target: the module that has logged it, unless it names another.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The text of a field, `message` included.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find_map(|(field, text)| (*field == name).then_some(text.as_str()))
    }

    /// Whether it is a warning or an error.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        self.level <= EventLevel::Warn
    }
}

/// All fields, each as ` name=value`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, text) in &self.fields {
            write!(f, " {name}={text}")?;
        }
        Ok(())
    }
}

struct Capture(Events);

impl Capture {
    fn push(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) {
        let mut fields = Fields(Vec::new());
        record(&mut fields);
        self.0.lock().push(Event {
            level: level(metadata),
            target: metadata.target().to_owned(),
            fields: fields.0,
        });
    }
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(&self.0.target) && level(metadata) <= self.0.most_verbose
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.push(span.metadata(), |fields| span.record(fields));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.push(event.metadata(), |fields| event.record(fields));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string fails only if the value's own formatting does.
        let _ = write!(text, "{value:?}");
        self.0.push((field.name(), text));
    }
}
