//! Runs the program, and talks to it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Far more than anything takes; only against hanging for ever.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Proxy {
    child: Child,
    addr: String,
}

/// A response, taken apart without any tolerance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    /// `None` if the connection was closed without any response.
    pub(crate) status: Option<u16>,
    /// The fields in lower case, each with its line break.
    pub(crate) fields: String,
    pub(crate) body: String,
    /// Whether the message says that this was all, and it was.
    pub(crate) is_whole: bool,
    /// The bytes that came behind it.
    pub(crate) rest: String,
}

impl Proxy {
    pub(crate) fn new(upstream: &str, arguments: &[&str]) -> Self {
        Self::start(&[&["--upstream", upstream], arguments].concat())
    }

    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_caching-proxy"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        output.read_line(&mut line).expect("its address");
        let addr = line.trim().strip_prefix("http://").expect("an address");
        Self {
            addr: addr.to_owned(),
            child,
        }
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addr).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        stream
    }

    /// Sends a GET request on a new connection.
    pub(crate) fn send(&self, path: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: proxy\r\n\r\n").expect("it listens");
        stream
    }

    /// The response to a GET request, on a connection that is closed then.
    pub(crate) fn get(&self, path: &str) -> Got {
        let mut stream = self.connect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it listens");
        to_the_end(stream)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until the proxy closes the connection.
#[track_caller]
pub(crate) fn to_the_end(mut stream: TcpStream) -> Got {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}: {}", bytes.escape_ascii()),
    }
    parse(&String::from_utf8(bytes).expect("text"))
}

fn parse(text: &str) -> Got {
    let (head, after) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = line.split(' ').nth(1);
    let status = status.map(|code| code.parse().expect("a status code"));
    let fields = format!("{}\r\n", fields.to_ascii_lowercase());
    let values = |name: &str| {
        let name = format!("{name}: ");
        let lines = fields.lines();
        lines
            .filter_map(|line| line.strip_prefix(&name).map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "two framings: {text}");
    let (body, is_whole, rest) = match (lengths.first(), codings.first()) {
        (Some(length), _) => {
            let length = length.parse::<usize>().expect("a number");
            let (body, rest) = after.split_at(length.min(after.len()));
            (body.to_owned(), body.len() == length, rest.to_owned())
        }
        (_, Some(_)) => dechunk(after),
        // The end of the connection is the end of the body: it can't be told from a cut.
        _ => (after.to_owned(), false, String::new()),
    };
    Got {
        status,
        fields,
        body,
        is_whole,
        rest,
    }
}

fn dechunk(mut rest: &str) -> (String, bool, String) {
    let mut body = String::new();
    loop {
        let Some((size, after)) = rest.split_once("\r\n") else {
            return (body, false, String::new());
        };
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            let end = after.strip_prefix("\r\n");
            return (body, end.is_some(), end.unwrap_or_default().to_owned());
        }
        body.push_str(&after[..size.min(after.len())]);
        let Some(next) = after
            .get(size..)
            .and_then(|after| after.strip_prefix("\r\n"))
        else {
            return (body, false, String::new());
        };
        rest = next;
    }
}
