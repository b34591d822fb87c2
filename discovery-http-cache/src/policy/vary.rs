//! Which requests a response answers (RFC 9111 §4.1).
//!
//! kubectl stores the request's value of each header that `Vary` lists as `X-Varied-<Name>`,
//! unless it is empty, and so does this.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

const PREFIX: &str = "x-varied-";

/// What `Vary` lists, over all its lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vary {
    names: Vec<HeaderName>,
    /// `*`, or something that is no field name.
    any: bool,
}

impl Vary {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut this = Self::default();
        for line in headers.get_all(header::VARY) {
            for member in line.as_bytes().split(|b| *b == b',') {
                match member.trim_ascii() {
                    b"" => {}
                    b"*" => this.any = true,
                    name => match HeaderName::from_bytes(name) {
                        Ok(name) if this.names.contains(&name) => {}
                        Ok(name) => this.names.push(name),
                        Err(_) => this.any = true,
                    },
                }
            }
        }
        this
    }

    /// Whether no later request matches.
    pub(crate) fn is_any(&self) -> bool {
        self.any
    }

    /// Whether it lists a header whose value is a secret, or says whose answer this is. Storing
    /// such a response would write the value beside it.
    pub(crate) fn lists_credentials(&self) -> bool {
        let secret = |name: &HeaderName| {
            [
                header::AUTHORIZATION,
                header::COOKIE,
                header::PROXY_AUTHORIZATION,
            ]
            .contains(name)
                || name.as_str().starts_with("impersonate-")
        };
        self.names.iter().any(secret)
    }

    /// Writes what `request` has for each listed header into `stored`, in place of what is there.
    pub(crate) fn record(&self, request: &HeaderMap, stored: &mut HeaderMap) {
        remove_records(stored);
        for name in &self.names {
            let value = combined(request, name);
            let field = HeaderName::try_from(format!("{PREFIX}{name}"));
            if let (false, Ok(field), Ok(value)) =
                (value.is_empty(), field, HeaderValue::from_bytes(&value))
            {
                stored.insert(field, value);
            }
        }
    }

    /// What `stored` has recorded, by listed header.
    pub(crate) fn recorded(&self, stored: &HeaderMap) -> Variant {
        let value = |name: &HeaderName| {
            let value = stored.get(format!("{PREFIX}{name}")).cloned();
            (name.clone(), value)
        };
        Variant {
            values: self.names.iter().map(value).collect(),
            any: self.any,
        }
    }
}

/// The request headers that a stored response is for.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    values: Vec<(HeaderName, Option<HeaderValue>)>,
    any: bool,
}

impl Variant {
    pub(crate) fn matches(&self, request: &HeaderMap) -> bool {
        let same = |(name, value): &(HeaderName, Option<HeaderValue>)| {
            let recorded = value.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
            recorded == &*combined(request, name)
        };
        !self.any && self.values.iter().all(same)
    }
}

/// Takes out what [`Vary::record`] wrote, or what a server sent under such a name.
pub(crate) fn remove_records(headers: &mut HeaderMap) {
    let is_record = |name: &&HeaderName| name.as_str().starts_with(PREFIX);
    let records: Vec<_> = headers.keys().filter(is_record).cloned().collect();
    for name in records {
        headers.remove(name);
    }
}

/// The values of a header in one line (RFC 9110 §5.2), nothing for a header that is not there.
fn combined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Cow<'a, [u8]> {
    let mut lines = headers
        .get_all(name)
        .iter()
        .map(|value| value.as_bytes().trim_ascii());
    let first = lines.next().unwrap_or_default();
    match lines.next() {
        None => Cow::Borrowed(first),
        Some(second) => {
            let mut all = vec![first, second];
            all.extend(lines);
            Cow::Owned(all.join(&b", "[..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn matching() {
        let first = headers(&[("accept", "a"), ("accept", " b "), ("x-empty", "")]);
        let table = [
            (vec![], true, vec![]),
            (vec!["Accept"], true, vec![("accept", "a, b")]),
            (
                vec!["Accept"],
                true,
                vec![("accept", "a"), ("accept", "b"), ("other", "x")],
            ),
            (vec!["Accept"], false, vec![("accept", "a,b")]),
            (vec!["Accept"], false, vec![("accept", "a")]),
            (vec!["Accept"], false, vec![]),
            (
                vec!["x", "ACCEPT, ,"],
                false,
                vec![("x", "1"), ("accept", "a, b")],
            ),
            (vec!["x-empty"], true, vec![]),
            (vec!["x-empty"], false, vec![("x-empty", "1")]),
            (vec!["*"], false, vec![("accept", "a, b")]),
            (vec!["accept", "*"], false, vec![("accept", "a, b")]),
            (vec!["a b"], false, vec![("accept", "a, b")]),
        ];
        for (vary, expected, second) in table {
            let mut stored = headers(&[("x-varied-accept", "forged"), ("x-varied-y", "forged")]);
            for line in &vary {
                stored.append(header::VARY, HeaderValue::from_static(line));
            }
            let parsed = Vary::of(&stored);
            parsed.record(&first, &mut stored);
            assert!(!stored.contains_key("x-varied-y"));
            let variant = parsed.recorded(&stored);
            assert_eq!(
                variant.matches(&headers(&second)),
                expected,
                "{vary:?} {second:?}"
            );
        }
    }

    #[test]
    fn credentials() {
        let table = [
            ("Accept, Accept-Encoding", false),
            ("accept,AUTHORIZATION", true),
            ("Cookie", true),
            ("proxy-authorization", true),
            ("Impersonate-User", true),
            ("Impersonate-Extra-Scopes", true),
            ("X-Authorization", false),
        ];
        for (line, expected) in table {
            let mut map = headers(&[("vary", "origin")]);
            map.append(header::VARY, HeaderValue::from_static(line));
            assert_eq!(Vary::of(&map).lists_credentials(), expected, "{line}");
        }
    }
}
