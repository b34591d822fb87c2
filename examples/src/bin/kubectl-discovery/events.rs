//! What happens, on stderr.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Shows events up to a level. Warnings are always shown, but only one of a cache directory that
/// can't be written, of which both caches tell.
pub(crate) fn show(verbosity: u8) {
    let (own, others) = match verbosity {
        0 => (LevelFilter::WARN, LevelFilter::ERROR),
        1..=4 => (LevelFilter::INFO, LevelFilter::WARN),
        5..=7 => (LevelFilter::DEBUG, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    let targets = Targets::new()
        .with_default(others)
        // The crates are all named `discovery_…`.
        .with_target("discovery", own)
        .with_target("kubectl_discovery", own);
    let events = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .with_filter(Once::default());
    tracing_subscriber::registry()
        .with(targets)
        .with(events)
        .init();
}

/// Lets one event pass of those that tell that a cache can't be written.
#[derive(Default)]
struct Once {
    told: AtomicBool,
}

/// Whether the message of an event is about writing.
#[derive(Default)]
struct IsAboutWriting(bool);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for Once {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let target = metadata.target();
        let is_cache = ["discovery_disk", "discovery_http_cache"]
            .iter()
            .any(|name| target.starts_with(name));
        if !is_cache || *metadata.level() != Level::WARN {
            return true;
        }
        let mut writing = IsAboutWriting::default();
        event.record(&mut writing);
        !writing.0 || !self.told.swap(true, Ordering::Relaxed)
    }
}

impl Visit for IsAboutWriting {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let message = format!("{value:?}");
            self.0 = message.contains("can't be written") || message.contains("store failed to");
        }
    }
}
