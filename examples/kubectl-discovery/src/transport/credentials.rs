//! The header fields that tell the server who the user is.
//!
//! kube's own layers panic on a token that is not a field value, and don't trim a token file.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use discovery_core::BoxError;
use http::HeaderValue;
use kube::config::{AuthInfo, AuthProviderConfig};
use secrecy::{ExposeSecret, SecretString};

use super::Unsendable;
use crate::errors::go_words;

/// The `Authorization` field of a user, if there is anything to send.
///
/// An exec plugin is not run here: its token has replaced the plugin before.
///
/// # Errors
///
/// An [`Unsendable`] for a token that is not a field value, and another error if a token file can't
/// be read, or if kubectl has no provider of that name.
pub(super) fn authorization(user: &AuthInfo) -> Result<Option<HeaderValue>, BoxError> {
    let name = user.username.as_deref().filter(|name| !name.is_empty());
    let password = user.password.as_ref().map(SecretString::expose_secret);
    let token = user.token.as_ref().map(SecretString::expose_secret);
    let file = user.token_file.as_deref().filter(|file| !file.is_empty());
    if let Some(provider) = &user.auth_provider {
        return Ok(Some(bearer(id_token(provider)?.as_bytes())?));
    }
    if let (Some(name), Some(password)) = (name, password) {
        return Ok(Some(basic(name, password)?));
    }
    let token = token.filter(|token| !token.is_empty());
    if let (Some(file), Some(_)) = (file, token)
        && let Ok(read) = fs::read(file)
        && let read = read.trim_ascii()
        && !read.is_empty()
    {
        // The file counts more than what stands beside it, if it can be read.
        return Ok(Some(bearer(read)?));
    }
    if let Some(token) = token {
        return Ok(Some(bearer(token.as_bytes())?));
    }
    if let Some(file) = file {
        let read = fs::read(file);
        let token = read.map_err(|error| format!("open {file}: {}", go_words(&error)))?;
        return Ok(match token_of_file(&token) {
            b"" => None,
            token => Some(bearer(token)?),
        });
    }
    // Without a password, the name is sent with an empty one.
    Ok(name.map(|name| basic(name, "")).transpose()?)
}

/// Checks the values of the impersonation headers.
///
/// # Errors
///
/// When one of them is not a field value.
pub(super) fn check_impersonation(user: &AuthInfo) -> Result<(), Unsendable> {
    let one = |name: &str, value: &Option<String>| {
        value.as_ref().map_or(Ok(()), |value| check(name, value))
    };
    one("Impersonate-User", &user.impersonate)?;
    one("Impersonate-Uid", &user.impersonate_uid)?;
    for group in user.impersonate_groups.iter().flatten() {
        check("Impersonate-Group", group)?;
    }
    for (key, values) in user.impersonate_user_extra.iter().flatten() {
        let name = format!("Impersonate-Extra-{}", canonical(key));
        for value in values {
            check(&name, value)?;
        }
    }
    Ok(())
}

fn check(name: &str, value: &str) -> Result<(), Unsendable> {
    field_value(name, value.as_bytes()).map(|_| ())
}

fn bearer(token: &[u8]) -> Result<HeaderValue, Unsendable> {
    field_value("Authorization", &[b"Bearer ", token].concat())
}

fn basic(name: &str, password: &str) -> Result<HeaderValue, Unsendable> {
    let encoded = STANDARD.encode(format!("{name}:{password}"));
    field_value("Authorization", format!("Basic {encoded}").as_bytes())
}

/// A secret field value. `http` accepts the same bytes as Go: all but control characters, and tabs.
fn field_value(name: &str, value: &[u8]) -> Result<HeaderValue, Unsendable> {
    let mut value = HeaderValue::from_bytes(value).map_err(|_| {
        Unsendable::new(format_args!(
            "net/http: invalid header field value for {name:?}"
        ))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The token in a file, without the white space around it. If nothing else is there, client-go
/// sends that, and so fails.
fn token_of_file(file: &[u8]) -> &[u8] {
    let trimmed = match std::str::from_utf8(file) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => file.trim_ascii(),
    };
    if trimmed.is_empty() { file } else { trimmed }
}

fn id_token(provider: &AuthProviderConfig) -> Result<&str, BoxError> {
    match provider.name.as_str() {
        "oidc" => provider
            .config
            .get("id-token")
            .map(String::as_str)
            .ok_or_else(|| "no id-token for the oidc auth provider".into()),
        "gcp" => Err(removed(
            "gcp",
            "\"gke-gcloud-auth-plugin\"",
            "https://cloud.google.com/blog/products/containers-kubernetes/kubectl-auth-changes-in-gke",
        )),
        "azure" => Err(removed(
            "azure",
            "https://github.com/Azure/kubelogin",
            "https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins",
        )),
        name => Err(format!("no Auth Provider found for name {name:?}").into()),
    }
}

fn removed(name: &str, instead: &str, see: &str) -> BoxError {
    format!(
        "The {name} auth plugin has been removed.\nPlease use the {instead} kubectl/client-go \
         credential plugin instead.\nSee {see} for further details"
    )
    .into()
}

/// The key of an impersonation extra, as client-go encodes it and as Go writes field names.
fn canonical(key: &str) -> String {
    let mut canonical = String::with_capacity(key.len());
    let mut begins = true;
    for byte in key.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
        match byte {
            _ if !is_plain => canonical.push_str(&format!("%{byte:02x}")),
            _ if begins => canonical.push(byte.to_ascii_uppercase().into()),
            _ => canonical.push(byte.to_ascii_lowercase().into()),
        }
        begins = byte == b'-';
    }
    canonical
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(yaml: &str) -> AuthInfo {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn a_token_file_is_trimmed_as_in_go() {
        struct Row {
            file: &'static [u8],
            sent: Result<Option<&'static [u8]>, ()>,
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for Row { file, sent } in [
            Row {
                file: b"tok",
                sent: Ok(Some(b"Bearer tok")),
            },
            Row {
                file: b"tok\n",
                sent: Ok(Some(b"Bearer tok")),
            },
            Row {
                file: b" \t tok \r\n\n",
                sent: Ok(Some(b"Bearer tok")),
            },
            Row {
                file: "tok\u{a0}\n".as_bytes(),
                sent: Ok(Some(b"Bearer tok")),
            },
            Row {
                file: b"\xff \n",
                sent: Ok(Some(b"Bearer \xff")),
            },
            Row {
                file: b"to\nk",
                sent: Err(()),
            },
            Row {
                file: b" \n",
                sent: Err(()),
            },
            Row {
                file: b"",
                sent: Ok(None),
            },
        ] {
            fs::write(&path, file).unwrap();
            // In a pod it is nothing but this, too.
            let user = AuthInfo {
                token_file: path.to_str().map(Into::into),
                ..AuthInfo::default()
            };
            let found = authorization(&user);
            let found = found
                .as_ref()
                .map(|value| value.as_ref().map(HeaderValue::as_bytes));
            assert_eq!(found.map_err(|_| ()), sent, "{}", file.escape_ascii());
        }
    }

    #[test]
    fn the_value_is_sensitive_and_one_credential_wins() {
        for (yaml, sent) in [
            ("{token: tok}", "Bearer tok"),
            ("{token: 'tok '}", "Bearer tok "),
            ("{username: a, password: b, token: tok}", "Basic YTpi"),
            ("{username: \"a\\nb\", password: \"\\0\"}", "Basic YQpiOgA="),
            ("{username: a}", "Basic YTo="),
            ("{username: a, token: tok}", "Bearer tok"),
            ("{token: \"\", username: a, password: ''}", "Basic YTo="),
            (
                "{auth-provider: {name: oidc, config: {id-token: tok}}}",
                "Bearer tok",
            ),
        ] {
            let value = authorization(&user(yaml)).unwrap().unwrap();
            assert_eq!(value, sent, "{yaml}");
            assert!(value.is_sensitive());
        }
        for yaml in ["{}", "{token: ''}", "{tokenFile: ''}", "{username: ''}"] {
            assert_eq!(authorization(&user(yaml)).unwrap(), None, "{yaml}");
        }
    }

    #[test]
    fn no_control_character_becomes_a_header() {
        let authorization_of = |yaml: &str| authorization(&user(yaml)).unwrap_err().to_string();
        for yaml in [
            "{token: \"abc\\n\"}",
            "{token: \"a\\0bc\"}",
            "{token: \"a\\x7fbc\"}",
            "{auth-provider: {name: oidc, config: {id-token: \"abc\\r\"}}}",
        ] {
            let message = "net/http: invalid header field value for \"Authorization\"";
            assert_eq!(authorization_of(yaml), message, "{yaml}");
        }
        for (yaml, name) in [
            ("{as: \"a\\nb\"}", "Impersonate-User"),
            ("{as: a, as-uid: \"a\\0b\"}", "Impersonate-Uid"),
            ("{as: a, as-groups: [a, \"\\r\"]}", "Impersonate-Group"),
            (
                "{as: a, as-user-extra: {\"Sc-oPE/é\": [a, \"\\n\"]}}",
                "Impersonate-Extra-Sc-Ope%2f%c3%a9",
            ),
        ] {
            let error = check_impersonation(&user(yaml)).unwrap_err();
            let message = format!("net/http: invalid header field value for {name:?}");
            assert_eq!(error.to_string(), message, "{yaml}");
        }
        let good = user("{as: 'é ', as-uid: '', as-user-extra: {\"\\n\": [\"\\t\"]}}");
        assert!(check_impersonation(&good).is_ok());
    }
}
