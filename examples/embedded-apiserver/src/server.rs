//! A running server, and stopping it.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    thread,
};

use base64::Engine as _;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    builder::Builder,
    control::Control,
    log::{Counters, Entry},
    tls::Identity,
};

/// A running server. It stops when this is dropped.
///
/// ```
/// use std::{
///     io::{Read as _, Write as _},
///     net::TcpStream,
/// };
///
/// use embedded_apiserver::EmbeddedServer;
///
/// # fn main() -> std::io::Result<()> {
/// let server = EmbeddedServer::builder().start_in_thread()?;
/// let mut client = TcpStream::connect(server.addr())?;
/// client.write_all(b"GET /apis/apps HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.ends_with("\"preferredVersion\":{\"groupVersion\":\"apps/v1\",\"version\":\"v1\"}}\n"));
/// assert_eq!(server.log()[0].path, "/apis/apps");
/// # Ok(())
/// # }
/// ```
pub struct EmbeddedServer {
    pub(super) control: Control,
    /// With the port and the identity filled in.
    pub(super) builder: Builder,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) runner: Option<Runner>,
}

/// The task or thread that the server runs on.
pub(super) enum Runner {
    Task(JoinHandle<()>),
    /// The receiver ends when the thread has nothing left to do.
    Thread(thread::JoinHandle<()>, oneshot::Receiver<()>),
}

impl EmbeddedServer {
    /// A server with the stock API, plain HTTP, no token, on any free port of `127.0.0.1`, unless
    /// told otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The URL to reach it by, the base path included, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.builder.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.addr(), self.builder.base)
    }

    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.control.state.address
    }

    /// The certificate of the authority that clients must trust, as PEM, if it speaks TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.identity().map(Identity::ca_pem)
    }

    /// Its TLS identity, if it speaks TLS.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.builder.identity.as_ref().filter(|_| self.builder.tls)
    }

    /// A kubeconfig that points to it, with the authority and the token.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        let authority = self.ca_pem().map_or_else(String::new, |pem| {
            let data = base64::engine::general_purpose::STANDARD.encode(pem);
            format!("\n    certificate-authority-data: {data}")
        });
        let user = match &self.builder.token {
            // A double-quoted YAML scalar takes what a JSON string takes.
            Some(token) => {
                let mut user = String::from("\n    token: ");
                super::json::string(&mut user, token);
                user
            }
            None => " {}".to_owned(),
        };
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: embedded\n\
             clusters:\n- name: embedded\n  cluster:\n    server: {url}{authority}\n\
             users:\n- name: embedded\n  user:{user}\n\
             contexts:\n- name: embedded\n  context:\n    cluster: embedded\n    user: embedded\n",
            url = self.url(),
        )
    }

    /// Writes [`kubeconfig`](Self::kubeconfig) to a file, for nobody else to read: there is a token
    /// in it.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write_kubeconfig(&self, path: impl AsRef<Path>) -> io::Result<()> {
        private_file(path.as_ref())?.write_all(self.kubeconfig().as_bytes())
    }

    /// The switches, the data and the log.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The requests so far; the same as [`Control::log`].
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.control.log()
    }

    /// The counts so far; the same as [`Control::counters`].
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.control.counters()
    }

    /// Empties the log; the same as [`Control::clear_log`].
    pub fn clear_log(&self) {
        self.control.clear_log();
    }

    /// A builder for a server that takes this one's place after it has stopped: on the same port,
    /// with the same TLS identity, token and base path, and with the data it started with. On Linux
    /// nobody else gets the port as long as the builder is there, and who connects to it is refused.
    pub fn successor(&self) -> Builder {
        self.builder.clone()
    }

    /// Stops, and returns when the port is free and all connections are closed.
    pub async fn shutdown(mut self) {
        drop(self.stop.take());
        match &mut self.runner {
            Some(Runner::Task(task)) => {
                let _ = task.await;
                self.runner = None;
            }
            // It is joined by `drop`, which need not wait any more.
            Some(Runner::Thread(_, ended)) => drop(ended.await),
            None => {}
        }
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        match self.runner.take() {
            Some(Runner::Task(task)) => task.abort(),
            Some(Runner::Thread(thread, _)) => drop(thread.join()),
            None => {}
        }
    }
}

impl fmt::Debug for EmbeddedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedServer")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

/// An empty file that only its owner may read, whoever may read the one that was there before.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

        let file = options.mode(0o600).open(path)?;
        if file.metadata()?.is_file() {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}
