//! Credential plugins (`exec` in a kubeconfig), run once and reported in kubectl's words.
//!
//! kube runs one for the TLS client and again for the token, and shows what it has printed, which
//! may be a credential.

use std::fmt;
use std::io::{self, IsTerminal};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Unsendable;
use crate::errors::go_words;
use crate::kuberc::Plugins;

/// The output of a plugin, as far as it matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Printed {
    api_version: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    token: String,
    #[serde(default)]
    client_certificate_data: String,
    #[serde(default)]
    client_key_data: String,
}

/// Runs the plugin, if there is one and nothing that goes before it, and puts what it gives in its
/// place.
pub(super) fn resolve(user: &mut AuthInfo, plugins: &Plugins) -> Result<(), Unsendable> {
    let has_password = user.username.is_some() && user.password.is_some();
    let has_other = user.token.is_some() || user.token_file.is_some() || has_password;
    if has_other || user.auth_provider.is_some() {
        return Ok(());
    }
    let Some(exec) = user.exec.take() else {
        return Ok(());
    };
    let program = exec.command.as_deref().unwrap_or_default();
    plugins.check(program).map_err(failed)?;
    let status = run(&exec)?;
    let mut found = Map::new();
    let mut put = |name: &str, value: String| {
        if !value.is_empty() {
            found.insert(name.into(), value.into());
        }
    };
    put("token", status.token);
    let certificate = STANDARD.encode(status.client_certificate_data);
    put("client-certificate-data", certificate);
    put("client-key-data", STANDARD.encode(status.client_key_data));
    // The fields are of a type that keeps secrets out of logs; this is the way to make one.
    let found = serde_json::from_value::<AuthInfo>(Value::Object(found));
    let found = found.map_err(failed)?;
    user.token = found.token;
    user.client_certificate_data = found.client_certificate_data;
    user.client_key_data = found.client_key_data;
    Ok(())
}

fn run(exec: &ExecConfig) -> Result<Status, Unsendable> {
    let program = exec.command.as_deref().unwrap_or_default();
    let version = exec.api_version.as_deref().unwrap_or_default();
    let is_terminal = io::stdin().is_terminal();
    let is_interactive = match exec.interactive_mode {
        Some(ExecInteractiveMode::Never) => false,
        Some(ExecInteractiveMode::Always) if !is_terminal => {
            return Err(failed(
                "exec plugin cannot support interactive mode: standard input is not a terminal",
            ));
        }
        _ => is_terminal,
    };
    let info = json!({
        "kind": "ExecCredential",
        "apiVersion": version,
        "spec": spec(exec, is_interactive),
    });
    let pairs = exec.env.iter().flatten();
    let variables = pairs.filter_map(|pair| Some((pair.get("name")?, pair.get("value")?)));
    let run = Command::new(program)
        .args(exec.args.iter().flatten())
        .envs(variables)
        .env("KUBERNETES_EXEC_INFO", info.to_string())
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
    let printed = serde_saphyr::from_slice::<Printed>(&output.stdout)
        .map_err(|_| failed("decoding stdout: not an ExecCredential"))?;
    let returned = printed.api_version.unwrap_or_default();
    if returned != version {
        return Err(failed(format_args!(
            "exec plugin is configured to use API version {version}, plugin returned version \
             {returned}"
        )));
    }
    let status = printed.status;
    let status = status.ok_or_else(|| failed("exec plugin didn't return a status field"))?;
    let (certificate, key) = (&status.client_certificate_data, &status.client_key_data);
    match (
        status.token.is_empty(),
        certificate.is_empty(),
        key.is_empty(),
    ) {
        (true, true, true) => Err(failed("exec plugin didn't return a token or cert/key pair")),
        (_, true, false) | (_, false, true) => Err(failed(
            "exec plugin returned only certificate or key, not both",
        )),
        _ => Ok(status),
    }
}

fn spec(exec: &ExecConfig, is_interactive: bool) -> Value {
    let mut spec = json!({ "interactive": is_interactive });
    let cluster = exec.cluster.as_ref().filter(|_| exec.provide_cluster_info);
    if let Some(cluster) = cluster.and_then(|cluster| serde_json::to_value(cluster).ok()) {
        spec["cluster"] = cluster;
    }
    spec
}

fn not_started(exec: &ExecConfig, program: &str, error: &io::Error) -> Unsendable {
    if program.contains('/') || error.kind() != io::ErrorKind::NotFound {
        return failed(format_args!(
            "exec: fork/exec {program}: {}",
            go_words(error)
        ));
    }
    let hint = exec.install_hint.as_deref().unwrap_or_default();
    let hint = match hint.trim() {
        "" => String::new(),
        hint => format!("\n\n{hint}"),
    };
    failed(format_args!("exec: executable {program} not found{hint}"))
}

/// The plugin gave no credentials.
fn failed(why: impl fmt::Display) -> Unsendable {
    Unsendable::new(format_args!("getting credentials: {why}"))
}
