//! Kubeconfig files as people have them, and the flags that stand for their fields. What is expected is what kubectl 1.37
//! does with the same files, but where "Ours" says so.

use std::fs;

use embedded_apiserver::EmbeddedServer;

use crate::program::Home;

const TOKEN: &str = "let-me-in";

struct Scene {
    server: EmbeddedServer,
    home: Home,
    authority: String,
}

/// The parts of a kubeconfig that a test is about.
#[derive(Default)]
struct Parts<'p> {
    cluster: Option<&'p str>,
    user: Option<&'p str>,
    head: &'p str,
    contexts: &'p str,
    clusters: &'p str,
    users: &'p str,
    tail: &'p str,
}

impl Scene {
    fn new() -> Self {
        let server = EmbeddedServer::builder().tls(true).token(TOKEN);
        let server = server.start_in_thread().unwrap();
        let kubeconfig = server.kubeconfig();
        let line = kubeconfig
            .lines()
            .find(|line| line.contains("certificate-authority-data"))
            .unwrap();
        let authority = line
            .rsplit(' ')
            .next()
            .unwrap()
            .trim_matches('"')
            .to_owned();
        let home = Home::new();
        fs::write(home.path().join("ca.pem"), server.ca_pem().unwrap()).unwrap();
        fs::write(home.path().join("token"), format!("{TOKEN}\n")).unwrap();
        fs::write(home.path().join("other"), "another").unwrap();
        Self {
            server,
            home,
            authority,
        }
    }

    fn cluster(&self) -> String {
        format!(
            "server: {}, certificate-authority-data: {}",
            self.server.url(),
            self.authority
        )
    }

    fn kubeconfig(&self, parts: &Parts<'_>) -> String {
        let (good, token) = (self.cluster(), format!("token: {TOKEN}"));
        let Parts {
            head,
            contexts,
            clusters,
            users,
            tail,
            ..
        } = parts;
        format!(
            "apiVersion: v1\nkind: Config\n{head}\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, user: \
             u}}\n{contexts}\nclusters:\n- name: k\n  cluster: {{{}}}\n{clusters}\nusers:\n- name: u\n  user: {{{}}}\n\
             {users}\n{tail}\n",
            parts.cluster.unwrap_or(&good),
            parts.user.unwrap_or(&token),
        )
    }

    /// The exit code and the error of a run with this file.
    fn run(&self, kubeconfig: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let file = self.home.path().join("config");
        fs::write(&file, kubeconfig).unwrap();
        let file = file.to_str().unwrap();
        let run = self
            .home
            .run(&[&["--kubeconfig", file, "api-versions"], arguments].concat());
        assert!(!run.stderr.contains(TOKEN), "{}", run.stderr);
        _ = fs::remove_dir_all(self.home.cache());
        (run.code, run.stderr)
    }

    fn works(&self, parts: &Parts<'_>) {
        let kubeconfig = self.kubeconfig(parts);
        let (code, error) = self.run(&kubeconfig, &[]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{kubeconfig}");
    }

    fn fails(&self, parts: &Parts<'_>, message: &str) {
        let kubeconfig = self.kubeconfig(parts);
        let (code, error) = self.run(&kubeconfig, &[]);
        assert_eq!(code, Some(1), "{kubeconfig}");
        assert!(error.contains(message), "{kubeconfig}\n{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn odd_entries_elsewhere_do_no_harm() {
    let scene = Scene::new();
    for contexts in [
        "- {}",
        "- null",
        "- {name: x}",
        "- {name: x, context: null}",
        "- context: {cluster: q}",
        "- {name: x, context: {cluster: a, extensions: [{name: e}]}}",
        // Ours: kubectl refuses the whole file.
        "- {name: x, context: {cluster: 5}}",
        "- 5",
    ] {
        scene.works(&Parts {
            contexts,
            ..Parts::default()
        });
    }
    for clusters in [
        "- {}",
        "- {name: x, cluster: null}",
        "- cluster: {server: q}",
        "- {name: x, cluster: {proxy-url: '::'}}",
        // Ours.
        "- {name: x, cluster: {server: 5}}",
        "- {name: x, cluster: {certificate-authority-data: '%%'}}",
    ] {
        scene.works(&Parts {
            clusters,
            ..Parts::default()
        });
    }
    for users in [
        "- {}",
        "- {name: x, user: null}",
        "- {name: x, user: {auth-provider: {config: {}}}}",
        "- {name: x, user: {exec: {env: [null], args: [null], interactiveMode: Odd}}}",
        // Ours.
        "- {name: x, user: {token: 5}}",
    ] {
        scene.works(&Parts {
            users,
            ..Parts::default()
        });
    }
    for head in [
        "preferences: null",
        "extensions: [{name: x}]",
        "unknown: {a: 1}",
    ] {
        scene.works(&Parts {
            head,
            ..Parts::default()
        });
    }
    for tail in ["---\n}{", "...\nx: [", "x: 1\nx: 2"] {
        scene.works(&Parts {
            tail,
            ..Parts::default()
        });
    }
}

#[test]
fn empty_fields_are_absent() {
    let scene = Scene::new();
    for field in ["tls-server-name", "certificate-authority", "proxy-url"] {
        let cluster = format!("{}, {field}: ''", scene.cluster());
        scene.works(&Parts {
            cluster: Some(&cluster),
            ..Parts::default()
        });
    }
    let names = [
        "client-certificate",
        "client-key",
        "client-certificate-data",
        "tokenFile",
        "username",
        "as",
    ];
    for field in names {
        let user = format!("token: {TOKEN}, {field}: ''");
        scene.works(&Parts {
            user: Some(&user),
            ..Parts::default()
        });
    }
    scene.works(&Parts {
        user: Some("token: '', tokenFile: token"),
        ..Parts::default()
    });
    let kubeconfig = scene
        .kubeconfig(&Parts::default())
        .replace("kind: Config", "kind: ''");
    assert_eq!(scene.run(&kubeconfig, &[]).0, Some(0));
}

#[test]
fn data_may_be_broken_into_lines() {
    let scene = Scene::new();
    let (first, rest) = scene.authority.split_at(64);
    for data in [
        format!("|\n      {first}\n      {rest}"),
        format!("\"{first}\\r\\n{rest}\\n\""),
        // Ours.
        format!("!!binary |\n      {first}\n      {rest}"),
    ] {
        let kubeconfig = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nusers: [{{name: u, user: \
             {{token: {TOKEN}}}}}]\nclusters:\n- name: k\n  cluster:\n    server: {}\n    certificate-authority-data: {data}\n",
            scene.server.url()
        );
        assert_eq!(scene.run(&kubeconfig, &[]).0, Some(0), "{data}");
        let kubeconfig = kubeconfig.replace('\n', "\r\n");
        assert_eq!(scene.run(&kubeconfig, &[]).0, Some(0), "{data}");
    }
}

/// Windows' editors write it, and kubectl reads it.
#[test]
fn utf_16_is_read() {
    let scene = Scene::new();
    let words = scene.kubeconfig(&Parts::default());
    let words = std::iter::once(0xfeff).chain(words.encode_utf16());
    let file = scene.home.path().join("utf-16");
    fs::write(&file, words.flat_map(u16::to_le_bytes).collect::<Vec<_>>()).unwrap();
    let file = file.to_str().unwrap();
    scene.home.run(&["--kubeconfig", file, "api-versions"]).ok();
}

#[test]
fn what_contradicts_itself_is_refused() {
    let scene = Scene::new();
    let plugin = "apiVersion: client.authentication.k8s.io/v1, command: /bin/false";
    for (user, message) in [
        (format!("token: {TOKEN}, username: a, password: b"), "more than one authentication method"),
        (format!("token: {TOKEN}, as-groups: [g]"), "without impersonating a user"),
        (format!("token: {TOKEN}, as-uid: x"), "without impersonating a user"),
        ("token: 12345".into(), "token is of the wrong type"),
        ("client-certificate: ca.pem".into(), "client-key-data or client-key must be specified"),
        (format!("exec: {{{plugin}}}"), "interactiveMode must be specified"),
        (format!("exec: {{{plugin}, interactiveMode: Odd}}"), "invalid interactiveMode"),
        (format!("exec: {{{plugin}, interactiveMode: Never, env: [null]}}"), "env variable name must be specified"),
        ("exec: {command: a, interactiveMode: Never}".into(), "apiVersion must be specified"),
        (
            "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: a, interactiveMode: Never}".into(),
            "invalid apiVersion",
        ),
        (
            // It has a default for the mode, and still can't be spoken.
            "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: a}".into(),
            "invalid apiVersion",
        ),
    ] {
        scene.fails(&Parts { user: Some(&user), ..Parts::default() }, message);
    }
    for (more, message) in [
        (
            "insecure-skip-tls-verify: true",
            "with the insecure flag is not allowed",
        ),
        ("certificate-authority: ca.pem", "are both specified"),
    ] {
        let cluster = format!("{}, {more}", scene.cluster());
        scene.fails(
            &Parts {
                cluster: Some(&cluster),
                ..Parts::default()
            },
            message,
        );
    }
    assert_eq!(scene.server.counters().total, 0);
    assert!(!scene.home.cache().exists());
}

#[test]
fn the_token_of_a_file_counts_more_than_one_beside_it() {
    let scene = Scene::new();
    for (user, works) in [
        ("token: nope, tokenFile: token", true),
        ("tokenFile: token", true),
        ("token: let-me-in, tokenFile: missing", true),
        ("token: let-me-in, tokenFile: other", false),
    ] {
        let kubeconfig = scene.kubeconfig(&Parts {
            user: Some(user),
            ..Parts::default()
        });
        assert_eq!(scene.run(&kubeconfig, &[]).0 == Some(0), works, "{user}");
    }
}

#[test]
fn flags_stand_for_fields() {
    let scene = Scene::new();
    let url = scene.server.url();
    let kubeconfig = scene.kubeconfig(&Parts {
        clusters: &format!("- {{name: k2, cluster: {{server: {url}}}}}"),
        users: "- {name: u2, user: {token: nope}}\n- {name: u3, user: {username: a, password: b}}",
        ..Parts::default()
    });
    let authority = scene.home.path().join("ca.pem");
    let authority = format!("--certificate-authority={}", authority.display());
    let token = format!("--token={TOKEN}");
    for (flags, works) in [
        (vec!["--user=u2"], false),
        (vec!["--user=u2", &token], true),
        (vec!["--user=u3", &token], false),
        (vec!["--user=nobody"], false),
        (vec!["--token="], true),
        (vec!["--cluster=k2"], false),
        (vec!["--cluster=k2", &authority], true),
        (vec!["--cluster=k2", "--insecure-skip-tls-verify"], true),
        (vec!["--insecure-skip-tls-verify", &authority], false),
        (vec!["--tls-server-name=localhost"], true),
        (vec!["--tls-server-name=other.test"], false),
        (
            vec![
                "--as=me",
                "--as-group=g",
                "--as-uid=1",
                "--as-user-extra=a=b",
            ],
            true,
        ),
        (vec!["--as-group=g"], false),
        (
            vec![
                "--disable-compression",
                "-n",
                "x",
                "--profile=none",
                "--vmodule=a=1",
            ],
            true,
        ),
        (vec!["--proxy-url=http://127.0.0.1:1"], false),
        (vec!["--username=a"], false),
    ] {
        scene.server.control().clear_log();
        let (code, error) = scene.run(&kubeconfig, &flags);
        assert_eq!(code == Some(0), works, "{flags:?}: {error}");
        if flags.contains(&"--as-uid=1") {
            let log = scene.server.log();
            for (name, value) in [
                ("impersonate-user", "me"),
                ("impersonate-group", "g"),
                ("impersonate-uid", "1"),
                ("impersonate-extra-a", "b"),
            ] {
                assert_eq!(log[0].header(name), Some(value));
            }
        }
    }
}

#[test]
fn the_first_file_that_says_something_counts() {
    let scene = Scene::new();
    let empty = scene.home.path().join("empty");
    fs::write(&empty, "current-context: ''\nclusters: null\n").unwrap();
    let good = scene.home.path().join("good");
    fs::write(&good, scene.kubeconfig(&Parts::default())).unwrap();
    let list = std::env::join_paths([empty, good]).unwrap();
    let home = Home::new().variable("KUBECONFIG", list);
    home.run(&["api-versions"]).ok();
}

/// A proxy of the kubeconfig is one, however its scheme is written, and whatever the environment has for this host.
#[test]
fn the_proxy_of_a_kubeconfig_is_used() {
    let scene = Scene::new();
    let proxy = "http://127.0.0.1:1";
    let home = Home::new()
        .variable("HTTPS_PROXY", proxy)
        .variable("NO_PROXY", "127.0.0.1");
    let file = scene.home.path().join("config");
    let run = |cluster: &str| {
        let kubeconfig = scene.kubeconfig(&Parts {
            cluster: Some(cluster),
            ..Parts::default()
        });
        fs::write(&file, kubeconfig).unwrap();
        home.run(&["--kubeconfig", file.to_str().unwrap(), "api-versions"])
    };
    run(&scene.cluster()).ok();
    for proxy in [proxy, "HTTP://127.0.0.1:1"] {
        let cluster = format!("{}, proxy-url: '{proxy}'", scene.cluster());
        let run = run(&cluster);
        assert!(run.failed().contains("refused"), "{proxy}: {run:?}");
    }
}
