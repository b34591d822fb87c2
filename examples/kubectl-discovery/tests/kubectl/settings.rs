//! The same requests for the same configuration, and the same words for one that can't be used.

use std::ffi::OsString;
use std::time::Duration;

use embedded_apiserver::{Canned, EmbeddedServer, Fault};
use http::{HeaderValue, StatusCode, header};

use super::rig::{BOTH, Rig, Run, Wire};

const COMMANDS: [&[&str]; 4] = [
    &["api-resources"],
    &["api-versions"],
    &["version"],
    &["get", "--raw", "/version"],
];

fn rig(wire: Wire) -> Option<Rig> {
    Rig::new(wire, EmbeddedServer::builder())
}

/// Both programs' runs of each command, kubectl's first.
fn runs(
    rig: &Rig,
    kubeconfig: &str,
    extra: &[&str],
    variables: &[(&str, OsString)],
) -> Vec<(&'static [&'static str], [Run; 2])> {
    let file = rig.path("other kubeconfig");
    std::fs::write(&file, kubeconfig).expect("a file");
    let each = COMMANDS.into_iter().map(|command| {
        rig.clean();
        let arguments = [command, extra].concat();
        let run = |program| rig.run_with(program, &rig.root(program), &file, variables, &arguments);
        (command, BOTH.map(run))
    });
    each.collect()
}

/// The user of a kubeconfig with a token, or with none, replaced.
fn with_user(kubeconfig: &str, user: &str) -> String {
    let start = kubeconfig.find("  user:").expect("a user");
    let end = kubeconfig.find("contexts:").expect("contexts");
    format!(
        "{}  user: {user}\n{}",
        &kubeconfig[..start],
        &kubeconfig[end..]
    )
}

fn with_cluster(kubeconfig: &str, line: &str) -> String {
    let authority = |given: &&str| !given.contains("certificate-authority");
    let lines: Vec<_> = kubeconfig.lines().filter(authority).collect();
    lines
        .join("\n")
        .replace("  cluster:\n", &format!("  cluster:\n    {line}\n"))
        + "\n"
}

/// The same last line, and the same outcome.
#[track_caller]
fn assert_same(what: &str, [theirs, ours]: &[Run; 2]) {
    assert_eq!(ours.code, theirs.code, "{what}: {ours:?} {theirs:?}");
    assert_eq!(ours.last_line(), theirs.last_line(), "{what}");
    assert_eq!(
        ours.stdout.is_empty(),
        theirs.stdout.is_empty(),
        "{what}: {ours:?} {theirs:?}"
    );
}

#[test]
fn credentials_are_sent_over_tls_only() {
    let Some(rig) = rig(Wire::Plain) else {
        return;
    };
    let plain = rig.server.kubeconfig();
    let with_tls = EmbeddedServer::builder()
        .tls(true)
        .start_in_thread()
        .expect("a server");
    let schemeless = with_tls
        .kubeconfig()
        .replace(&with_tls.url(), &rig.server.addr().to_string());
    for (what, kubeconfig) in [
        (
            "a token",
            with_user(&plain, "{token: secret, as: somebody}"),
        ),
        (
            "a password",
            with_user(&plain, "{username: me, password: secret, as: somebody}"),
        ),
        (
            "a plugin",
            with_user(
                &plain,
                "{exec: {apiVersion: client.authentication.k8s.io/v1, command: /nope, interactiveMode: Never}, as: somebody}",
            ),
        ),
        (
            "no scheme",
            with_user(&schemeless, "{token: secret, as: somebody}"),
        ),
    ] {
        for (command, [theirs, ours]) in runs(&rig, &kubeconfig, &[], &[]) {
            assert_eq!(theirs.code, Some(0), "{what}: {theirs:?}");
            assert_eq!(ours.code, Some(0), "{what} {command:?}: {ours:?}");
        }
        for entry in rig.taken() {
            assert!(!entry.authorization, "{what}: {entry:?}");
            assert_eq!(entry.header("impersonate-user"), Some("somebody"), "{what}");
        }
    }
}

#[test]
fn unusable_files_and_proxies_fail_as_in_kubectl() {
    let Some(rig) = rig(Wire::Tls) else {
        return;
    };
    let good = rig.server.kubeconfig();
    let plain = good.replace("https://", "http://");
    let files = "{client-certificate: /nope, client-key: /nope}";
    for (what, kubeconfig) in [
        (
            "no authority",
            with_cluster(&good, "certificate-authority: /nope"),
        ),
        (
            "no authority, http",
            with_cluster(&plain, "certificate-authority: /nope"),
        ),
        (
            "a directory",
            with_cluster(&good, "certificate-authority: relative/nope"),
        ),
        (
            "no PEM",
            with_cluster(&good, "certificate-authority-data: aGVsbG8="),
        ),
        ("no certificate", with_user(&good, files)),
        ("no certificate, http", with_user(&plain, files)),
        (
            "no key",
            with_user(&good, "{client-certificate: ., client-key: /nope}"),
        ),
        ("no token", with_user(&good, "{tokenFile: /nope}")),
        ("a proxy", with_cluster(&good, "proxy-url: ftp://p:1")),
    ] {
        for (command, runs) in runs(&rig, &kubeconfig, &[], &[]) {
            assert_eq!(runs[0].code, Some(1), "{what}: {runs:?}");
            assert_same(&format!("{what} {command:?}"), &runs);
        }
    }
    assert_eq!(rig.taken().len(), 0);
}

#[test]
fn credentials_that_are_no_field_values_fail_as_in_kubectl() {
    let Some(rig) = rig(Wire::Tls) else {
        return;
    };
    let good = rig.server.kubeconfig();
    let token = "token-of-the-kubectl-tests";
    let file = rig.path("token");
    let in_file = format!("{{tokenFile: {file:?}}}");
    for user in [
        "{token: \"abc\\n\"}",
        "{token: \"a\\0b\"}",
        "{token: \"a\\tb\"}",
        "{token: abcé}",
        "{username: \"a\\nb\", password: \"\\0\"}",
        "{username: a}",
        "{token: t, as: \"a\\nb\"}",
        "{token: t, as: a, as-uid: \"a\\nb\"}",
        "{token: t, as: a, as-groups: [\"a\\nb\"]}",
        "{token: t, as: a, as-user-extra: {\"Sc-oPE/é\": [\"a\\nb\"]}}",
        "{auth-provider: {name: gcp, config: {id-token: \"a\\nb\"}}}",
        "{auth-provider: {name: azure}}",
        "{auth-provider: {name: unknown}}",
    ] {
        let kubeconfig = with_user(&good, user);
        for (command, runs) in runs(&rig, &kubeconfig, &[], &[]) {
            assert_eq!(runs[0].code, Some(1), "{user}: {runs:?}");
            assert_same(&format!("{user} {command:?}"), &runs);
        }
    }
    for (content, code) in [
        (format!("{token}\n"), 0),
        (format!(" \t{token} \r\n\n"), 0),
        (format!("{token}\u{a0}\n"), 0),
        (format!("{token}\n{token}"), 1),
        (" \n".into(), 1),
    ] {
        std::fs::write(&file, &content).expect("a file");
        for (command, runs) in runs(&rig, &with_user(&good, &in_file), &[], &[]) {
            assert_eq!(runs[0].code, Some(code), "{content:?}: {runs:?}");
            if code == 0 {
                assert_eq!(runs[1].code, Some(0), "{content:?}: {runs:?}");
            } else {
                assert_same(&format!("{content:?} {command:?}"), &runs);
            }
        }
    }
}

#[test]
fn addresses_with_an_invalid_port_fail_as_in_kubectl() {
    let Some(rig) = rig(Wire::Tls) else {
        return;
    };
    let good = rig.server.kubeconfig();
    let (url, addr) = (rig.server.url(), rig.server.addr().to_string());
    for address in [
        "https://127.0.0.1:644333",
        "https://127.0.0.1:6443x",
        "https://127.0.0.1:-1",
        "127.0.0.1:6443x",
        "127.0.0.1:99999",
    ] {
        let kubeconfig = good.replace(&url, address);
        for (command, [theirs, ours]) in runs(&rig, &kubeconfig, &[], &[]) {
            assert_eq!((ours.code, theirs.code), (Some(1), Some(1)), "{command:?}");
            // Of a number that is too large, kubectl learns when it sends a request.
            let sent = theirs.last_line().contains("api versions from server");
            if !sent {
                assert_eq!(
                    ours.last_line(),
                    theirs.last_line(),
                    "{address} {command:?}"
                );
            }
        }
    }
    for proxy in [
        "http://p:6443x",
        "http://127.0.0.1:644333",
        "socks5://p:99999",
    ] {
        let kubeconfig = with_cluster(&good, &format!("proxy-url: {proxy:?}"));
        let kubeconfig = kubeconfig.replace(
            "  cluster:\n",
            "  cluster:\n    insecure-skip-tls-verify: true\n",
        );
        for (command, runs) in runs(&rig, &kubeconfig, &[], &[]) {
            assert_same(&format!("{proxy} {command:?}"), &runs);
        }
    }
    assert!(rig.taken().is_empty(), "{addr}");
}

#[test]
fn a_redirect_to_an_invalid_port_fails_as_in_kubectl() {
    let Some(rig) = rig(Wire::Plain) else {
        return;
    };
    let kubeconfig = rig.server.kubeconfig();
    for location in ["http://127.0.0.1:6443x/", "//127.0.0.1:99999/"] {
        for path in ["/api", "/apis", "/version"] {
            let place = HeaderValue::from_static(location);
            let answer = Canned::new("").code(StatusCode::FOUND);
            let fault = Fault::Answer(answer.header(header::LOCATION, place));
            rig.control.set_fault(path, fault);
        }
        for (command, [theirs, ours]) in runs(&rig, &kubeconfig, &[], &[]) {
            assert_eq!((ours.code, theirs.code), (Some(1), Some(1)), "{command:?}");
            let why = |run: &Run| {
                let line = run.last_line();
                // kubectl names the URL of the redirect there.
                let (_, why) = line.rsplit_once("\": ").unwrap_or(("", line));
                why.to_owned()
            };
            assert_eq!(why(&ours), why(&theirs), "{location} {command:?}");
        }
    }
}

#[test]
fn plugins_fail_as_in_kubectl() {
    use std::os::unix::fs::PermissionsExt;

    let Some(rig) = rig(Wire::Tls) else {
        return;
    };
    let plugin = rig.path("plugin");
    let user = |command: &str, mode: &str| {
        let exec = format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {command:?}, interactiveMode: {mode}}}}}"
        );
        with_user(&rig.server.kubeconfig(), &exec)
    };
    let kind = "\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\"";
    for script in [
        "exit 3".to_owned(),
        "kill -9 $$".to_owned(),
        format!("echo '{{{kind}}}'"),
        format!("echo '{{{kind},\"status\":{{}}}}'"),
        format!("echo '{{{kind},\"status\":{{\"clientKeyData\":\"x\"}}}}'"),
        format!("printf -- '---\n{{{kind},\"status\":{{}}}}\n---\ngarbage: ['"),
        format!(
            "echo '{{{},\"status\":{{\"token\":\"t\"}}}}'",
            kind.replace("v1", "v1beta1")
        ),
    ] {
        std::fs::write(&plugin, format!("#!/bin/sh\n{script}\n")).expect("a file");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&plugin, mode).expect("a file of ours");
        let kubeconfig = user(plugin.to_str().expect("text"), "Never");
        for (command, runs) in runs(&rig, &kubeconfig, &[], &[]) {
            assert_same(&format!("{script} {command:?}"), &runs);
        }
    }
    for (command, mode) in [("/nope", "Never"), ("/bin/true", "Always")] {
        for (_, runs) in runs(&rig, &user(command, mode), &[], &[]) {
            assert_same(command, &runs);
        }
    }
    assert_eq!(rig.taken().len(), 0);
}

#[test]
fn a_host_name_that_is_none_fails_as_in_kubectl() {
    let Some(rig) = rig(Wire::Plain) else {
        return;
    };
    // Two dots in a row are no name to ask anybody for.
    let address = rig.server.addr().to_string();
    let kubeconfig = rig.server.kubeconfig().replace(&address, "no..host:80");
    for (command, runs) in runs(&rig, &kubeconfig, &[], &[]) {
        assert_same(&format!("{command:?}"), &runs);
    }
}

#[test]
fn a_timeout_is_reported_as_in_kubectl() {
    let Some(rig) = rig(Wire::Plain) else {
        return;
    };
    // kubectl has two clocks, and says which of them was first.
    let same = |text: &str| {
        text.replace("net/http: request canceled", "context deadline exceeded")
            .replace(" (Client.Timeout exceeded while awaiting headers)", "")
            .replace(
                " (Client.Timeout or context cancellation while reading body)",
                "",
            )
    };
    let head = Fault::Delay(Duration::from_secs(60));
    for (what, fault) in [("head", head), ("body", Fault::Stall(5))] {
        for path in ["/api", "/apis", "/version"] {
            rig.control.set_fault(path, fault.clone());
        }
        let kubeconfig = rig.server.kubeconfig();
        for (command, [theirs, ours]) in runs(&rig, &kubeconfig, &["--request-timeout=1s"], &[]) {
            assert_eq!(
                (ours.code, theirs.code),
                (Some(1), Some(1)),
                "{what} {command:?}"
            );
            let (ours, theirs) = (ours.last_line(), theirs.last_line());
            assert_eq!(same(ours), same(theirs), "{what} {command:?}");
        }
    }
}

#[test]
fn redirects_are_followed_and_end_as_in_kubectl() {
    let Some(rig) = rig(Wire::Plain) else {
        return;
    };
    let other = EmbeddedServer::builder()
        .start_in_thread()
        .expect("a server");
    let to = |place: String| {
        let answer = Canned::new("").code(StatusCode::FOUND);
        let place = HeaderValue::try_from(place).expect("a header");
        Fault::Answer(answer.header(header::LOCATION, place))
    };
    let paths = ["/api", "/apis", "/version"];
    let kubeconfig = rig.server.kubeconfig();
    for path in paths {
        rig.control
            .set_fault(path, to(format!("{}{path}", other.url())));
    }
    for (command, [theirs, ours]) in runs(&rig, &kubeconfig, &[], &[]) {
        let theirs = theirs.ok();
        assert!(command == ["version"] || ours.ok() == theirs, "{command:?}");
    }
    for path in paths {
        rig.control.set_fault(path, to(path.to_owned()));
    }
    for (command, [theirs, ours]) in runs(&rig, &kubeconfig, &[], &[]) {
        let (ours, theirs) = (ours.last_line(), theirs.last_line());
        let end = "stopped after 10 redirects";
        assert!(
            theirs.ends_with(end) && ours.ends_with(end),
            "{command:?}: {ours} {theirs}"
        );
    }
    for path in paths {
        rig.control.set_fault(path, status_without_location());
    }
    for (command, runs) in runs(&rig, &kubeconfig, &[], &[]) {
        assert_same(&format!("{command:?}"), &runs);
    }
}

fn status_without_location() -> Fault {
    Fault::Answer(Canned::new("").code(StatusCode::FOUND))
}

/// Whether both programs come to an answer, or both to none; and ours, if there is one, is kubectl's.
#[track_caller]
fn assert_alike(rig: &Rig, what: &str, kubeconfig: &[u8], arguments: &[&str], expected: bool) {
    let file = rig.path("odd kubeconfig");
    std::fs::write(&file, kubeconfig).expect("a file");
    rig.clean();
    let run = |program| rig.run_with(program, &rig.root(program), &file, &[], arguments);
    let [theirs, ours] = BOTH.map(run);
    assert_eq!(theirs.code == Some(0), expected, "{what}: {theirs:?}");
    assert_eq!(ours.code, theirs.code, "{what}: {ours:?}");
    assert_eq!(ours.stdout, theirs.stdout, "{what}");
    assert!(expected || !ours.last_line().is_empty(), "{what}");
}

#[test]
fn odd_files_are_read_as_in_kubectl() {
    let Some(rig) = rig(Wire::Plain) else {
        return;
    };
    let url = rig.server.url();
    let file = |context: &str, clusters: &str| {
        format!(
            "{{\"apiVersion\": \"v1\", \"kind\": \"Config\", \"current-context\": \"c\", \"contexts\": [{{\"name\": \
             \"c\", \"context\": {{{context}}}}}], \"clusters\": [{clusters}]}}"
        )
    };
    let cluster =
        |name: &str| format!("{{\"name\": {name}, \"cluster\": {{\"server\": \"{url}\"}}}}");
    let (of_k, k) = ("\"cluster\": \"k\"", cluster("\"k\""));
    let good = file(of_k, &k);
    let little = good.encode_utf16().flat_map(u16::to_le_bytes);
    let big = good.encode_utf16().flat_map(u16::to_be_bytes);
    for (what, kubeconfig, expected) in [
        ("as it should be", good.clone().into_bytes(), true),
        (
            "UTF-16",
            [0xff, 0xfe].into_iter().chain(little).collect(),
            true,
        ),
        (
            "the other one",
            [0xfe, 0xff].into_iter().chain(big).collect(),
            true,
        ),
        ("text behind braces", format!("{good} x").into_bytes(), true),
        (
            "an empty group",
            good.replace("\"v1\"", "\"/v1\"").into_bytes(),
            true,
        ),
        (
            "two of a name",
            file(of_k, &format!("{k}, {k}")).into_bytes(),
            false,
        ),
        (
            "a number as a name",
            file("\"cluster\": 5", &cluster("5")).into_bytes(),
            false,
        ),
        (
            "no names",
            file("\"cluster\": \"\"", &cluster("null")).into_bytes(),
            true,
        ),
        (
            "no context's name",
            file("\"user\": \"u\"", &cluster("\"\""))
                .replace("\"c\"", "\"\"")
                .into_bytes(),
            true,
        ),
    ] {
        assert_alike(&rig, what, &kubeconfig, &["api-versions"], expected);
    }
}

#[test]
fn odd_flags_and_addresses_are_taken_as_in_kubectl() {
    let Some(rig) = rig(Wire::Plain) else {
        return;
    };
    let kubeconfig = with_user(
        &rig.server.kubeconfig(),
        "{as: me, as-user-extra: {k: [v]}}",
    );
    let address = rig.server.addr();
    let port = format!(":{}", address.port());
    let with_name = format!("http://me@{address}");
    for (arguments, expected) in [
        (
            &["api-resources", "--no_headers", "--request_timeout=5"][..],
            true,
        ),
        (&["api-resources", "--request-timeout=-1s", "-v=-1"], true),
        (&["api-resources", "--request-timeout="], true),
        (&["api-resources", "--request-timeout=-1"], false),
        (
            &["api-resources", "--as-user-extra=a", "--as-user-extra=b=c"],
            true,
        ),
        (&["api-resources", "--client-key=/nope"], true),
        (&["api-resources", "-s", &port], true),
        (&["api-resources", "-s", &with_name], true),
    ] {
        let what = arguments.join(" ");
        rig.taken();
        assert_alike(&rig, &what, kubeconfig.as_bytes(), arguments, expected);
        let told = |entry: &embedded_apiserver::Entry| {
            [
                "authorization",
                "impersonate-extra-a",
                "impersonate-extra-b",
                "impersonate-extra-k",
            ]
            .map(|name| entry.header(name).map(str::to_owned))
        };
        let told: Vec<_> = rig.taken().iter().map(told).collect();
        assert!(told.iter().all(|one| *one == told[0]), "{what}: {told:?}");
    }
}

#[test]
fn an_id_token_that_can_t_be_used_is_refused_as_in_kubectl() {
    let Some(rig) = rig(Wire::Tls) else {
        return;
    };
    let good = rig.server.kubeconfig();
    for config in [
        "id-token: t",
        "id-token: t, idp-issuer-url: 'https://127.0.0.1:1'",
        "id-token: t, idp-issuer-url: 'https://127.0.0.1:1', client-id: c",
        "id-token: x.eyJleHAiOjF9.x, idp-issuer-url: 'https://127.0.0.1:1', client-id: c",
    ] {
        let user = format!("{{auth-provider: {{name: oidc, config: {{{config}}}}}}}");
        let file = rig.path("oidc");
        std::fs::write(&file, with_user(&good, &user)).expect("a file");
        rig.clean();
        let run =
            |program| rig.run_with(program, &rig.root(program), &file, &[], &["api-resources"]);
        assert_same(config, &BOTH.map(run));
        assert!(rig.taken().is_empty(), "{config}");
    }
}
