//! Each way to authenticate, over TLS, as a kubeconfig tells it.

use std::fs;
use std::path::Path;

use embedded_apiserver::{Builder, Canned, EmbeddedServer, Fault};
use http::{StatusCode, header};

use crate::program::Home;
use crate::run::Run;

const TOKEN: &str = "let-me-in";

/// A server, and a kubeconfig for it whose user is of one's choice.
struct Scene {
    home: Home,
    server: EmbeddedServer,
}

impl Scene {
    fn new(builder: Builder) -> Self {
        let server = builder.tls(true).start_in_thread().unwrap();
        let home = Home::new();
        fs::write(home.path().join("ca.pem"), server.ca_pem().unwrap()).unwrap();
        Self { home, server }
    }

    fn with_token() -> Self {
        Self::new(EmbeddedServer::builder().token(TOKEN))
    }

    /// Runs with these fields for the cluster and the user.
    fn run_with(&self, cluster: &str, user: &str, arguments: &[&str]) -> Run {
        let url = self.server.url();
        let kubeconfig = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: {url}, {cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        );
        let file = self.home.path().join("config");
        fs::write(&file, kubeconfig).unwrap();
        let run = self.run(arguments);
        assert!(!run.stderr.contains(TOKEN), "{run:?}");
        run
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let file = self.home.path().join("config");
        let config = ["--kubeconfig", file.to_str().unwrap()];
        self.home.run(&[&config[..], arguments].concat())
    }

    fn as_user(&self, user: &str) -> Run {
        self.run_with("certificate-authority: ca.pem", user, &["api-versions"])
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.home.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(name)).unwrap_or_default()
    }

    /// A plugin that leaves a trace of each run, and then does this.
    fn plugin(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt;

        let home = self.home.path().display();
        self.write(
            "plugin",
            &format!("#!/bin/sh\ncd '{home}'\necho run >>traces\n{script}\n"),
        );
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.home.path().join("plugin"), executable).unwrap();
    }

    /// The number of runs of the plugin since the last call.
    fn plugin_runs(&self) -> usize {
        let runs = self.read("traces").lines().count();
        self.write("traces", "");
        runs
    }
}

/// The `exec` of a user.
fn exec(more: &str) -> String {
    let version = "apiVersion: client.authentication.k8s.io/v1";
    format!("exec: {{{version}, command: ./plugin, interactiveMode: Never, {more}}}")
}

/// Prints a credential with this status.
fn printing(status: &str) -> String {
    let version = "client.authentication.k8s.io/v1";
    format!(
        "cat <<'END'\n{{\"apiVersion\": \"{version}\", \"kind\": \"ExecCredential\", \"status\": {{{status}}}}}\nEND"
    )
}

fn line(pem: &str) -> String {
    pem.replace('\n', "\\n")
}

#[test]
fn a_bearer_token() {
    let scene = Scene::with_token();
    scene.as_user("token: let-me-in").ok();
    let run = scene.as_user("token: another");
    assert!(
        run.failed()
            .ends_with("asked for the client to provide credentials"),
        "{run:?}"
    );
    let run = scene.as_user("as: me");
    assert!(run.stderr.contains("forbidden"), "{run:?}");
}

#[test]
fn a_client_certificate() {
    let scene = Scene::new(EmbeddedServer::builder().client_certificates(true));
    let (certificate, key) = scene.server.identity().unwrap().client("somebody").unwrap();
    scene.write("user.pem", &certificate);
    scene.write("key.pem", &key);
    scene
        .as_user("client-certificate: user.pem, client-key: key.pem")
        .ok();
    let log = scene.server.log();
    assert!(
        !log.is_empty()
            && log
                .iter()
                .all(|entry| entry.certificate && !entry.authorization)
    );
    let run = scene.as_user("as: me");
    assert!(run.stderr.contains("forbidden"), "{run:?}");
    // Another server that this one redirects to does not get to see it.
    let identity = scene.server.identity().unwrap().clone();
    let other = EmbeddedServer::builder()
        .identity(identity)
        .client_certificates(true);
    let other = other.start_in_thread().unwrap();
    let to = format!("{}/version", other.url()).try_into().unwrap();
    let answer = Canned::new("")
        .code(StatusCode::FOUND)
        .header(header::LOCATION, to);
    scene
        .server
        .control()
        .set_fault("/version", Fault::Answer(answer));
    let user = "client-certificate: user.pem, client-key: key.pem";
    scene.run_with(
        "certificate-authority: ca.pem",
        user,
        &["get", "--raw=/version"],
    );
    assert_eq!(other.log().len(), 1);
    assert!(!other.log()[0].certificate);
    let of_another = embedded_apiserver::Identity::generate().unwrap();
    let (certificate, key) = of_another.client("somebody").unwrap();
    scene.write("user.pem", &certificate);
    scene.write("key.pem", &key);
    let run = scene.as_user("client-certificate: user.pem, client-key: key.pem");
    assert_eq!(run.code, Some(1), "{run:?}");
}

/// A certificate goes before a plugin, as a token does.
#[test]
fn a_plugin_is_for_those_who_have_nothing_else() {
    let scene = Scene::new(
        EmbeddedServer::builder()
            .token(TOKEN)
            .client_certificates(true),
    );
    let (certificate, key) = scene.server.identity().unwrap().client("somebody").unwrap();
    scene.write("user.pem", &certificate);
    scene.write("key.pem", &key);
    scene.write("token", TOKEN);
    scene.plugin(&printing("\"token\": \"let-me-in\""));
    let plugin = exec("");
    for user in [
        "client-certificate: user.pem, client-key: key.pem",
        "token: let-me-in",
        "tokenFile: token",
    ] {
        scene.as_user(&format!("{user}, {plugin}")).ok();
        assert_eq!(scene.plugin_runs(), 0, "{user}");
    }
    scene.as_user(&plugin).ok();
    assert_eq!(scene.plugin_runs(), 1);
}

#[test]
fn a_plugin_gives_a_certificate() {
    let scene = Scene::new(EmbeddedServer::builder().client_certificates(true));
    let (certificate, key) = scene.server.identity().unwrap().client("somebody").unwrap();
    let status = format!(
        "\"clientCertificateData\": \"{}\", \"clientKeyData\": \"{}\"",
        line(&certificate),
        line(&key)
    );
    scene.plugin(&printing(&status));
    scene.as_user(&exec("")).ok();
    assert_eq!(scene.plugin_runs(), 1);
    assert!(scene.server.log().iter().all(|entry| entry.certificate));
    scene.plugin(&printing(
        "\"clientCertificateData\": \"junk\", \"clientKeyData\": \"junk\"",
    ));
    let run = scene.as_user(&exec(""));
    assert!(
        run.failed()
            .contains("failed parsing client key/certificate"),
        "{run:?}"
    );
}

#[test]
fn a_plugin_is_told_the_server_if_it_wants_to_know() {
    let scene = Scene::with_token();
    let credential = printing("\"token\": \"let-me-in\"");
    scene.plugin(&format!(
        "echo \"$KUBERNETES_EXEC_INFO\" >info\n{credential}"
    ));
    let told = || serde_json::from_str::<serde_json::Value>(&scene.read("info")).unwrap();
    let cluster = "certificate-authority: ca.pem, tls-server-name: localhost, extensions: [{name: \
                   client.authentication.k8s.io/exec, extension: {audience: a}}]";
    scene
        .run_with(
            cluster,
            &exec("provideClusterInfo: true"),
            &["api-versions"],
        )
        .ok();
    let told_all = told();
    assert_eq!(told_all["kind"], "ExecCredential");
    assert_eq!(told_all["spec"]["interactive"], false);
    let cluster_told = &told_all["spec"]["cluster"];
    // No slash is added to it.
    assert_eq!(cluster_told["server"], scene.server.url());
    assert_eq!(cluster_told["tls-server-name"], "localhost");
    assert_eq!(
        cluster_told["config"],
        serde_json::json!({ "audience": "a" })
    );
    assert!(cluster_told["certificate-authority-data"].is_string());
    assert!(cluster_told.get("proxy-url").is_none());
    scene.run_with(cluster, &exec(""), &["api-versions"]).ok();
    assert!(told()["spec"].get("cluster").is_none());
}

#[test]
fn a_plugin_runs_again_when_its_credential_has_expired_or_is_refused() {
    let scene = Scene::with_token();
    let old = printing("\"token\": \"old\"");
    let new = printing("\"token\": \"let-me-in\"");
    // The second run gives the right one.
    scene.plugin(&format!(
        "if [ $(grep -c . traces) = 1 ]; then\n{old}\nelse\n{new}\nfi"
    ));
    scene.as_user(&exec("")).ok();
    assert_eq!(scene.plugin_runs(), 2);
    // The server is asked once where there is no better credential.
    scene.plugin(&old);
    scene.server.clear_log();
    let run = scene.run_with(
        "certificate-authority: ca.pem",
        &exec(""),
        &["get", "--raw=/version"],
    );
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!((scene.plugin_runs(), scene.server.log().len()), (2, 1));
    // One that has expired is used for nothing that comes later.
    let expired = "\"token\": \"let-me-in\", \"expirationTimestamp\": \"2020-01-01T00:00:00Z\"";
    scene.plugin(&printing(expired));
    scene.as_user(&exec("")).ok();
    assert_eq!(scene.plugin_runs(), 2);
    let later = expired.replace("2020", "2999");
    scene.plugin(&printing(&later));
    scene.as_user(&exec("")).ok();
    assert_eq!(scene.plugin_runs(), 1);
}

#[test]
fn a_plugin_of_the_older_protocol_needs_no_mode() {
    let scene = Scene::with_token();
    let beta = |text: &str| text.replace("k8s.io/v1", "k8s.io/v1beta1");
    scene.plugin(&beta(&printing("\"token\": \"let-me-in\"")));
    let user = beta(&exec("")).replace("interactiveMode: Never, ", "");
    scene.as_user(&user).ok();
    let always = exec("").replace("Never", "Always");
    let run = scene.as_user(&always);
    assert!(
        run.failed().ends_with("standard input is not a terminal"),
        "{run:?}"
    );
}

#[test]
fn impersonation() {
    let scene = Scene::with_token();
    // A null is an empty text, as for kubectl.
    let user = "token: let-me-in, as: somebody, as-uid: '7', as-groups: [one, null, two], \
                as-user-extra: {scope: [a, b], Odd/é: [c], none: null}";
    scene.as_user(user).ok();
    let log = scene.server.log();
    let entry = &log[0];
    assert!(entry.authorization);
    assert_eq!(entry.header("impersonate-user"), Some("somebody"));
    assert_eq!(entry.header("impersonate-uid"), Some("7"));
    let all = |name: &str| -> Vec<_> {
        let values = entry.headers.get_all(name).into_iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(all("impersonate-group"), ["one", "", "two"]);
    assert_eq!(all("impersonate-extra-scope"), ["a", "b"]);
    assert_eq!(all("impersonate-extra-odd%2f%c3%a9"), ["c"]);
    assert!(!entry.headers.contains_key("impersonate-extra-none"));
}

#[test]
fn the_servers_that_are_trusted() {
    let scene = Scene::with_token();
    let identity = scene.server.identity().unwrap();
    // The server's own certificate is no authority.
    scene.write("leaf.pem", &identity.certificate_pem());
    let other = embedded_apiserver::Identity::generate().unwrap();
    scene.write("other.pem", other.ca_pem());
    scene.write(
        "both.pem",
        &format!("# text\n{}{}", other.ca_pem(), identity.ca_pem()),
    );
    for (cluster, works) in [
        ("certificate-authority: ca.pem", true),
        ("certificate-authority: both.pem", true),
        ("certificate-authority: leaf.pem", true),
        (
            "certificate-authority: leaf.pem, tls-server-name: other.test",
            false,
        ),
        ("certificate-authority: other.pem", false),
        (
            "certificate-authority: ca.pem, tls-server-name: localhost",
            true,
        ),
        (
            "certificate-authority: ca.pem, tls-server-name: other.test",
            false,
        ),
        ("insecure-skip-tls-verify: true", true),
        (
            "insecure-skip-tls-verify: true, tls-server-name: other.test",
            true,
        ),
        ("", false),
    ] {
        let run = scene.run_with(cluster, "token: let-me-in", &["api-versions"]);
        assert_eq!(run.code == Some(0), works, "{cluster}: {run:?}");
    }
    scene.write("junk.pem", "junk");
    let junk = "certificate-authority: junk.pem";
    let run = scene.run_with(junk, "token: let-me-in", &["api-versions"]);
    assert!(
        run.failed().contains("unable to load root certificates"),
        "{run:?}"
    );
}

/// The server takes a new token while `watch` runs, and the file has it.
#[test]
fn a_token_file_that_rotates_during_a_long_command() {
    let scene = Scene::with_token();
    scene.write("token", TOKEN);
    scene.as_user("tokenFile: token").ok();
    let file = scene.home.path().join("config");
    let arguments = ["--kubeconfig", file.to_str().unwrap()];
    let running = crate::watch::Running::start_with(
        &scene.home,
        &arguments,
        &["--interval=100ms", "--no-watch"],
    );
    replace(&scene.home.path().join("token"), "another\n");
    let control = scene.server.control();
    control.set_token("another");
    control.set_group(crate::watch::rockets(&["get"]));
    assert_eq!(running.line(), "+ acme.test/v1 rockets Rocket");
}

/// As a kubelet does.
fn replace(file: &Path, content: &str) {
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, file).unwrap();
}
