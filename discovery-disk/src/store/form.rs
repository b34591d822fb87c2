//! How a file holds its value: as it is or compressed, with a checksum or without.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use discovery_core::store::Value;
use sha2::{Digest, Sha256};

/// The length of a checksum.
pub(crate) const SUM: usize = 32;

/// Stands before the checksum at the end of a file.
const MARK: &[u8] = b"\nsha256 ";

/// The length of a checksum as a last line.
pub(crate) const LAST_LINE: usize = MARK.len() + 2 * SUM + 1;

/// The parts of a file, in this order.
pub(crate) type Parts = [Bytes; 4];

/// The form of all files of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) sum: Sum,
    pub(crate) compression: Compression,
}

/// Where a file has the SHA-256 of all its other bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sum {
    /// Nowhere.
    #[default]
    None,
    /// In its first 32 bytes, raw, as kubectl has it.
    First,
    /// In its last line, in hexadecimal digits.
    Last,
}

/// How the values of a [`DiskStore`](super::DiskStore) are compressed in their files.
///
/// ```
/// use discovery_disk::store::{Compression, DiskStoreOptions};
///
/// let options = DiskStoreOptions::new().compression(Compression::None);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all: the default.
    #[default]
    None,
    /// As gzip (RFC 1952): `zcat` shows the value.
    #[cfg(feature = "gzip")]
    Gzip,
    /// As zlib (RFC 1950), which is smaller by twelve bytes.
    #[cfg(feature = "gzip")]
    Zlib,
    /// As Zstandard (RFC 8878): `zstdcat` shows the value. Quicker than gzip both ways, and smaller.
    #[cfg(feature = "zstd")]
    Zstd,
}

/// Why a file is no value.
pub(crate) type Damage = &'static str;

impl Form {
    /// The parts of the file for a value.
    pub(crate) fn encode(self, value: Value) -> io::Result<Parts> {
        let Value { head, body, .. } = if self.compression == Compression::None {
            value
        } else {
            let mut compressor = Compressor::new(self.compression)?;
            let mut bytes = compressor.push(&value.head)?.into_owned();
            bytes.extend_from_slice(&compressor.push(&value.body)?);
            bytes.extend_from_slice(&compressor.finish()?);
            Value::new(Bytes::new(), bytes)
        };
        let sum = || {
            Sha256::new()
                .chain_update(&head)
                .chain_update(&body)
                .finalize()
        };
        Ok(match self.sum {
            Sum::None => [Bytes::new(), head, body, Bytes::new()],
            Sum::First => [Bytes::copy_from_slice(&sum()), head, body, Bytes::new()],
            Sum::Last => {
                let line = last_line(&sum());
                [Bytes::new(), head, body, line.into()]
            }
        })
    }

    /// The value of a file, of at most `max` bytes. The checksum is compared unless the file `is_verified`.
    pub(crate) fn decode(self, file: Bytes, is_verified: bool, max: u64) -> Result<Bytes, Damage> {
        let stored = self.check(file, is_verified)?;
        if self.compression == Compression::None {
            return Ok(stored);
        }
        let mut bytes = Vec::new();
        let read = self
            .compression
            .decoder(&stored[..])
            .and_then(|decoder| decoder.take(max.saturating_add(1)).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 > max => Err("larger than the store takes"),
            Ok(_) => Ok(bytes.into()),
            Err(_) => Err("not compressed as the store's values are"),
        }
    }

    fn check(self, mut file: Bytes, is_verified: bool) -> Result<Bytes, Damage> {
        let is_sum =
            |sum: &[u8], body: &[u8]| is_verified || Sha256::digest(body).as_slice() == sum;
        match self.sum {
            Sum::None => Ok(file),
            _ if file.len() < self.overhead() => Err("too short for its checksum"),
            Sum::First => {
                let (sum, body) = file.split_at(SUM);
                if !is_sum(sum, body) {
                    return Err("its checksum is wrong");
                }
                file.advance(SUM);
                Ok(file)
            }
            Sum::Last => {
                let body = file.len() - LAST_LINE;
                let line = &file[body..];
                let is_right =
                    is_verified || last_line(&Sha256::digest(&file[..body])).as_bytes() == line;
                if !is_right {
                    return Err("its checksum is missing or wrong");
                }
                file.truncate(body);
                Ok(file)
            }
        }
    }

    /// How many bytes of a file are not the value's.
    pub(crate) const fn overhead(self) -> usize {
        match self.sum {
            Sum::None => 0,
            Sum::First => SUM,
            Sum::Last => LAST_LINE,
        }
    }

    pub(crate) const fn is_plain(self) -> bool {
        matches!(self.sum, Sum::None) && matches!(self.compression, Compression::None)
    }

    pub(crate) const fn has_sum(self) -> bool {
        !matches!(self.sum, Sum::None)
    }
}

impl Compression {
    /// Reads what `stored` has been compressed from.
    pub(crate) fn decoder<'a>(
        self,
        stored: impl Read + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Self::None => Box::new(stored),
            #[cfg(feature = "gzip")]
            Self::Gzip => Box::new(flate2::read::GzDecoder::new(stored)),
            #[cfg(feature = "gzip")]
            Self::Zlib => Box::new(flate2::read::ZlibDecoder::new(stored)),
            #[cfg(feature = "zstd")]
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(stored)?),
        })
    }
}

/// A checksum as the last line of a file.
pub(crate) fn last_line(sum: &[u8]) -> String {
    let mut line = String::with_capacity(LAST_LINE);
    line.push_str("\nsha256 ");
    for byte in sum {
        // Writing to a string can't fail.
        let _ = write!(line, "{byte:02x}");
    }
    line.push('\n');
    line
}

/// Makes the bytes of a file from those of a value that comes in pieces.
pub(crate) struct Encoder {
    form: Form,
    sum: Sha256,
    compressor: Compressor,
}

/// The end of an [`Encoder`]'s file.
pub(crate) struct End {
    /// The last bytes.
    pub(crate) rest: Vec<u8>,
    /// The first bytes of the file, which were left free.
    pub(crate) first: Bytes,
}

impl Encoder {
    pub(crate) fn new(form: Form) -> io::Result<Self> {
        Ok(Self {
            form,
            sum: Sha256::new(),
            compressor: Compressor::new(form.compression)?,
        })
    }

    /// How many bytes are to be left free at the start of the file.
    pub(crate) const fn reserved(&self) -> usize {
        match self.form.sum {
            Sum::First => SUM,
            Sum::None | Sum::Last => 0,
        }
    }

    /// Takes a piece of the value, and returns bytes for the file.
    pub(crate) fn push<'a>(&mut self, data: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        let bytes = self.compressor.push(data)?;
        if self.form.has_sum() {
            self.sum.update(&bytes);
        }
        Ok(bytes)
    }

    pub(crate) fn finish(self) -> io::Result<End> {
        let mut rest = self.compressor.finish()?;
        let mut first = Bytes::new();
        if self.form.has_sum() {
            let sum = self.sum.chain_update(&rest).finalize();
            if self.form.sum == Sum::First {
                first = Bytes::copy_from_slice(&sum);
            } else {
                rest.extend_from_slice(last_line(&sum).as_bytes());
            }
        }
        Ok(End { rest, first })
    }
}

enum Compressor {
    None,
    #[cfg(feature = "gzip")]
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    #[cfg(feature = "gzip")]
    Zlib(flate2::write::ZlibEncoder<Vec<u8>>),
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    fn new(compression: Compression) -> io::Result<Self> {
        #[cfg(feature = "gzip")]
        let level = flate2::Compression::default();
        Ok(match compression {
            Compression::None => Self::None,
            #[cfg(feature = "gzip")]
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), level)),
            #[cfg(feature = "gzip")]
            Compression::Zlib => Self::Zlib(flate2::write::ZlibEncoder::new(Vec::new(), level)),
            #[cfg(feature = "zstd")]
            Compression::Zstd => {
                let level = zstd::DEFAULT_COMPRESSION_LEVEL;
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn push<'a>(&mut self, data: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        #[cfg(any(feature = "gzip", feature = "zstd"))]
        use std::{io::Write as _, mem::take};
        Ok(match self {
            Self::None => Cow::Borrowed(data),
            #[cfg(feature = "gzip")]
            Self::Gzip(encoder) => {
                encoder.write_all(data)?;
                take(encoder.get_mut()).into()
            }
            #[cfg(feature = "gzip")]
            Self::Zlib(encoder) => {
                encoder.write_all(data)?;
                take(encoder.get_mut()).into()
            }
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => {
                encoder.write_all(data)?;
                take(encoder.get_mut()).into()
            }
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(Vec::new()),
            #[cfg(feature = "gzip")]
            Self::Gzip(encoder) => encoder.finish(),
            #[cfg(feature = "gzip")]
            Self::Zlib(encoder) => encoder.finish(),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}
