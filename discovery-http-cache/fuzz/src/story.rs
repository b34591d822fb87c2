use std::fmt;

use crate::model::{Asked, Got, History, Moment};
use crate::once::start;

/// The history of a run, for the message of a failure.
pub(crate) struct Story<'a>(
    pub(crate) &'a History,
    pub(crate) Option<(&'a Asked, &'a Got)>,
);

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(history, got) = self;
        let start = start();
        let when = |at: &Moment| {
            let time = at.time.duration_since(start).unwrap_or_default();
            format!("[{} {:?}]", at.turn, time)
        };
        let head = |headers: &http::HeaderMap| -> String {
            let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                format!(" {name}: {};", String::from_utf8_lossy(value.as_bytes()))
            };
            headers.iter().map(line).collect()
        };
        for contact in &history.contacts {
            let Asked {
                number,
                method,
                uri,
                headers,
                at,
            } = &contact.asked;
            writeln!(f, "{} #{number} {method} {uri}{}", when(at), head(headers))?;
            writeln!(f, "  {} asked{}", when(&contact.at), head(&contact.headers))?;
            if let Some(given) = &contact.answer {
                write!(f, "  {} answer {}", when(&given.at), given.id)?;
                match &given.response {
                    Some((status, headers)) => write!(f, " {status}{}", head(headers))?,
                    None => write!(f, " broken")?,
                }
                writeln!(f, " whole: {}", given.whole)?;
            }
        }
        if let Some((asked, got)) = got {
            let Asked {
                number,
                method,
                uri,
                headers,
                at,
            } = asked;
            writeln!(f, "{} #{number} {method} {uri}{}", when(at), head(headers))?;
            writeln!(
                f,
                "  {} got {}{}",
                when(&got.at),
                got.status,
                head(&got.headers)
            )?;
        }
        write!(f, "  {:?}, {:?}", history.rules, history.damaged)
    }
}
