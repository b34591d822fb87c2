//! Proxies of each kind, in front of a server with TLS.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread;

use embedded_apiserver::EmbeddedServer;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::program::Home;
use crate::run::Run;

/// A proxy of any kind, and who has used it for which server: `target credentials`.
struct Proxy {
    address: SocketAddr,
    certificate: String,
    seen: Arc<Mutex<Vec<String>>>,
    _stop: oneshot::Sender<()>,
}

impl Proxy {
    fn start(has_tls: bool) -> Self {
        let names = vec!["127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = has_tls.then(|| TlsAcceptor::from(Arc::new(config)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (stop, stopped) = oneshot::channel();
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, acceptor, log) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            certificate: certificate.pem(),
            seen,
            _stop: stop,
        }
    }

    /// The tunnels since the last call.
    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            match acceptor {
                None => serve(client, &seen).await,
                Some(acceptor) => serve(acceptor.accept(client).await?, &seen).await,
            }
        });
    }
}

async fn serve(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut server = match client.read_u8().await? {
        5 => socks(&mut client, seen).await?,
        first => http(first, &mut client, seen).await?,
    };
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// RFC 9110 §9.3.6, and requests with a whole URL (RFC 9112 §3.2.2), which go on as they are.
async fn http(
    first: u8,
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    seen: &Mutex<Vec<String>>,
) -> io::Result<TcpStream> {
    let mut head = vec![first];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let target = text.split(' ').nth(1).unwrap_or_default();
    let credentials = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"))
        .map_or("", |(_, value)| value);
    seen.lock().unwrap().push(format!("{target} {credentials}"));
    if text.starts_with("CONNECT ") {
        let server = TcpStream::connect(target).await?;
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await?;
        return Ok(server);
    }
    let authority = target.split('/').nth(2).unwrap_or_default();
    let mut server = TcpStream::connect(authority).await?;
    server.write_all(&head).await?;
    Ok(server)
}

/// RFC 1928, and user names (RFC 1929).
async fn socks(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    seen: &Mutex<Vec<String>>,
) -> io::Result<TcpStream> {
    async fn counted(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; client.read_u8().await?.into()];
        client.read_exact(&mut bytes).await?;
        Ok(bytes)
    }
    let methods = counted(client).await?;
    let mut credentials = String::new();
    if methods.contains(&2) {
        client.write_all(&[5, 2]).await?;
        client.read_u8().await?;
        let user = counted(client).await?;
        let password = counted(client).await?;
        credentials =
            String::from_utf8_lossy(&[user, b":".to_vec(), password].concat()).into_owned();
        client.write_all(&[1, 0]).await?;
    } else {
        client.write_all(&[5, 0]).await?;
    }
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => Ipv4Addr::from(client.read_u32().await?).to_string(),
        3 => String::from_utf8_lossy(&counted(client).await?).into_owned(),
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    let port = client.read_u16().await?;
    seen.lock()
        .unwrap()
        .push(format!("{host}:{port} {credentials}"));
    let server = TcpStream::connect((host, port)).await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    Ok(server)
}

struct Scene {
    home: Home,
    server: EmbeddedServer,
}

impl Scene {
    fn run(&self, proxy: &str) -> Run {
        let cluster = format!("  cluster:\n    proxy-url: {proxy:?}\n");
        let config = self.server.kubeconfig().replace("  cluster:\n", &cluster);
        let config = config.lines().map(|line| {
            let is_authority = line.contains("certificate-authority-data");
            let line = if is_authority {
                "    certificate-authority: ca.pem"
            } else {
                line
            };
            format!("{line}\n")
        });
        let file = self.home.path().join("config");
        fs::write(&file, config.collect::<String>()).unwrap();
        _ = fs::remove_dir_all(self.home.cache());
        self.home
            .run(&["--kubeconfig", file.to_str().unwrap(), "api-versions"])
    }
}

#[test]
fn a_proxy_of_each_kind() {
    let (plain, secure) = (Proxy::start(false), Proxy::start(true));
    for has_tls in [true, false] {
        let server = EmbeddedServer::builder()
            .tls(has_tls)
            .start_in_thread()
            .unwrap();
        let scene = Scene {
            home: Home::new(),
            server,
        };
        // A proxy's certificate is looked at as the server's is. Over plain HTTP the kubeconfig says nothing about that.
        let authorities = format!(
            "{}{}",
            secure.certificate,
            scene.server.ca_pem().unwrap_or_default()
        );
        fs::write(scene.home.path().join("ca.pem"), &authorities).unwrap();
        fs::write(scene.home.path().join("system.pem"), &authorities).unwrap();
        let system = scene.home.path().join("system.pem");
        let scene = Scene {
            home: scene.home.variable("SSL_CERT_FILE", system),
            ..scene
        };
        let target = scene.server.addr();
        for (proxy, scheme, credentials) in [
            (&plain, "http", "Basic bWU6cEBzcw=="),
            (&plain, "HTTP", "Basic bWU6cEBzcw=="),
            (&secure, "https", "Basic bWU6cEBzcw=="),
            (&plain, "socks5", "me:p@ss"),
        ] {
            for user in ["", "me:p%40ss@"] {
                let credentials = if user.is_empty() { "" } else { credentials };
                scene.server.clear_log();
                scene
                    .run(&format!("{scheme}://{user}{}", proxy.address))
                    .ok();
                assert!(scene.server.counters().total >= 2);
                // Without TLS the whole URL goes to the proxy, and with it the rest of the requests.
                let seen = proxy.seen();
                let is_whole = |one: &String| {
                    one.starts_with(&format!("http://{target}/"))
                        && one.ends_with(&format!(" {credentials}"))
                };
                if has_tls || scheme == "socks5" {
                    assert_eq!(
                        seen[0],
                        format!("{target} {credentials}"),
                        "{scheme} {user}"
                    );
                } else {
                    assert!(
                        !seen.is_empty() && seen.iter().all(is_whole),
                        "{scheme}: {seen:?}"
                    );
                }
            }
        }
        assert!(plain.seen().is_empty() && secure.seen().is_empty());
    }
}

#[test]
fn a_proxy_that_can_not_be_reached_is_named() {
    let refused = crate::refused::Refused::new();
    let server = EmbeddedServer::builder()
        .tls(true)
        .start_in_thread()
        .unwrap();
    let scene = Scene {
        home: Home::new(),
        server,
    };
    let authority = scene.server.ca_pem().unwrap();
    fs::write(scene.home.path().join("ca.pem"), authority).unwrap();
    let dead = refused.addr();
    for scheme in ["http", "https", "socks5"] {
        let run = scene.run(&format!("{scheme}://{dead}"));
        let words = format!("proxyconnect tcp: dial tcp {dead}: connect: connection refused");
        assert!(run.failed().ends_with(&words), "{run:?}");
    }
    let run = scene.run("http://proxy.invalid:3128");
    let words = "proxyconnect tcp: dial tcp: lookup proxy.invalid: no such host";
    assert!(run.failed().ends_with(words), "{run:?}");
    let secure = Proxy::start(true);
    let run = scene.run(&format!("https://{}", secure.address));
    assert!(
        run.failed()
            .contains("proxyconnect tcp: invalid peer certificate"),
        "{run:?}"
    );
    // One that wants to know who asks.
    let closed = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = closed.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((mut client, _)) = closed.accept() {
            let mut head = [0; 4096];
            _ = std::io::Read::read(&mut client, &mut head);
            let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
            _ = std::io::Write::write_all(&mut client, answer);
        }
    });
    let run = scene.run(&format!("http://{address}"));
    let words = format!("proxyconnect tcp: {address}: tunnel error: proxy authorization required");
    assert!(run.failed().ends_with(&words), "{run:?}");
    assert_eq!(scene.server.counters().total, 0);
}
