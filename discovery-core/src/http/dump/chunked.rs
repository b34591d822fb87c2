//! Chunks (RFC 9112 §7.1).

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr;

use super::{DumpError, Kind};

pub(super) const LAST: &[u8] = b"0\r\n\r\n";

/// The end of a chunk, and the last chunk.
pub(super) const END_AND_LAST: &[u8] = b"\r\n0\r\n\r\n";

/// The line before a chunk, and the end of the chunk before it if there is one.
pub(super) fn start(size: usize, ends_chunk: bool) -> Bytes {
    let end = if ends_chunk { "\r\n" } else { "" };
    format!("{end}{size:x}\r\n").into()
}

/// One chunk and the last one, as Go does: an empty body has just the last one.
pub(super) fn encode(body: &Bytes) -> Bytes {
    if body.is_empty() {
        return Bytes::from_static(LAST);
    }
    let start = start(body.len(), false);
    let mut out = BytesMut::with_capacity(start.len() + body.len() + 2 + LAST.len());
    out.put(start);
    out.put_slice(body);
    out.put_slice(b"\r\n");
    out.put_slice(LAST);
    out.freeze()
}

/// The body in chunks. One chunk is not copied. Extensions and trailers are left out.
pub(super) fn decode(bytes: &Bytes) -> Result<Bytes, DumpError> {
    let mut one: Option<Bytes> = None;
    let mut many = BytesMut::new();
    let mut lines = Lines::new(bytes);
    loop {
        let size = chunk_size(lines.next()?)?;
        if size == 0 {
            break;
        }
        let start = lines.position();
        let chunk = start
            .checked_add(size)
            .filter(|end| *end <= bytes.len())
            .map(|end| bytes.slice(start..end))
            .ok_or(Kind::Truncated)?;
        lines.skip(size);
        if !lines.next()?.is_empty() {
            return Err(Kind::Malformed("chunk").into());
        }
        match one.take() {
            None if many.is_empty() => one = Some(chunk),
            None => many.put(chunk),
            Some(first) => {
                many.reserve(first.len() + chunk.len());
                many.put(first);
                many.put(chunk);
            }
        }
    }
    // Trailers end with a blank line, and so does their absence.
    while !lines.next()?.is_empty() {}
    Ok(one.unwrap_or_else(|| many.freeze()))
}

fn chunk_size(line: &[u8]) -> Result<usize, DumpError> {
    let digits = line
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| valid)
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .ok_or_else(|| Kind::Malformed("chunk size").into())
}

/// Lines that end with a line feed, with or without a carriage return before it.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Where the next line begins.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn skip(&mut self, size: usize) {
        self.position = self.position.saturating_add(size).min(self.bytes.len());
    }

    /// The next line, without its end.
    pub(super) fn next(&mut self) -> Result<&'a [u8], DumpError> {
        let rest = &self.bytes[self.position..];
        let end = memchr(b'\n', rest).ok_or(Kind::Truncated)?;
        self.position += end + 1;
        Ok(without_return(&rest[..end]))
    }
}

pub(super) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
