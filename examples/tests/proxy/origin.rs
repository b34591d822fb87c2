//! A server on loopback that writes what a test tells it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The request line and the fields, each with its line break.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// The connection's fate after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    Close,
    /// It stays open, and nothing comes any more.
    Stall,
}

/// An answer, and what comes after it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) after: After,
}

pub(crate) struct Origin {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
    news: mpsc::Receiver<()>,
}

impl Origin {
    /// Answers each request, on a thread for each connection.
    pub(crate) fn new(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let connections = Arc::<AtomicUsize>::default();
        let (tell, news) = mpsc::channel();
        let (log, count, answer) = (
            Arc::clone(&asked),
            Arc::clone(&connections),
            Arc::new(answer),
        );
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                let (log, answer, tell) = (Arc::clone(&log), Arc::clone(&answer), tell.clone());
                thread::spawn(move || {
                    let note = |asked: &Asked| {
                        log.lock().expect("no panic").push(asked.clone());
                        // A test that does not listen does not need to know.
                        let _ = tell.send(());
                    };
                    // Clients may go away at any time.
                    let _ = serve(stream, &*answer, &note);
                });
            }
        });
        Self {
            addr,
            asked,
            connections,
            news,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits for the next request.
    pub(crate) fn next(&self) {
        self.news.recv().expect("the server is there");
    }
}

fn serve(
    stream: TcpStream,
    answer: &dyn Fn(&Asked) -> Answer,
    note: &dyn Fn(&Asked),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(asked) = read(&mut reader)? {
        note(&asked);
        let Answer { bytes, after } = answer(&asked);
        writer.write_all(&bytes)?;
        match after {
            After::Keep => {}
            After::Close => return Ok(()),
            After::Stall => {
                // Until the other side closes.
                std::io::copy(&mut reader, &mut std::io::sink())?;
                return Ok(());
            }
        }
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Asked>> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head.len() - before <= 2 {
            break;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map(|length| length.parse::<u64>().expect("a number"));
    let mut body = Vec::new();
    if let Some(length) = length {
        reader.take(length).read_to_end(&mut body)?;
    } else if lower.contains("transfer-encoding: chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).expect("a chunk size");
            reader.take(size).read_to_end(&mut body)?;
            reader.read_line(&mut line)?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(Some(Asked { head, body }))
}

/// A whole answer with a length, after which the connection is kept.
pub(crate) fn whole(fields: &str, body: &str) -> Answer {
    let length = body.len();
    Answer {
        bytes: format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{fields}\r\n{body}").into(),
        after: After::Keep,
    }
}
