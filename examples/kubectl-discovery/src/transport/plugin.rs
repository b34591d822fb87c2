//! Credential plugins (`exec` in a kubeconfig), reported in kubectl's words.

use std::fmt;
use std::io::{self, IsTerminal};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Unsendable;
use super::credentials::{Issued, bearer};
use super::tls::{self, content};
use crate::errors::go_words;
use crate::kubeconfig::{Exec, first_yaml};
use crate::kuberc::Plugins;
use crate::server::Config;

/// How long the failure of a plugin answers other requests, too, which began at the same time.
const FAILURE: Duration = Duration::from_secs(10);

/// A program that prints credentials, which are kept until they expire or the server refuses them.
pub(super) struct Plugin {
    exec: Exec,
    /// The server, if the plugin wants to know it.
    cluster: Option<ToldCluster>,
    allowed: Plugins,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Unknown,
    Given(Arc<Issued>, Option<Timestamp>),
    Failed(Unsendable, Instant),
}

/// The message for a plugin, with the fields in client-go's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'t> {
    kind: &'static str,
    api_version: &'t str,
    spec: Spec<'t>,
}

#[derive(Serialize)]
struct Spec<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'t ToldCluster>,
    interactive: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ToldCluster {
    server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_server_name: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    insecure_skip_tls_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_authority_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_url: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    disable_compression: bool,
    /// Null where there is none.
    config: Option<Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's contract")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The output of a plugin, as far as it matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Printed {
    kind: Option<String>,
    api_version: Option<String>,
    status: Option<Status>,
    /// Without effect, but of this type.
    #[serde(rename = "spec")]
    _spec: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Status {
    #[serde(deserialize_with = "expiration")]
    expiration_timestamp: Option<Timestamp>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// A time; one in the last hours that Go has is the last one here.
fn expiration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    if !has_form(&text) {
        return Err(D::Error::custom("no time in the form of RFC 3339"));
    }
    let parsed = text.parse().or_else(|error| {
        let pieces = Pieces::parse(&text)?;
        let is_late = pieces.date().year() == 9999 && pieces.offset().is_some();
        is_late.then_some(Timestamp::MAX).ok_or(error)
    });
    parsed.map(Some).map_err(Error::custom)
}

/// Whether Go takes it for a time in the form of RFC 3339, as far as its form goes: jiff takes more.
fn has_form(text: &str) -> bool {
    let Some((time, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let fits = |text: &str, form: &[u8]| {
        let fits = |(byte, form): (u8, &u8)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == *form,
        };
        text.len() == form.len() && text.bytes().zip(form).all(fits)
    };
    let zone = match rest.strip_prefix(['.', ',']) {
        Some(fraction) if fraction.starts_with(|first: char| first.is_ascii_digit()) => {
            fraction.trim_start_matches(|letter: char| letter.is_ascii_digit())
        }
        _ => rest,
    };
    let is_offset = |zone: &str| fits(zone, b"00:00") && zone < "24:60";
    // There is no leap second.
    fits(time, b"0000-00-00T00:00:00")
        && &time[17..] < "60"
        && (zone == "Z" || zone.strip_prefix(['+', '-']).is_some_and(is_offset))
}

impl Plugin {
    pub(super) fn new(exec: Exec, config: &Config, allowed: Plugins) -> Self {
        let cluster = exec.provide_cluster_info.then(|| cluster(config));
        Self {
            exec,
            cluster,
            allowed,
            state: Mutex::default(),
        }
    }

    /// The credentials that were printed last, or those that the plugin prints now.
    pub(super) async fn current(&self) -> Result<Arc<Issued>, Unsendable> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Given(issued, expires)
                if expires.is_none_or(|expires| Timestamp::now() <= expires) =>
            {
                Ok(Arc::clone(issued))
            }
            State::Failed(error, at) if at.elapsed() < FAILURE => Err(error.clone()),
            _ => self.run(&mut state),
        }
    }

    /// Credentials in the place of those that the server has refused.
    pub(super) async fn renew(&self, refused: &Arc<Issued>) -> Result<Arc<Issued>, Unsendable> {
        let mut state = self.state.lock().await;
        match &*state {
            // They were renewed meanwhile.
            State::Given(issued, _) if !Arc::ptr_eq(issued, refused) => Ok(Arc::clone(issued)),
            State::Failed(error, _) => Err(error.clone()),
            _ => self.run(&mut state),
        }
    }

    fn run(&self, state: &mut State) -> Result<Arc<Issued>, Unsendable> {
        let printed = (self.allowed.check(&self.exec.command).map_err(failed))
            .and_then(|()| run(&self.exec, self.cluster.as_ref()))
            .and_then(|status| Ok((issued(&status)?, status.expiration_timestamp)));
        match printed {
            Ok((issued, expires)) => {
                let issued = Arc::new(issued);
                *state = State::Given(Arc::clone(&issued), expires);
                Ok(issued)
            }
            Err(error) => {
                *state = State::Failed(error.clone(), Instant::now());
                Err(error)
            }
        }
    }
}

fn issued(status: &Status) -> Result<Issued, Unsendable> {
    let given = |field: &Option<String>| field.clone().filter(|field| !field.is_empty());
    let (token, certificate, key) = (
        given(&status.token),
        given(&status.client_certificate_data),
        given(&status.client_key_data),
    );
    let identity = match (&certificate, &key) {
        (Some(certificate), Some(key)) => {
            let identity = tls::identity(certificate.as_bytes(), key.as_bytes());
            Some(identity.map_err(|error| {
                failed(format_args!(
                    "failed parsing client key/certificate: {error}"
                ))
            })?)
        }
        (None, None) if token.is_none() => {
            return Err(failed("exec plugin didn't return a token or cert/key pair"));
        }
        (None, None) => None,
        _ => {
            return Err(failed(
                "exec plugin returned only certificate or key, not both",
            ));
        }
    };
    let token = token.map(|token| bearer(token.as_bytes()));
    Ok(Issued {
        authorization: token.transpose()?,
        identity,
    })
}

/// The server as plugins are told it.
fn cluster(config: &Config) -> ToldCluster {
    let cluster = &config.cluster;
    let data = &cluster.certificate_authority_data;
    let file = &cluster.certificate_authority;
    // A file that can't be read is an error elsewhere.
    let authority = content(data.as_ref(), file.as_ref(), "the certificate authority");
    ToldCluster {
        server: config.address.clone(),
        tls_server_name: cluster.tls_server_name.clone(),
        insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
        certificate_authority_data: authority.ok().flatten().map(|pem| STANDARD.encode(pem)),
        proxy_url: cluster.proxy_url.clone(),
        disable_compression: cluster.disable_compression,
        config: cluster.plugin_configuration().cloned(),
    }
}

fn run(exec: &Exec, cluster: Option<&ToldCluster>) -> Result<Status, Unsendable> {
    let (program, version) = (&exec.command, &exec.api_version);
    let is_terminal = io::stdin().is_terminal();
    let is_interactive = match exec.interactive_mode.as_str() {
        "Never" => false,
        "Always" if !is_terminal => {
            return Err(failed(
                "exec plugin cannot support interactive mode: standard input is not a terminal",
            ));
        }
        _ => is_terminal,
    };
    let told = Told {
        kind: "ExecCredential",
        api_version: version,
        spec: Spec {
            cluster,
            interactive: is_interactive,
        },
    };
    let told = serde_json::to_string(&told).map_err(failed)? + "\n";
    let variables = exec.env.iter();
    let run = Command::new(program)
        .args(&exec.args)
        .envs(variables.map(|variable| (&variable.name, &variable.value)))
        .env("KUBERNETES_EXEC_INFO", told)
        .stdin(if is_interactive {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .stderr(Stdio::inherit())
        .output();
    let output = run.map_err(|error| not_started(exec, program, &error))?;
    if !output.status.success() {
        let code = output.status.code().unwrap_or(-1);
        return Err(failed(format_args!(
            "exec: executable {program} failed with exit code {code}"
        )));
    }
    // The parser shows the place where it gave up, which may be a secret.
    let printed = (str::from_utf8(&output.stdout).ok())
        .and_then(|text| first_yaml(text).ok())
        .and_then(|printed| serde_json::from_value::<Printed>(printed).ok())
        .filter(|printed| {
            printed
                .kind
                .as_deref()
                .is_none_or(|kind| kind == "ExecCredential")
        })
        .ok_or_else(|| failed("decoding stdout: not an ExecCredential"))?;
    let returned = printed.api_version.unwrap_or_default();
    if returned != *version {
        return Err(failed(format_args!(
            "exec plugin is configured to use API version {version}, plugin returned version \
             {returned}"
        )));
    }
    (printed.status).ok_or_else(|| failed("exec plugin didn't return a status field"))
}

fn not_started(exec: &Exec, program: &str, error: &io::Error) -> Unsendable {
    if program.contains('/') || error.kind() != io::ErrorKind::NotFound {
        return failed(format_args!(
            "exec: fork/exec {program}: {}",
            go_words(error)
        ));
    }
    let hint = match exec.install_hint.trim() {
        "" => String::new(),
        hint => format!("\n\n{hint}"),
    };
    failed(format_args!("exec: executable {program} not found{hint}"))
}

/// The plugin gave no credentials.
fn failed(why: impl fmt::Display) -> Unsendable {
    Unsendable::new(format_args!("getting credentials: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_s_output_has_the_types_of_go() {
        let status = |status: &str| {
            let text = format!("{{status: {status}}}");
            let printed = first_yaml(&text).unwrap();
            let printed: Option<Printed> = serde_json::from_value(printed).ok();
            printed.and_then(|printed| printed.status)
        };
        let expires = |text: &str| {
            let found = status(&format!("{{expirationTimestamp: '{text}'}}"));
            found.map(|status| status.expiration_timestamp)
        };
        for (text, expected) in [
            ("2099-01-01T00:00:00Z", Some("2099-01-01T00:00:00Z")),
            (
                "2099-01-01T00:00:00.5+02:00",
                Some("2098-12-31T22:00:00.5Z"),
            ),
            (
                "9999-12-31T23:59:59Z",
                Some("9999-12-30T22:00:00.999999999Z"),
            ),
            ("9999-13-31T23:59:59Z", None),
            ("9999-12-31T23:59:59", None),
            ("2099-01-01T00:00:00,5Z", Some("2099-01-01T00:00:00.5Z")),
            ("2099-01-01 00:00:00Z", None),
            ("2099-01-01t00:00:00z", None),
            ("2099-01-01T00:00Z", None),
            ("2099-01-01T00:00:60Z", None),
            ("2099-01-01T00:00:00.Z", None),
            ("2099-01-01T00:00:00+25:00", None),
            ("2099-01-01T00:00:00+0200", None),
            ("tomorrow", None),
            ("", None),
        ] {
            let expected = expected.map(|expected| Some(expected.parse().unwrap()));
            assert_eq!(expires(text), expected, "{text}");
        }
        // A number is no text, and the last of two counts.
        assert!(status("{token: 5}").is_none());
        let twice = status("{token: a, token: b}").unwrap();
        assert_eq!(twice.token.as_deref(), Some("b"));
        assert_eq!(status("{token: null}").unwrap().token, None);
    }
}
