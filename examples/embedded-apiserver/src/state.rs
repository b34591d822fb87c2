//! State that the connections of one server share.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{control::Switches, log::Log, log::mix, site::Site, watches::Watches};

/// The last second that a date of HTTP can tell: its year has four digits.
const LAST: Duration = Duration::from_secs(253_402_300_799);

#[derive(Debug)]
pub(super) struct State {
    pub(super) site: RwLock<Arc<Site>>,
    pub(super) switches: RwLock<Switches>,
    pub(super) log: Arc<Log>,
    pub(super) address: SocketAddr,
    /// Empty, or begins with a slash and does not end with one.
    pub(super) base: String,
    token: RwLock<Option<Arc<str>>>,
    /// Whether clients are asked for a certificate.
    pub(super) asks_certificates: bool,
    /// Held while the groups are changed, so that no change is lost; the lock of the site itself
    /// is held for a moment only.
    pub(super) edits: Mutex<()>,
    pub(super) watches: Watches,
    /// Decides the order of custom resources in legacy documents.
    pub(super) seed: u64,
    audits: AtomicU64,
}

impl State {
    pub(super) fn new(
        site: Site,
        switches: Switches,
        address: SocketAddr,
        base: String,
        token: Option<String>,
        asks_certificates: bool,
        seed: u64,
    ) -> Self {
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            site: RwLock::new(Arc::new(site)),
            switches: RwLock::new(switches),
            log: Arc::new(Log::new()),
            edits: Mutex::default(),
            watches: Watches::default(),
            address,
            base,
            token: RwLock::new(token.map(Into::into)),
            asks_certificates,
            seed,
            audits: AtomicU64::new(mix(start.as_secs() ^ u64::from(start.subsec_nanos()) << 32)),
        }
    }

    pub(super) fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The token that is asked for.
    pub(super) fn token(&self) -> Option<Arc<str>> {
        self.token
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_token(&self, token: &str) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = Some(token.into());
    }

    /// A value for `Audit-Id`: looks like a random UUID, and never comes twice.
    pub(super) fn audit_id(&self) -> String {
        let count = self.audits.fetch_add(1, Ordering::Relaxed);
        let (high, low) = (mix(count), mix(!count));
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    /// The server's clock.
    pub(super) fn now(&self) -> SystemTime {
        self.shifted(SystemTime::now())
    }

    /// `instant` by the server's clock, as far as dates reach.
    pub(super) fn shifted(&self, instant: SystemTime) -> SystemTime {
        let offset = self
            .switches
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clock_offset;
        let by = Duration::from_secs(offset.unsigned_abs());
        if offset < 0 {
            instant.checked_sub(by).unwrap_or(UNIX_EPOCH)
        } else {
            instant.checked_add(by).unwrap_or(UNIX_EPOCH + LAST)
        }
        .clamp(UNIX_EPOCH, UNIX_EPOCH + LAST)
    }
}

/// A date for a header; the nearest there is for times that no such date can tell.
pub(super) fn fmt_date(instant: SystemTime) -> String {
    httpdate::fmt_http_date(instant.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST))
}
