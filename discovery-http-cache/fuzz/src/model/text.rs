//! Header fields as the RFCs define them, one character after the other.

use std::collections::BTreeSet;

use http::HeaderMap;

/// A `Cache-Control` directive: its name in lower case, and its argument without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// In lower case, without blanks.
    pub name: String,
    /// The text after the equals sign.
    pub argument: Option<String>,
}

/// The lines of a field.
pub(crate) fn lines(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .map(|value| value.as_bytes().iter().map(|b| char::from(*b)).collect())
        .collect()
}

/// The members of a list over several lines (RFC 9110 §5.6.1): commas in quoted strings part
/// nothing. A string that does not end takes all that is left of its line. `begins` tells whether one
/// can begin behind what there is of the member.
fn split(lines: &[String], begins: fn(&str) -> bool) -> Vec<String> {
    let mut members = Vec::new();
    for line in lines {
        let (mut member, mut quoted, mut escaped) = (String::new(), false, false);
        for c in line.chars() {
            if escaped {
                escaped = false;
            } else if quoted && c == '\\' {
                escaped = true;
            } else if c == '"' && (quoted || begins(trim(&member))) {
                quoted = !quoted;
            } else if c == ',' && !quoted {
                members.push(std::mem::take(&mut member));
                continue;
            }
            member.push(c);
        }
        members.push(member);
    }
    members
        .iter()
        .map(|member| trim(member).to_owned())
        .filter(|member| !member.is_empty())
        .collect()
}

pub(crate) fn members(lines: &[String]) -> Vec<String> {
    split(lines, |_| true)
}

/// The directives of `Cache-Control` (RFC 9111 §5.2).
///
/// ```
/// use discovery_http_cache_fuzz::model::directives;
/// use http::HeaderMap;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("cache-control", "x=\"no-store, a\", Max-Age=\"5\"".parse().unwrap());
/// let all = directives(&headers);
/// assert_eq!(all[0].argument.as_deref(), Some("no-store, a"));
/// assert_eq!(all[1].name, "max-age");
/// assert_eq!(all[1].argument.as_deref(), Some("5"));
/// ```
#[must_use]
pub fn directives(headers: &HeaderMap) -> Vec<Directive> {
    // Strings are arguments.
    split(&lines(headers, "cache-control"), |before| {
        before.ends_with('=') && before.matches('=').count() == 1
    })
    .iter()
    .map(|member| match member.split_once('=') {
        None => Directive {
            name: member.to_ascii_lowercase(),
            argument: None,
        },
        Some((name, argument)) => Directive {
            name: trim(name).to_ascii_lowercase(),
            argument: Some(unquote(trim(argument))),
        },
    })
    .collect()
}

/// Whether one of the directives has this name.
pub(crate) fn has(all: &[Directive], name: &str) -> bool {
    all.iter().any(|directive| directive.name == name)
}

/// The argument of the first with this name, in seconds. `Some(None)` if it is no number.
pub(crate) fn seconds_of(all: &[Directive], name: &str) -> Option<Option<u64>> {
    let first = all.iter().find(|directive| directive.name == name)?;
    Some(first.argument.as_deref().and_then(seconds))
}

/// The most that the arguments of a directive allow.
pub(crate) fn most_seconds_of(all: &[Directive], name: &str) -> Option<u64> {
    all.iter()
        .filter(|directive| directive.name == name)
        .filter_map(|directive| directive.argument.as_deref().and_then(seconds))
        .max()
}

/// The least that the arguments of a directive demand.
pub(crate) fn least_seconds_of(all: &[Directive], name: &str) -> Option<u64> {
    all.iter()
        .filter(|directive| directive.name == name)
        .map(|directive| {
            directive
                .argument
                .as_deref()
                .and_then(seconds)
                .unwrap_or(u64::MAX)
        })
        .min()
}

/// delta-seconds (RFC 9111 §1.2.2).
pub(crate) fn seconds(text: &str) -> Option<u64> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let mut number = 0_u64;
    for c in text.chars() {
        number = number
            .saturating_mul(10)
            .saturating_add(u64::from(c) - u64::from('0'));
    }
    Some(number)
}

/// The meaning of a request field, for `Vary` (RFC 9111 §4.1). Languages, codings and character sets
/// are in any case and order.
pub(crate) fn meaning(headers: &HeaderMap, name: &str) -> (BTreeSet<String>, Vec<String>) {
    let members = members(&lines(headers, name));
    if ["accept-language", "accept-encoding", "accept-charset"].contains(&name) {
        let lower = members.iter().map(|member| member.to_ascii_lowercase());
        (lower.collect(), Vec::new())
    } else {
        (BTreeSet::new(), members)
    }
}

pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn unquote(text: &str) -> String {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return text.to_owned();
    };
    let (mut out, mut escaped) = (String::new(), false);
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            out.push(c);
        }
    }
    out
}
