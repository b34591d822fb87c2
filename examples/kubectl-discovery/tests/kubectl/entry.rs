//! An entry of the HTTP cache, taken apart without the help of the crates under test.

use sha2::{Digest, Sha256};

/// A stored response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) status: String,
    /// The header lines in their order, without those that differ from answer to answer.
    pub(crate) headers: Vec<String>,
    /// As it stands there, framing included.
    pub(crate) body: Vec<u8>,
}

impl Kept {
    #[track_caller]
    pub(crate) fn of(file: &[u8]) -> Self {
        let (sum, dump) = file.split_at(32);
        assert_eq!(sum, Sha256::digest(dump).as_slice(), "the sum is right");
        let end = dump
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8(dump[..end].to_vec()).expect("text");
        let mut lines = head.split("\r\n").map(str::to_owned);
        let status = lines.next().expect("a status line");
        let moving = |line: &String| line.starts_with("Date: ") || line.starts_with("Audit-Id: ");
        Self {
            status,
            headers: lines.filter(|line| !moving(line)).collect(),
            body: dump[end + 4..].to_vec(),
        }
    }

    pub(crate) fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|line| line.starts_with(header))
    }
}
