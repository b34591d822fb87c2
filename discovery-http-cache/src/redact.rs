//! Keys and URIs as events show them: without user information, which may be a password.

use std::fmt;

/// A key, or a URI.
pub(crate) struct Redacted<'a> {
    text: &'a str,
    query: bool,
}

impl<'a> Redacted<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, query: true }
    }

    /// Also without what comes behind a question mark: for what is not only read by those who look
    /// for a fault.
    pub(crate) fn without_query(text: &'a str) -> Self {
        Self { text, query: false }
    }
}

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.text;
        if !self.query {
            text = text.split('?').next().unwrap_or_default();
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let end = rest.find(['/', '?', '#', '\n']).unwrap_or(rest.len());
            if let Some(at) = rest[..end].rfind('@') {
                return write!(f, "{scheme}://***{}", &rest[at..]);
            }
        }
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information() {
        for (text, redacted, without_query) in [
            ("https://h:1/a?b@c", "https://h:1/a?b@c", "https://h:1/a"),
            ("https://u:p@h/a?b", "https://***@h/a?b", "https://***@h/a"),
            (
                "HEAD https://u@p@h",
                "HEAD https://***@h",
                "HEAD https://***@h",
            ),
            ("/a@b?c", "/a@b?c", "/a@b"),
            (
                "https://h\nf\nx: u@v",
                "https://h\nf\nx: u@v",
                "https://h\nf\nx: u@v",
            ),
        ] {
            assert_eq!(Redacted::new(text).to_string(), redacted);
            assert_eq!(Redacted::without_query(text).to_string(), without_query);
        }
    }
}
