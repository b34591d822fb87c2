//! The credentials of a user, for each request.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use discovery_core::BoxError;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::Deserialize;

use super::Unsendable;
use super::plugin::Plugin;
use super::tls::{self, Identity};
use crate::errors::go_words;
use crate::kubeconfig::{AuthProvider, Impersonated, User};
use crate::kuberc::Plugins;
use crate::server::Config;

/// The proof for the server of who the user is.
#[derive(Default)]
pub(super) struct Issued {
    pub(super) authorization: Option<HeaderValue>,
    pub(super) identity: Option<Identity>,
}

/// The claims of a token that matter here.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    exp: i64,
}

/// Where the credentials come from.
pub(super) enum Credentials {
    Fixed(Arc<Issued>),
    /// A file in which the token changes from time to time, and the last one that could be read.
    File(String, Mutex<Arc<Issued>>),
    Plugin(Box<Plugin>),
}

impl Credentials {
    /// Reads certificates and tokens, but runs no plugin.
    ///
    /// # Errors
    ///
    /// An [`Unsendable`] for a token that is not a field value, and another error if a file can't be read, or if the
    /// credentials contradict each other.
    pub(super) fn new(config: &Config, plugins: &Plugins) -> Result<Self, BoxError> {
        let user = &config.user;
        if user.exec.is_some() && user.auth_provider.is_some() {
            return Err("execProvider and authProvider cannot be used in combination".into());
        }
        let authorization = authorization(user)?;
        let identity = tls::identity_of(user)?;
        // A plugin is for those who have nothing else.
        let has_other = user.token.is_some()
            || user.token_file.is_some()
            || user.username.is_some()
            || identity.is_some();
        if let (Some(exec), false) = (&user.exec, has_other) {
            let plugin = Plugin::new(exec.clone(), config, plugins.clone());
            return Ok(Self::Plugin(Box::new(plugin)));
        }
        let issued = Arc::new(Issued {
            authorization,
            identity,
        });
        Ok(match &user.token_file {
            Some(file) => Self::File(file.clone(), Mutex::new(issued)),
            None => Self::Fixed(issued),
        })
    }

    /// The credentials of a request that is to be sent now.
    pub(super) async fn current(&self) -> Result<Arc<Issued>, Unsendable> {
        match self {
            Self::Fixed(issued) => Ok(Arc::clone(issued)),
            Self::File(file, last) => read_again(file, last),
            Self::Plugin(plugin) => plugin.current().await,
        }
    }

    /// Other credentials than these, which the server has refused; `None` if there are none.
    pub(super) async fn other_than(&self, refused: &Arc<Issued>) -> Option<Arc<Issued>> {
        let issued = match self {
            Self::Fixed(_) => return None,
            Self::File(file, last) => read_again(file, last),
            Self::Plugin(plugin) => plugin.renew(refused).await,
        };
        match issued {
            Ok(issued) => Some(issued).filter(|issued| !issued.is_same(refused)),
            Err(error) => {
                tracing::warn!(%error, "refreshing credentials");
                None
            }
        }
    }
}

impl Issued {
    /// Whether it says the same.
    fn is_same(&self, other: &Self) -> bool {
        let certificates = |issued: &Self| issued.identity.as_ref().map(|found| found.cert.clone());
        self.authorization == other.authorization && certificates(self) == certificates(other)
    }
}

/// The token that is in the file now, if there is one; otherwise it is the last one. client-go looks once a minute.
fn read_again(file: &str, last: &Mutex<Arc<Issued>>) -> Result<Arc<Issued>, Unsendable> {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let read = fs::read(file).unwrap_or_default();
    if !read.trim_ascii().is_empty() {
        let authorization = Some(bearer(token_of_file(&read))?);
        if last.authorization != authorization {
            let identity = last.identity.clone();
            *last = Arc::new(Issued {
                authorization,
                identity,
            });
        }
    }
    Ok(Arc::clone(&last))
}

/// The `Authorization` field of a user, if there is anything to send without a plugin.
fn authorization(user: &User) -> Result<Option<HeaderValue>, BoxError> {
    let provider = user.auth_provider.as_ref();
    provider.map(check_provider).transpose()?;
    let token = user.token.as_deref().filter(|token| !token.is_empty());
    let file = user.token_file.as_deref().filter(|file| !file.is_empty());
    let name = user.username.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = name {
        if token.is_some() || file.is_some() {
            return Err("username/password or bearer token may be set, but not both".into());
        }
        // Without a password, the name is sent with an empty one.
        return Ok(Some(basic(
            name,
            user.password.as_deref().unwrap_or_default(),
        )?));
    }
    if let Some(file) = file {
        match (fs::read(file), token) {
            // The file counts more than what stands beside it, if it can be read.
            (Ok(read), _) if !read.trim_ascii().is_empty() => {
                return Ok(Some(bearer(token_of_file(&read))?));
            }
            (_, Some(_)) => {}
            (Ok(read), None) if read.is_empty() => return Ok(None),
            // client-go sends that, and so fails.
            (Ok(read), None) => return Ok(Some(bearer(&read)?)),
            (Err(error), None) => return Err(format!("open {file}: {}", go_words(&error)).into()),
        }
    }
    let token = match token {
        Some(token) => Some(token),
        None => provider.map(id_token).transpose()?,
    };
    let token = token.map(|token| bearer(token.as_bytes()));
    Ok(token.transpose()?)
}

/// The fields that name the user whom the server is to take this one for.
///
/// # Errors
///
/// When one of them is not a field value.
pub(super) fn impersonation(user: &Impersonated) -> Result<HeaderMap, Unsendable> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        let value = field_value(name, value.as_bytes())?;
        let name = HeaderName::try_from(name).map_err(|_| {
            Unsendable::new(format_args!("net/http: invalid header field name {name:?}"))
        })?;
        headers.append(name, value);
        Ok(())
    };
    for (name, value) in [
        ("Impersonate-User", &user.name),
        ("Impersonate-Uid", &user.uid),
    ] {
        if let Some(value) = value {
            add(name, value)?;
        }
    }
    for group in &user.groups {
        add("Impersonate-Group", group)?;
    }
    for (key, values) in &user.extra {
        let name = format!("Impersonate-Extra-{}", canonical(key));
        for value in values {
            add(&name, value)?;
        }
    }
    Ok(headers)
}

pub(super) fn bearer(token: &[u8]) -> Result<HeaderValue, Unsendable> {
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

/// The token in a file, without the white space around it.
fn token_of_file(file: &[u8]) -> &[u8] {
    match std::str::from_utf8(file) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => file.trim_ascii(),
    }
}

/// Whether a provider is one that is left, and has what it needs.
fn check_provider(provider: &AuthProvider) -> Result<(), BoxError> {
    match provider.name.as_str() {
        "oidc" => ["idp-issuer-url", "client-id"]
            .into_iter()
            .find(|needed| provider.config.get(*needed).is_none_or(String::is_empty))
            .map_or_else(
                || check_issuer(provider),
                |needed| Err(format!("Must provide {needed}").into()),
            ),
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

/// Whether the authority of a provider's issuer can be read. Nobody is asked for tokens here, but kubectl wants it at once.
fn check_issuer(provider: &AuthProvider) -> Result<(), BoxError> {
    let config = |name: &str| provider.config.get(name).filter(|value| !value.is_empty());
    let file = config("idp-certificate-authority");
    // The file counts more here.
    let data = config("idp-certificate-authority-data").filter(|_| file.is_none());
    tls::content(data, file, "idp-certificate-authority").map(|_| ())
}

/// The token of a provider, which is not refreshed here.
fn id_token(provider: &AuthProvider) -> Result<&str, Unsendable> {
    let config = |name: &str| {
        let value = provider.config.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    };
    match config("id-token") {
        Some(token) if !is_expired(token)? => Ok(token),
        _ if config("refresh-token").is_some() => Err(Unsendable::new(
            "the id-token has expired; let kubectl refresh it, with a command that asks the server",
        )),
        _ => Err(Unsendable::new(
            "No valid id-token, and cannot refresh without refresh-token",
        )),
    }
}

/// Whether the time of a token (RFC 7519 §4.1.4) is over.
fn is_expired(token: &str) -> Result<bool, Unsendable> {
    let malformed = || Unsendable::new("ID Token is not a valid JWT");
    let [_, claims, _] = token.split('.').collect::<Vec<_>>()[..] else {
        return Err(malformed());
    };
    let claims = URL_SAFE_NO_PAD
        .decode(claims.trim_end_matches('='))
        .map_err(|_| malformed())?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| malformed())?;
    Ok(Timestamp::now().as_second() > claims.exp)
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

    /// A token that is good until the year 2286.
    const ID: &str = "eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.x";

    /// A user; `OIDC` in it is a provider with all that it needs but a token.
    fn user(yaml: &str) -> User {
        let oidc = "name: oidc, config: {idp-issuer-url: https://h, client-id: c, id-token";
        let yaml = yaml.replace("OIDC", oidc).replace("ID", ID);
        serde_saphyr::from_str(&yaml).unwrap()
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
            let user = User {
                token_file: path.to_str().map(Into::into),
                ..User::default()
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
            ("{username: a, password: b}", "Basic YTpi"),
            ("{username: \"a\\nb\", password: \"\\0\"}", "Basic YQpiOgA="),
            ("{username: a}", "Basic YTo="),
            ("{token: \"\", username: a, password: ''}", "Basic YTo="),
            (
                "{auth-provider: {OIDC: ID}}}",
                "Bearer eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.x",
            ),
            ("{token: mine, auth-provider: {OIDC: tok}}}", "Bearer mine"),
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
    fn an_id_token_is_looked_at_before_it_is_sent() {
        // `{"exp":1}`
        let expired = "x.eyJleHAiOjF9.x";
        for (yaml, expected) in [
            (
                "{auth-provider: {name: oidc}}",
                "Must provide idp-issuer-url",
            ),
            (
                "{token: mine, auth-provider: {name: oidc, config: {idp-issuer-url: h}}}",
                "Must provide client-id",
            ),
            (
                "{auth-provider: {OIDC: tok}}}",
                "ID Token is not a valid JWT",
            ),
            (
                &format!("{{auth-provider: {{OIDC: {expired}}}}}}}"),
                "No valid id-token, and cannot refresh without refresh-token",
            ),
            (
                &format!("{{auth-provider: {{OIDC: {expired}, refresh-token: r}}}}}}"),
                "the id-token has expired; let kubectl refresh it, with a command that asks the server",
            ),
        ] {
            let error = authorization(&user(yaml)).unwrap_err();
            assert_eq!(error.to_string(), expected, "{yaml}");
        }
    }

    #[test]
    fn a_name_and_a_token_contradict_each_other() {
        for yaml in ["{username: a, token: tok}", "{username: a, tokenFile: f}"] {
            let error = authorization(&user(yaml)).unwrap_err().to_string();
            assert!(error.ends_with("may be set, but not both"), "{yaml}");
        }
    }

    #[test]
    fn no_control_character_becomes_a_header() {
        let authorization_of = |yaml: &str| authorization(&user(yaml)).unwrap_err().to_string();
        for yaml in [
            "{token: \"abc\\n\"}",
            "{token: \"a\\0bc\"}",
            "{token: \"a\\x7fbc\"}",
            "{auth-provider: {OIDC: \"ID\\r\"}}}",
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
            let error = impersonation(&user(yaml).impersonated).unwrap_err();
            let message = format!("net/http: invalid header field value for {name:?}");
            assert_eq!(error.to_string(), message, "{yaml}");
        }
        let good = user("{as: 'é ', as-uid: '', as-user-extra: {\"\\n\": [\"\\t\"]}}");
        assert_eq!(impersonation(&good.impersonated).unwrap().len(), 3);
    }
}
