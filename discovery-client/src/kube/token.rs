//! Tokens in files.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use discovery_core::sync::clock::{Clock, SystemClock};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use kube::config::AuthInfo;
use tower_layer::Layer;
use tower_service::Service;

/// How long a token counts before its file is read again, as in client-go.
const PERIOD: Duration = Duration::from_secs(50);

/// Sends the token of a file, as client-go does: the file counts more than a token beside it, it is read again about once
/// a minute, and white space around the token is none of it. If the file can't be read any more, the last token stays.
#[derive(Clone)]
pub(super) struct TokenFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    last: Arc<Mutex<Option<(HeaderValue, SystemTime)>>>,
}

#[derive(Clone)]
pub(super) struct WithToken<S> {
    inner: S,
    file: Option<TokenFile>,
}

impl TokenFile {
    /// Takes the file out of the credentials, with the token and the plugin that count less, so that kube sends none of
    /// them.
    pub(super) fn take(user: &mut AuthInfo) -> Option<Self> {
        let path = user.token_file.take().filter(|path| !path.is_empty())?;
        user.token = None;
        user.exec = None;
        Some(Self {
            path: path.into(),
            clock: Arc::new(SystemClock),
            last: Arc::default(),
        })
    }

    fn token(&self) -> Option<HeaderValue> {
        let now = self.clock.now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_young = |since: SystemTime| now.duration_since(since).is_ok_and(|age| age < PERIOD);
        if let Some((token, since)) = &*last
            && is_young(*since)
        {
            return Some(token.clone());
        }
        let read = fs::read_to_string(&self.path).ok();
        let token = read.and_then(|text| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim())).ok()?;
            value.set_sensitive(true);
            (!text.trim().is_empty()).then_some(value)
        });
        match (token, &mut *last) {
            (Some(token), _) => *last = Some((token, now)),
            (None, Some((_, since))) => *since = now,
            (None, None) => {
                tracing::warn!(file = %self.path.display(), "the file with the token gives none");
            }
        }
        last.as_ref().map(|(token, _)| token.clone())
    }
}

/// A layer for requests that may need the token of a file.
pub(super) struct TokenLayer(pub(super) Option<TokenFile>);

impl<S> Layer<S> for TokenLayer {
    type Service = WithToken<S>;

    fn layer(&self, inner: S) -> WithToken<S> {
        let file = self.0.clone();
        WithToken { inner, file }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for WithToken<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(token) = self.file.as_ref().and_then(TokenFile::token) {
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use discovery_core::sync::clock::ManualClock;
    use kube::config::ExecConfig;

    use super::*;

    fn plugin() -> ExecConfig {
        serde_json::from_str(r#"{"command":"false","interactiveMode":"Never"}"#).unwrap()
    }

    #[test]
    fn a_token_is_read_again_and_has_no_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "one\n").unwrap();
        let mut user = AuthInfo {
            token_file: Some(path.to_str().unwrap().into()),
            token: Some("inline".to_owned().into()),
            exec: Some(plugin()),
            ..AuthInfo::default()
        };
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
        let file = TokenFile {
            clock: Arc::new(clock.clone()),
            ..TokenFile::take(&mut user).unwrap()
        };
        assert!(user.token.is_none() && user.token_file.is_none() && user.exec.is_none());
        let token = || file.token().unwrap().to_str().unwrap().to_owned();
        assert_eq!(token(), "Bearer one");
        fs::write(&path, " two \r\n").unwrap();
        assert_eq!(token(), "Bearer one");
        clock.advance(Duration::from_secs(60));
        assert_eq!(token(), "Bearer two");
        fs::remove_file(&path).unwrap();
        clock.advance(Duration::from_secs(60));
        assert_eq!(token(), "Bearer two");
        assert!(file.token().unwrap().is_sensitive());
        assert!(TokenFile::take(&mut user).is_none());
    }
}
