//! The measure for the disk store: the same file, read with as few calls as can be.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Opens a file, asks for its size, reads it in one call, and closes it.
///
/// # Errors
///
/// Those of the file system.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same, and whether the first 32 bytes are the sum of the others.
///
/// # Errors
///
/// Those of the file system, and a file of less than 32 bytes.
pub fn read_and_sum(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    let bytes = read(path)?;
    let (sum, value) = bytes
        .split_at_checked(32)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let right = *Sha256::digest(value) == *sum;
    Ok((bytes, right))
}
