//! The user's preferences (`~/.kube/kuberc`), of which one matters here: which credential plugins may run. As kubectl's,
//! since 1.35 (KEP-3104).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::errors::{Fatal, go_words};
use crate::kubeconfig::{documents, home, without_dots};

const VERSION: &str = "kubectl.config.k8s.io/v1beta1";

/// Which credential plugins may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Plugins {
    #[default]
    All,
    None,
    /// Those whose program is one of these: a path, or a name that is looked for in `PATH`.
    Listed(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Preference {
    #[serde(default)]
    credential_plugin_policy: Option<String>,
    #[serde(default)]
    credential_plugin_allowlist: Option<Vec<Option<Allowed>>>,
}

#[derive(Default, Deserialize)]
struct Allowed {
    #[serde(default, alias = "command")]
    name: String,
}

/// Reads the file of the flag, of `KUBERC`, or of the user's home. Only the last may be missing.
pub(crate) fn plugins(flag: Option<&Path>) -> Result<Plugins, Fatal> {
    if flag.is_some_and(|file| file.as_os_str().is_empty()) {
        return Err(refused("kuberc file is not found"));
    }
    let is_disabled =
        env::var_os("KUBECTL_KUBERC").is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let named = env::var_os("KUBERC").filter(|value| !value.is_empty());
    let is_off = named.as_ref().is_some_and(|value| value == "off");
    match flag {
        Some(_) if is_disabled => {
            return Err(Fatal::new(
                "--kuberc can't be used with KUBECTL_KUBERC=false",
            ));
        }
        Some(_) if is_off => {
            return Err(refused(
                "kuberc error disabling kuberc via KUBERC=off and passing kuberc flag are mutually exclusive",
            ));
        }
        None if is_disabled || is_off => return Ok(Plugins::All),
        _ => {}
    }
    let named = flag.map(PathBuf::from).or(named.map(PathBuf::from));
    let file = match &named {
        Some(file) => file.clone(),
        None => home().join(".kube/kuberc"),
    };
    match fs::read_to_string(&file) {
        Ok(text) => read(&file, &text),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Plugins::All)
        }
        Err(error) => Err(refused(format_args!(
            "kuberc error kuberc: open {}: {}",
            file.display(),
            go_words(&error)
        ))),
    }
}

fn read(file: &Path, text: &str) -> Result<Plugins, Fatal> {
    if text.trim().is_empty() {
        return Ok(Plugins::All);
    }
    let is_ours =
        |document: &Value| document["apiVersion"] == VERSION && document["kind"] == "Preference";
    let documents = documents(text).filter_map(Result::ok);
    let document = documents.into_iter().find(is_ours);
    let preference =
        document.and_then(|document| serde_json::from_value::<Preference>(document).ok());
    let Some(preference) = preference else {
        tracing::warn!(file = %file.display(), "no preferences in it");
        return Ok(Plugins::All);
    };
    let listed = preference.credential_plugin_allowlist;
    match (
        preference
            .credential_plugin_policy
            .as_deref()
            .unwrap_or_default(),
        listed,
    ) {
        ("" | "AllowAll", None) => Ok(Plugins::All),
        ("DenyAll", None) => Ok(Plugins::None),
        (policy @ ("" | "AllowAll" | "DenyAll"), Some(_)) => Err(refused(format_args!(
            "misconfigured credential plugin allowlist: plugin policy is {policy:?} but allowlist is non-nil"
        ))),
        ("Allowlist", None) => Err(refused(
            "credential plugin policy set to \"Allowlist\", but allowlist is unspecified",
        )),
        ("Allowlist", Some(listed)) => {
            allowlist(listed.into_iter().map(Option::unwrap_or_default).collect())
        }
        (policy, _) => Err(refused(format_args!("unknown plugin policy: {policy:?}"))),
    }
}

fn allowlist(listed: Vec<Allowed>) -> Result<Plugins, Fatal> {
    if listed.is_empty() {
        return Err(refused(
            "credential plugin policy set to \"Allowlist\", but allowlist is empty; use \"DenyAll\" policy instead",
        ));
    }
    for (at, Allowed { name }) in listed.iter().enumerate() {
        if name.is_empty() {
            return Err(refused(format_args!(
                "misconfigured credential plugin allowlist: empty allowlist entry #{}",
                at + 1
            )));
        }
        let normal: PathBuf = Path::new(name).components().collect();
        let normal = normal.strip_prefix(".").unwrap_or(&normal);
        if normal.as_os_str() != name.as_str() {
            return Err(refused(format_args!(
                "non-normalized file path: {name:?} vs {:?}",
                normal.display().to_string()
            )));
        }
    }
    Ok(Plugins::Listed(
        listed.into_iter().map(|allowed| allowed.name).collect(),
    ))
}

fn refused(why: impl std::fmt::Display) -> Fatal {
    Fatal::new(format_args!(
        "error occurred while applying preferences {why}"
    ))
}

impl Plugins {
    /// Whether a plugin's program may run, and why not.
    pub(crate) fn check(&self, program: &str) -> Result<(), String> {
        match self {
            Self::All => Ok(()),
            Self::None => Err(format!(
                "plugin {program:?} not allowed: policy set to \"DenyAll\""
            )),
            Self::Listed(listed) => {
                let path = found(program);
                let is_allowed = |name: &String| found(name) == path;
                if path.is_some() && listed.iter().any(is_allowed) {
                    return Ok(());
                }
                let path = path.unwrap_or_else(|| program.into());
                Err(format!(
                    "plugin path {:?} is not permitted by the credential plugin allowlist",
                    path.display().to_string()
                ))
            }
        }
    }
}

/// The program of a name: itself if it is a path, or else the first of its name in `PATH`.
fn found(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(without_dots(Path::new(name)));
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(file);
    metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_kubectls() {
        let head = format!("apiVersion: {VERSION}\nkind: Preference\n");
        let of = |text: &str| {
            read(Path::new("rc"), &format!("{head}{text}")).map_err(|error| error.to_string())
        };
        assert_eq!(of(""), Ok(Plugins::All));
        assert_eq!(of("credentialPluginPolicy: AllowAll"), Ok(Plugins::All));
        assert_eq!(of("credentialPluginPolicy: DenyAll"), Ok(Plugins::None));
        let list = "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: ";
        assert_eq!(
            of(&format!("{list}[{{name: a}}, {{command: /b/c}}]")),
            Ok(Plugins::Listed(vec!["a".into(), "/b/c".into()]))
        );
        for (text, message) in [
            (
                "credentialPluginPolicy: Odd".to_owned(),
                "unknown plugin policy: \"Odd\"",
            ),
            (
                "credentialPluginPolicy: Allowlist".into(),
                "allowlist is unspecified",
            ),
            (format!("{list}[]"), "allowlist is empty"),
            (format!("{list}[{{}}]"), "empty allowlist entry #1"),
            (format!("{list}[null]"), "empty allowlist entry #1"),
            (
                format!("{list}[{{name: ./a}}]"),
                "non-normalized file path: \"./a\" vs \"a\"",
            ),
            (
                "credentialPluginAllowlist: [{name: a}]".into(),
                "policy is \"\" but allowlist is non-nil",
            ),
        ] {
            let error = of(&text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        // These are no preferences to kubectl either.
        for text in ["}{", "kind: Foo", "credentialPluginPolicy: DenyAll"] {
            assert_eq!(read(Path::new("rc"), text).unwrap(), Plugins::All);
        }
    }

    #[test]
    fn a_name_stands_for_the_first_program_of_that_name() {
        let sh = found("sh").unwrap();
        let listed = |name: &str| Plugins::Listed(vec![name.to_owned()]);
        assert!(listed("sh").check("sh").is_ok());
        assert!(listed("sh").check(sh.to_str().unwrap()).is_ok());
        assert!(listed(sh.to_str().unwrap()).check("sh").is_ok());
        assert!(listed("sh").check("/elsewhere/sh").is_err());
        let dir = sh.parent().unwrap().display();
        assert!(listed("sh").check(&format!("{dir}/x/.././sh")).is_ok());
        assert!(listed("no-such-program").check("no-such-program").is_err());
        assert!(Plugins::None.check("sh").is_err() && Plugins::All.check("sh").is_ok());
    }
}
