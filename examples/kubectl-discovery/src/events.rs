//! Shows `tracing` events on stderr, in the form of Kubernetes' klog, which kubectl has.

use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// The field that an event has if it tells what a cache has decided.
const DECISION: &str = "decision";

/// Shows the events that belong to a verbosity. At 0, nothing is shown, as in kubectl.
pub(crate) fn show(verbosity: u8) {
    if verbosity == 0 {
        return;
    }
    let events = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .event_format(Klog)
        .with_filter(filter_fn(move |metadata| is_shown(verbosity, metadata)));
    tracing_subscriber::registry().with(events).init();
}

/// Warnings and requests from 1 on; the caches' decisions from 6 on, where kubectl shows requests;
/// from 8 on all that our crates tell; and from 10 on what libraries tell, too.
fn is_shown(verbosity: u8, metadata: &Metadata<'_>) -> bool {
    // Our crates are all named `discovery_…`, but for this one.
    let target = metadata.target();
    let is_ours = target.starts_with("discovery_") || target.starts_with("kubectl_discovery");
    let is_decision = metadata.fields().field(DECISION).is_some();
    let level = match (verbosity, is_ours) {
        (0, _) => return false,
        (1..=5, true) => Level::INFO,
        (6..=7, true) if is_decision => Level::DEBUG,
        (6..=7, true) => Level::INFO,
        (8..=9, true) => Level::DEBUG,
        (_, true) => Level::TRACE,
        (1..=9, false) => Level::WARN,
        (_, false) => Level::DEBUG,
    };
    *metadata.level() <= level
}

/// `I1126 01:06:24.730298   19238 engine.rs:123] "message" key="value"`
struct Klog;

/// The message of an event, and its other fields as klog writes them.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    decision: Option<String>,
    others: String,
}

impl<S, N> FormatEvent<S, N> for Klog
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let severity = match *metadata.level() {
            Level::ERROR => 'E',
            Level::WARN => 'W',
            _ => 'I',
        };
        let now = Zoned::now();
        let time = now.strftime("%m%d %H:%M:%S%.6f");
        let process = std::process::id();
        let file = Path::new(metadata.file().unwrap_or("???")).file_name();
        let file = file.unwrap_or_default().display();
        let line = metadata.line().unwrap_or(1);
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (message, others) = fields.into_parts();
        writeln!(
            writer,
            "{severity}{time} {process:>7} {file}:{line}] {message:?}{others}"
        )
    }
}

impl Fields {
    /// An event without a message has its decision for one.
    fn into_parts(self) -> (String, String) {
        match (self.message, self.decision) {
            (Some(message), None) => (message, self.others),
            (Some(message), Some(decision)) => {
                (message, format!(" {DECISION}={decision:?}{}", self.others))
            }
            (None, decision) => (decision.unwrap_or_default(), self.others),
        }
    }

    /// `value` is quoted, and what could disturb a terminal is escaped, unless it is `plain`.
    fn add(&mut self, field: &Field, value: String, plain: bool) {
        match field.name() {
            "message" => self.message = Some(value),
            DECISION => self.decision = Some(value),
            name if plain => self.write(format_args!(" {name}={value}")),
            name => self.write(format_args!(" {name}={value:?}")),
        }
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        // A string grows.
        let _ = self.others.write_fmt(text);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"), false);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned(), false);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.to_string(), true);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.to_string(), true);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.to_string(), true);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.to_string(), true);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(verbosity: u8, tell: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let events = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .event_format(Klog)
            .with_filter(filter_fn(move |metadata| is_shown(verbosity, metadata)));
        let subscriber = tracing_subscriber::registry().with(events);
        tracing::subscriber::with_default(subscriber, tell);
        let bytes = lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_event_has_the_form_of_klog() {
        let path = Path::new("/cache/\u{1b}[1m");
        let lines = shown(10, || {
            tracing::warn!(key = "a\nb", path = %path.display(), count = 3, ok = true, "not \"written\"");
            tracing::debug!(target: "discovery_disk", decision = "hit", age = ?std::time::Duration::from_secs(5));
            tracing::debug!(target: "discovery_disk", decision = "miss", reason = "expired", "answered");
        });
        let expected = [
            (
                "W",
                r#""not \"written\"" key="a\nb" path="/cache/\u{1b}[1m" count=3 ok=true"#,
            ),
            ("I", r#""hit" age="5s""#),
            ("I", r#""answered" decision="miss" reason="expired""#),
        ];
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, (severity, text)) in lines.iter().zip(expected) {
            let (prefix, found) = line.split_once("] ").unwrap();
            assert_eq!(found, text);
            // As in `I1126 01:06:24.730298   19238 engine.rs:123`.
            let parts: Vec<_> = prefix.split_whitespace().collect();
            let [day, time, process, place] = parts[..] else {
                panic!("{line}");
            };
            assert!(day.starts_with(severity) && day.len() == 5, "{line}");
            assert!(day[1..].bytes().all(|byte| byte.is_ascii_digit()), "{line}");
            assert_eq!((time.len(), &time[8..9]), (15, "."), "{line}");
            assert_eq!(process, std::process::id().to_string(), "{line}");
            assert!(place.starts_with("events.rs:"), "{line}");
        }
    }

    #[test]
    fn more_verbosity_shows_more() {
        let tell = || {
            tracing::warn!(target: "discovery_http_cache::cache", "warning");
            tracing::info!(target: "kubectl_discovery::transport", "request");
            tracing::debug!(target: "discovery_core::engine", decision = "decision");
            tracing::debug!(target: "discovery_memory", "detail");
            tracing::trace!(target: "discovery_core", "trace");
            tracing::error!(target: "hyper", "their error");
            tracing::debug!(target: "hyper", "theirs");
            tracing::trace!(target: "hyper", "their trace");
        };
        let all = [
            "warning",
            "request",
            "decision",
            "detail",
            "trace",
            "their error",
            "theirs",
        ];
        for (verbosity, hidden) in [
            (0, &all[..]),
            (1, &["decision", "detail", "trace", "theirs"]),
            (5, &["decision", "detail", "trace", "theirs"]),
            (6, &["detail", "trace", "theirs"]),
            (7, &["detail", "trace", "theirs"]),
            (8, &["trace", "theirs"]),
            (9, &["trace", "theirs"]),
            (10, &[]),
        ] {
            let lines = shown(verbosity, tell);
            let found: Vec<_> = lines
                .iter()
                .map(|line| line.split_once("] ").unwrap().1.trim_matches('"'))
                .collect();
            let expected: Vec<_> = all
                .into_iter()
                .filter(|one| !hidden.contains(one))
                .collect();
            assert_eq!(found, expected, "-v {verbosity}");
        }
    }
}
