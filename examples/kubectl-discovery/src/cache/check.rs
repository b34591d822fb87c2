//! Whether a file is whole.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use discovery_core::http::dump;
use discovery_core::kube::document::{ApiGroupList, ApiResourceList, decode};
use discovery_core::store::Value;
use http::{Method, Response, Uri};
use sha2::{Digest, Sha256};

use super::files::{Found, What};
use crate::errors::go_words;

/// The checksum before an entry of the HTTP cache.
const SUM: usize = 32;

/// The length of the line with the checksum after a negative entry.
const SUM_LINE: usize = "\nsha256 \n".len() + 2 * SUM;

/// The largest discovery file that the caches read.
const MAX_DISCOVERY: u64 = 64 << 20;

/// Files beyond this are not read to be checked.
const MAX_ENTRY: u64 = 1 << 30;

/// The first words of an entry that lists the variants of an answer, and is no answer itself.
const VARIANTS: &[u8] = b"discovery-http-cache variants ";

/// Why a file is of no use to a cache; `None` if it is. Temporary files are of none to anyone, whole or
/// not, and are not read.
pub(super) fn damage(found: &Found) -> Option<String> {
    let limit = match found.what {
        What::Temporary => return None,
        What::Entry | What::Negative(_) => MAX_ENTRY,
        What::Groups | What::Resources(_) => MAX_DISCOVERY,
    };
    if found.bytes > limit {
        return Some(format!("larger than {} MiB", limit >> 20));
    }
    let bytes = match read(found) {
        Ok(bytes) => bytes,
        // It was replaced or removed meanwhile, as caches do.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(format!("can't be read: {}", go_words(&error))),
    };
    match &found.what {
        What::Groups => decode::<ApiGroupList>(&bytes).err().map(malformed),
        What::Resources(group_version) => match decode::<ApiResourceList>(&bytes) {
            Err(error) => Some(malformed(error)),
            Ok(list) if list.group_version != group_version.as_str() => Some(format!(
                "malformed: it is of the group version {:?}",
                list.group_version.as_str()
            )),
            Ok(_) => None,
        },
        What::Negative(_) => negative(&bytes).err(),
        What::Entry => entry(&bytes).err(),
        What::Temporary => None,
    }
}

fn malformed(error: impl std::fmt::Display) -> String {
    format!("malformed: {error}")
}

pub(super) fn read(found: &Found) -> std::io::Result<Bytes> {
    let mut bytes = Vec::new();
    File::open(&found.path)?
        .take(MAX_ENTRY)
        .read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// Looks at the answer for a group version without a list, whose last line is the checksum of the rest.
fn negative(bytes: &Bytes) -> Result<(), String> {
    let sum = |length: usize| {
        let (answer, line) = bytes.split_at_checked(length)?;
        let found = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let sum = Sha256::digest(answer);
        let expected: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        (found.strip_prefix("\nsha256 ")? == expected).then(|| bytes.slice(..length))
    };
    let answer = bytes.len().checked_sub(SUM_LINE).and_then(sum);
    let answer = answer.ok_or("damaged: its last line is not its checksum")?;
    let decoded = dump::decode(&Method::GET, &Value::new(Bytes::new(), answer));
    decoded.map(drop).map_err(malformed)
}

/// The answer in an entry of the HTTP cache; `None` in one that only tells of other entries.
pub(super) fn entry(bytes: &Bytes) -> Result<Option<Response<Bytes>>, String> {
    if bytes.len() < SUM {
        return Err("damaged: too short for its checksum".into());
    }
    let (sum, body) = (bytes.slice(..SUM), bytes.slice(SUM..));
    if *Sha256::digest(&body) != *sum {
        return Err("damaged: it has another checksum".into());
    }
    if body.starts_with(VARIANTS) || is_url(&body) {
        return Ok(None);
    }
    let decoded = dump::decode(&Method::GET, &Value::new(Bytes::new(), body.clone()));
    match decoded {
        Ok(answer) => Ok(Some(answer)),
        // An answer to HEAD has no body, whatever length it tells.
        Err(error) if error.is_truncated() => {
            let head = dump::decode(&Method::HEAD, &Value::new(Bytes::new(), body));
            head.map(Some).map_err(|_| malformed(error))
        }
        Err(error) => Err(malformed(error)),
    }
}

/// Whether this is the note of which document is the latest: the URL of its entry.
fn is_url(body: &[u8]) -> bool {
    let is_web = body.starts_with(b"http://") || body.starts_with(b"https://");
    is_web && Uri::try_from(body).is_ok()
}
