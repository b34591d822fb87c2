//! Accepting connections, also when that fails for a while.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections, whatever comes.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: TcpListener,
    pauses: Pauses,
}

/// The pauses after errors in a row.
#[derive(Debug, Default)]
struct Pauses(Duration);

impl Acceptor {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            pauses: Pauses::default(),
        }
    }

    pub(crate) async fn accept(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.pauses = Pauses::default();
                    return stream;
                }
                Err(error) => {
                    if let Some(pause) = self.pauses.after(&error) {
                        eprintln!("a connection could not be accepted: {error}");
                        sleep(pause).await;
                    }
                }
            }
        }
    }
}

impl Pauses {
    /// There is no pause after a client that went away, because the next one may be well. Other errors
    /// (mostly too many open files) would come again at once, for as long as nothing is closed.
    fn after(&mut self, error: &io::Error) -> Option<Duration> {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionReset | Interrupted
        ) {
            return None;
        }
        self.0 = (self.0 * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        Some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let mut pauses = Pauses::default();
        let gone = io::Error::from(io::ErrorKind::ConnectionAborted);
        let full = io::Error::other("too many open files");
        let found: Vec<_> = [&full, &gone, &full, &full, &full, &full]
            .into_iter()
            .map(|error| pauses.after(error).map(|pause| pause.as_millis()))
            .collect();
        let expected = [Some(100), None, Some(200), Some(400), Some(800), Some(1000)];
        assert_eq!(found, expected);
    }
}
