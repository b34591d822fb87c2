//! Server addresses as kubectl reads them, which is with Go's `net/url`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// A percent sign in an address that no two hexadecimal digits follow. See [`server_url`](super::uri::server_url).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEscape {
    /// The percent sign, and up to two bytes.
    escape: String,
}

/// The parts of an absolute address. A fragment is not told from a path: there is none in what a client sends.
struct Address<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    path: &'a str,
}

#[derive(Clone, Copy)]
enum Part {
    User,
    Path,
}

/// The address as Go prints it, without its query. `None` where kubectl leaves it as it is: without a path, and if it is no
/// URL.
pub(super) fn printed(server: &str) -> Option<String> {
    let Address {
        scheme,
        user,
        host,
        path,
    } = Address::parse(server)?;
    let decoded = unescape(path).ok()?;
    if decoded.len() <= 1 {
        return None;
    }
    let mut printed = format!("{}://", scheme.to_ascii_lowercase());
    if let Some(user) = user {
        printed += &printed_user(user).ok()?;
        printed.push('@');
    }
    for byte in host.bytes() {
        push(&mut printed, byte, byte < 0x80);
    }
    // A valid part stays as it was written.
    if path
        .bytes()
        .all(|byte| is_plain(byte, Part::Path) || b"!'()*[]%".contains(&byte))
    {
        printed += path;
    } else {
        printed += &escape(&decoded, Part::Path);
    }
    Some(printed)
}

/// The address with the path that kubectl's requests begin with.
pub(super) fn sent(server: &str) -> Result<Cow<'_, str>, InvalidEscape> {
    let Some(address) = Address::parse(server) else {
        return Ok(server.into());
    };
    let Address {
        scheme,
        user,
        host,
        path,
    } = address;
    let clean = clean(path)?;
    let sent = clean.strip_suffix('/').unwrap_or(&clean);
    let printed_user = user.map(printed_user).transpose()?;
    if sent == path.strip_suffix('/').unwrap_or(path) && printed_user.as_deref() == user {
        return Ok(server.into());
    }
    let user = printed_user.map_or_else(String::new, |user| user + "@");
    Ok(format!("{scheme}://{user}{host}{sent}").into())
}

/// A path, decoded, without empty, `.` and `..` segments, and encoded; with a slash at its end if there was one.
pub(super) fn clean(path: &str) -> Result<String, InvalidEscape> {
    let decoded = unescape(path)?;
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => _ = segments.pop(),
            segment => segments.push(segment),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in segments {
        clean.push('/');
        clean += &escape(segment, Part::Path);
    }
    if decoded.ends_with(b"/") {
        clean.push('/');
    }
    Ok(clean)
}

/// What Go takes for no user information makes the address none, and stays.
fn printed_user(user: &str) -> Result<String, InvalidEscape> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !user.bytes().all(is_valid) {
        return Ok(user.into());
    }
    let mut printed = String::new();
    for (number, part) in user.splitn(2, ':').enumerate() {
        if number > 0 {
            printed.push(':');
        }
        printed += &escape(&unescape(part)?, Part::User);
    }
    Ok(printed)
}

impl<'a> Address<'a> {
    fn parse(server: &'a str) -> Option<Self> {
        let (scheme, rest) = server.split_once("://")?;
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        Some(Self {
            scheme,
            user,
            host,
            path,
        })
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, InvalidEscape> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let [byte, rest @ ..] = bytes {
        bytes = rest;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let Some((high, low)) = rest
            .first()
            .and_then(digit)
            .zip(rest.get(1).and_then(digit))
        else {
            let escape = [b"%", &rest[..rest.len().min(2)]].concat();
            let escape = String::from_utf8_lossy(&escape).into_owned();
            return Err(InvalidEscape { escape });
        };
        decoded.extend(u8::try_from(16 * high + low));
        bytes = &rest[2..];
    }
    Ok(decoded)
}

fn escape(bytes: &[u8], part: Part) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for byte in bytes {
        push(&mut escaped, *byte, is_plain(*byte, part));
    }
    escaped
}

fn push(text: &mut String, byte: u8, plain: bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if plain {
        text.push(char::from(byte));
    } else {
        text.push('%');
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(DIGITS[usize::from(nibble)]));
        }
    }
}

/// Whether Go leaves a byte as it is.
fn is_plain(byte: u8, part: Part) -> bool {
    let others: &[u8] = match part {
        Part::User => b"-_.~$&+,;=",
        Part::Path => b"-_.~$&+,;=/:@",
    };
    byte.is_ascii_alphanumeric() || others.contains(&byte)
}

impl fmt::Display for InvalidEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid URL escape {:?}", self.escape)
    }
}

impl Error for InvalidEscape {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen with kubectl 1.37.1, by its directories.
    #[test]
    fn addresses_are_printed_as_go_prints_them() {
        for (server, expected) in [
            ("http://h/ü", "http://h/%C3%BC"),
            ("http://h/%c3%bc", "http://h/%c3%bc"),
            ("http://h/a b", "http://h/a%20b"),
            ("http://h/a%2Fb", "http://h/a%2Fb"),
            ("http://h/a*b'c(d)[e]!", "http://h/a*b'c(d)[e]!"),
            ("http://h/a#b", "http://h/a%23b"),
            ("http://h/#b", "http://h/%23b"),
            ("http://h/a?q", "http://h/a"),
            ("http://h/a{b}|\\^", "http://h/a%7Bb%7D%7C%5C%5E"),
            ("http://h/ü!/%2f", "http://h/%C3%BC%21//"),
            ("http://me:s!c@h/x", "http://me:s%21c@h/x"),
            ("http://m%40e@h/x", "http://m%40e@h/x"),
            ("HTTP://h/x/", "http://h/x/"),
            ("http://bü/x", "http://b%C3%BC/x"),
        ] {
            assert_eq!(printed(server).as_deref(), Some(expected), "{server}");
        }
        for server in [
            "http://h",
            "http://ü/",
            "http://h/?q",
            "http://h/%zz",
            "h:1/x",
        ] {
            assert_eq!(printed(server), None, "{server}");
        }
    }

    /// Seen with kubectl 1.37.1, by its requests.
    #[test]
    fn paths_are_sent_decoded_cleaned_and_encoded() {
        for (server, expected) in [
            ("http://h/ü", "http://h/%C3%BC"),
            ("http://h/%c3%bc", "http://h/%C3%BC"),
            ("http://h/a%2Fb", "http://h/a/b"),
            ("http://h/a!b", "http://h/a%21b"),
            ("http://h/a#b", "http://h/a%23b"),
            ("http://h/x//y/./z/../", "http://h/x/y"),
            ("http://h//", "http://h"),
            ("http://h/%7Ea", "http://h/~a"),
            ("http://h/..", "http://h"),
            ("http://h/a[b]?q=1", "http://h/a%5Bb%5D"),
            ("http://me:s!:@h/x", "http://me:s%21%3A@h/x"),
            ("http://ü@h/x//", "http://ü@h/x"),
        ] {
            assert_eq!(sent(server).unwrap(), expected, "{server}");
        }
        for server in [
            "http://h",
            "http://h/",
            "http://h/k8s/c-1/",
            "h:1",
            "http://h?q",
        ] {
            assert_eq!(sent(server).unwrap(), server);
        }
        for (server, error) in [
            ("http://h/%zz", "%zz"),
            ("http://h/a%2", "%2"),
            ("http://h/%", "%"),
        ] {
            let expected = format!("invalid URL escape {error:?}");
            assert_eq!(sent(server).unwrap_err().to_string(), expected);
        }
    }
}
