//! Odd flags, files and answers: the same exit code, and output from both or from neither.

use std::ffi::OsString;

use embedded_apiserver::{Canned, EmbeddedServer, Fault};

use super::rig::{BOTH, Rig, Run, Wire};

/// Compares the outcomes; those that are to differ say so.
#[track_caller]
fn assert_alike(what: &str, [theirs, ours]: &[Run; 2]) {
    assert_eq!(ours.code, theirs.code, "{what}: {ours:?} {theirs:?}");
    assert_eq!(
        ours.stdout.is_empty(),
        theirs.stdout.is_empty(),
        "{what}: {ours:?} {theirs:?}"
    );
}

/// Runs both with one kubeconfig.
fn runs(rig: &Rig, kubeconfig: &str, variables: &[(&str, OsString)], line: &str) -> [Run; 2] {
    let file = rig.path("odd kubeconfig");
    std::fs::write(&file, kubeconfig).expect("a file");
    rig.clean();
    let arguments: Vec<_> = line.split(' ').collect();
    BOTH.map(|program| rig.run_with(program, &rig.root(program), &file, variables, &arguments))
}

#[test]
fn flags() {
    let Some(rig) = Rig::new(Wire::Plain, EmbeddedServer::builder()) else {
        return;
    };
    let kubeconfig = rig.server.kubeconfig();
    for line in [
        "api-versions --vmodule=x",
        "api-versions --vmodule=",
        "api-versions --vmodule=a=2,b*=3,",
        "api-versions --vmodule=a=-1",
        "api-versions --vmodule=a=1=2",
        "api-versions --request-timeout=9999999999999",
        "api-versions --request-timeout=9223372036854775807",
        "api-versions --request-timeout=99999999999999999999",
        "api-versions --v -1",
        "api-versions --kuberc=",
        "api-versions --kuberc=/nope",
        "get --raw /version -A",
        "get --raw /version -R --chunk-size=5 --sort-by=x --show-kind",
        "get --raw /version --nope",
        "help",
        "help api-versions",
        "help api-versions nope",
        "help nope",
        "help -h",
        "help api-versions --help",
        "help -v 5 api-versions",
        "help --nope",
        "options",
        "-- api-versions",
    ] {
        assert_alike(line, &runs(&rig, &kubeconfig, &[], line));
    }
    let kuberc = rig.path("kuberc");
    std::fs::write(&kuberc, "").expect("a file");
    let with_file = format!("api-versions --kuberc={}", kuberc.display());
    for (name, value) in [
        ("KUBERC", "off"),
        ("KUBERC", "OFF"),
        ("KUBECTL_KUBERC", "false"),
        ("KUBECTL_KUBERC", "FALSE"),
        ("KUBECTL_KUBERC", "0"),
    ] {
        let variables = [(name, value.into())];
        for line in ["api-versions", &with_file] {
            if (value, line) != ("OFF", "api-versions") {
                let runs = runs(&rig, &kubeconfig, &variables, line);
                assert_alike(&format!("{name}={value} {line}"), &runs);
            }
        }
    }
}

#[test]
fn kubeconfigs() {
    let Some(rig) = Rig::new(Wire::Plain, EmbeddedServer::builder()) else {
        return;
    };
    let file = |context: &str, cluster: &str, user: &str| {
        let url = rig.server.url();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{{{context}}}]\n\
             clusters: [{{name: c, cluster: {{server: {url:?}, {cluster}}}}}]\nusers: {user}\n"
        )
    };
    let context = "name: x, context: {cluster: c, user: u}";
    for kubeconfig in [
        file(context, "", "[]"),
        file(context, "", "\"\""),
        file(
            "name: !!binary eA==, context: {cluster: c}",
            "",
            "[{name: u, user: {token: !!binary dA==}}]",
        ),
        file(context, "", "[{name: u, user: {token: !!binary \"%%\"}}]"),
        file(context, "certificate-authority-data: \"%%\"", "[]"),
        file(context, "certificate-authority-data: QUJDREVG=", "[]"),
        file(context, "certificate-authority-data: QUJD-_==", "[]"),
        file(context, "certificate-authority-data: !!binary QUJD", "[]"),
        file(context, "", "[{name: u, user: {client-key-data: \"%%\"}}]"),
    ] {
        let runs = runs(&rig, &kubeconfig, &[], "api-versions");
        assert_alike(&kubeconfig, &runs);
    }
}

/// Where no host is given, it is this machine, and the files are named without one.
#[test]
fn a_port_alone_names_its_files_as_kubectl_does() {
    let Some(rig) = Rig::new(Wire::Plain, EmbeddedServer::builder()) else {
        return;
    };
    let port = rig.server.addr().port();
    for address in [format!(":{port}"), format!("http://:{port}")] {
        let line = format!("api-resources --server {address}");
        let runs = runs(&rig, "", &[], &line);
        assert_eq!(runs[0].code, Some(0), "{runs:?}");
        assert_alike(&line, &runs);
        let [theirs, ours] = BOTH.map(|program| rig.tree(program).below("discovery"));
        assert_eq!(ours.names(), theirs.names(), "{address}");
    }
}

/// In a CGI program, a field of the request that it answers may stand in `HTTP_PROXY`. An unknown scheme means HTTP.
#[test]
fn proxies_of_the_environment() {
    let Some(rig) = Rig::new(Wire::Plain, EmbeddedServer::builder()) else {
        return;
    };
    let kubeconfig = rig.server.kubeconfig();
    let elsewhere = kubeconfig.replace("127.0.0.1", "elsewhere.test");
    let proxy = rig.server.addr();
    for (scheme, method, kubeconfig) in [
        ("http", "", &kubeconfig),
        ("http", "GET", &kubeconfig),
        ("http", "", &elsewhere),
        ("http", "GET", &elsewhere),
        ("ftp", "", &elsewhere),
        ("HTTP", "", &elsewhere),
    ] {
        let variables = [
            ("HTTP_PROXY", format!("{scheme}://{proxy}").into()),
            ("REQUEST_METHOD", method.into()),
        ];
        let runs = runs(&rig, kubeconfig, &variables, "get --raw /version");
        assert_alike(&format!("{scheme} {method:?}"), &runs);
        assert_eq!(
            runs[0].code,
            Some(i32::from(!method.is_empty())),
            "{runs:?}"
        );
    }
}

/// Times that RFC 3339 does not have, and what is beside the status.
#[cfg(unix)]
#[test]
fn plugins() {
    use std::os::unix::fs::PermissionsExt;

    let Some(rig) = Rig::new(Wire::Tls, EmbeddedServer::builder()) else {
        return;
    };
    let plugin = rig.path("plugin");
    let good = rig.server.kubeconfig();
    let line = good.lines().find(|line| line.contains("token:"));
    let token = line
        .and_then(|line| line.split(": ").nth(1))
        .expect("a token")
        .trim_matches('"');
    let exec = format!(
        "    exec: {{apiVersion: client.authentication.k8s.io/v1, command: {plugin:?}, interactiveMode: Never}}"
    );
    let kubeconfig = good.replace(line.expect("a token"), &exec);
    let mut codes = Vec::new();
    for (more, behind) in [
        ("\"expirationTimestamp\":\"2099-01-01T00:00:00Z\",", ""),
        (
            "\"expirationTimestamp\":\"2099-01-01T00:00:00,5+02:00\",",
            "",
        ),
        ("\"expirationTimestamp\":\"2099-01-01 00:00:00Z\",", ""),
        ("\"expirationTimestamp\":\"2099-01-01T00:00Z\",", ""),
        ("\"expirationTimestamp\":\"2099-12-31T23:59:60Z\",", ""),
        ("\"expirationTimestamp\":\"2099-01-01T00:00:00+0200\",", ""),
        ("", ",\"spec\":{}"),
        ("", ",\"spec\":5"),
    ] {
        let script = format!(
            "#!/bin/sh\necho '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\
             \"status\":{{{more}\"token\":{token:?}}}{behind}}}'\n"
        );
        std::fs::write(&plugin, script).expect("a file");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&plugin, mode).expect("a file of ours");
        let runs = runs(&rig, &kubeconfig, &[], "api-versions");
        assert_alike(&format!("{more}{behind}"), &runs);
        codes.push(runs[0].code);
    }
    assert!(
        codes.contains(&Some(0)) && codes.contains(&Some(1)),
        "{codes:?}"
    );
}

/// kubectl leaves out all groups then, and exits with 0.
#[test]
fn a_document_under_another_media_type_is_read() {
    let server = EmbeddedServer::builder().legacy_only(true);
    let Some(rig) = Rig::new(Wire::Plain, server) else {
        return;
    };
    let expected = rig.run(BOTH[0], &["api-resources"]).ok();
    let document = rig.run(BOTH[0], &["get", "--raw", "/apis"]).ok();
    let answer = Canned::new(document)
        .content_type("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    rig.control.set_fault("/apis", Fault::Answer(answer));
    let [theirs, ours] = runs(&rig, &rig.server.kubeconfig(), &[], "api-resources");
    assert_eq!((theirs.code, ours.code), (Some(0), Some(0)));
    assert_ne!(theirs.stdout, expected);
    assert_eq!(ours.stdout, expected);
}
