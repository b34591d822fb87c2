//! The service, and the engine that makes it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::fetch::Miss;
use super::request::{DiscoveryRequest, Options};
use super::state::{Cache, Control, Counters, Handle, Inner};
use crate::BoxError;
use crate::http::body::Body;
use crate::internal::reserved::Oneshot;
use crate::kube::extensions::Refresh;
use crate::store::Op;

/// A [`Cache`] with everything around it that a discovery layer needs. Clones share one state.
///
/// A layer holds one, and makes services from it:
///
/// ```
/// # use discovery_core::engine::{Cache, Scope};
/// # use discovery_core::{Snapshot, store::Op};
/// # use std::sync::{Arc, Mutex};
/// use discovery_core::engine::{Engine, Options};
///
/// /// Keeps everything until it is told not to.
/// #[derive(Default)]
/// struct Keep(Mutex<Arc<Snapshot>>);
///
/// impl Cache for Keep {
///     fn name(&self) -> &'static str { "keep" }
///     fn load(&self, _: &Scope) -> Op<Arc<Snapshot>> { Op::Ready(self.0.lock().unwrap().clone()) }
///     fn save(&self, found: &Arc<Snapshot>) -> Op<()> {
///         Op::Ready(Arc::make_mut(&mut *self.0.lock().unwrap()).merge(found))
///     }
///     fn invalidate(&self) { *self.0.lock().unwrap() = Arc::default(); }
///     fn fresh(&self) -> bool { true }
///     fn answers_unknown(&self) -> bool { true }
/// }
///
/// # type Body = http_body_util::Full<bytes::Bytes>;
/// # let inner = tower::service_fn(|_: http::Request<Body>| async {
/// #     Ok::<_, std::io::Error>(http::Response::new(Body::default()))
/// # });
/// let engine = Engine::new(Keep::default(), Options::new().base_path("/k8s/clusters/c-1"));
/// let service = engine.service(inner);
/// assert_eq!(engine.handle().stats().sent, 0);
/// ```
pub struct Engine<C> {
    inner: Arc<Inner<C>>,
}

/// The settings of a layer, and the [`Engine`] that is made of them when it is first needed.
///
/// A setting can be changed at any time and always takes effect, on the value that it is changed on: that
/// value gets an engine of its own, with nothing in it. Clones share one engine, until a setting of one of
/// them is changed.
///
/// ```
/// # use discovery_core::engine::{Cache, Scope};
/// # use discovery_core::{Snapshot, store::Op};
/// use discovery_core::engine::{Configured, Engine, Options, Settings};
///
/// # #[derive(Clone)]
/// # struct Nothing;
/// # impl Cache for Nothing {
/// #     fn name(&self) -> &'static str { "nothing" }
/// #     fn load(&self, _: &Scope) -> Op<std::sync::Arc<Snapshot>> { Op::Ready(Default::default()) }
/// #     fn save(&self, _: &std::sync::Arc<Snapshot>) -> Op<()> { Op::Ready(()) }
/// #     fn invalidate(&self) {}
/// #     fn fresh(&self) -> bool { true }
/// #     fn answers_unknown(&self) -> bool { false }
/// # }
/// #[derive(Clone)]
/// struct MySettings { options: Options }
///
/// impl Settings for MySettings {
///     type Cache = Nothing;
///     fn engine(&self) -> Engine<Nothing> { Engine::new(Nothing, self.options.clone()) }
/// }
///
/// let layer = Configured::new(MySettings { options: Options::new() });
/// let smaller = layer.clone().set(|settings| {
///     settings.options = settings.options.clone().max_body_size(1 << 20);
/// });
/// assert_ne!(layer.settings().options, smaller.settings().options);
/// ```
pub struct Configured<S: Settings> {
    settings: S,
    engine: OnceLock<Engine<S::Cache>>,
}

/// Settings that an [`Engine`] can be made of. The example is at [`Configured`].
pub trait Settings: Clone {
    /// The cache of the engine.
    type Cache: Cache;

    /// Makes an engine.
    fn engine(&self) -> Engine<Self::Cache>;
}

/// An HTTP service behind a discovery cache. The [module documentation](super) tells what it does.
///
/// Made by [`Engine::service`], or by a layer. It is always ready: a request that the cache answers needs no
/// ready inner service, and any other one waits for it in its future. Request bodies must be made from
/// [`Bytes`] somehow, because the cache sends requests of its own.
pub struct DiscoveryService<S, C> {
    service: S,
    engine: Engine<C>,
}

impl<C: Cache> Engine<C> {
    /// Makes an engine around `cache`.
    #[must_use]
    pub fn new(cache: C, options: Options) -> Self {
        Self {
            inner: Arc::new(Inner::new(cache, options)),
        }
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &C {
        &self.inner.cache
    }

    /// A handle.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.inner) as Arc<dyn Control>)
    }

    /// Wraps a service. All services of an engine share its cache.
    pub fn service<S>(&self, inner: S) -> DiscoveryService<S, C> {
        DiscoveryService {
            service: inner,
            engine: self.clone(),
        }
    }
}

impl<S: Settings> Configured<S> {
    /// Takes settings, and makes nothing of them yet.
    pub const fn new(settings: S) -> Self {
        Self {
            settings,
            engine: OnceLock::new(),
        }
    }

    /// Changes the settings. An engine that was made before stays with its services, handles and clones.
    #[must_use]
    pub fn set(mut self, change: impl FnOnce(&mut S)) -> Self {
        change(&mut self.settings);
        self.engine = OnceLock::new();
        self
    }

    /// The settings.
    pub const fn settings(&self) -> &S {
        &self.settings
    }

    /// The engine.
    pub fn engine(&self) -> &Engine<S::Cache> {
        self.engine.get_or_init(|| self.settings.engine())
    }
}

impl<S, C, B, RB> Service<Request<B>> for DiscoveryService<S, C>
where
    C: Cache,
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Error: Send + 'static,
    S::Future: Send,
    B: HttpBody + From<Bytes> + Send + 'static,
    RB: HttpBody<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError> + Send,
{
    type Response = Response<Body<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, RB>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let inner = &self.engine.inner;
        let cache = inner.cache.name();
        let (mut discovery, refresh) = match DiscoveryRequest::read(&request, &inner.options) {
            Ok(read) => read,
            Err(reason) => {
                Counters::count(&inner.counters.passed);
                let path = request.uri().path();
                tracing::debug!(cache, decision = "pass", reason, %path);
                let future = Oneshot::new(self.service.clone(), request);
                return ResponseFuture::new(Kind::Pass { future });
            }
        };
        if let Some(refresh) = refresh {
            inner.refresh(refresh, "a request asked for it");
        }
        discovery.generation = inner.generation();
        let saves = inner.saves();
        let (load, known) = match inner.load(&discovery) {
            Some(Op::Ready(snapshot)) => match inner.answer(&discovery, &snapshot, true) {
                Some(response) => {
                    Counters::count(&inner.counters.hits);
                    let path = request.uri().path();
                    tracing::debug!(cache, decision = "hit", %path);
                    let response = Some(response);
                    return ResponseFuture::new(Kind::Hit { response });
                }
                None => (None, Some(snapshot)),
            },
            load => (load, None),
        };
        // Documents that the caches below knew before the last refresh must not come back as new, and all
        // requests that are sent for one caller are one refresh.
        if discovery.generation > 0 {
            let refresh = Refresh::from_generation(discovery.generation);
            request.extensions_mut().insert(refresh);
        }
        let (parts, body) = request.into_parts();
        let miss = Miss {
            inner: Arc::clone(inner),
            discovery,
            parts,
            body,
            service: self.service.clone(),
            known,
            saves,
        };
        ResponseFuture::new(Kind::Miss {
            future: Box::pin(miss.answer(load)),
        })
    }
}

pin_project! {
    /// The future of a [`DiscoveryService`]. For a hit it is ready at once. For a request that passes it is the
    /// inner service's, once that is ready.
    pub struct ResponseFuture<S, B, RB>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        kind: Kind<S, B, RB, S::Error>,
    }
}

type Answered<RB, E> = Result<Response<Body<RB>>, E>;

pin_project! {
    #[project = KindProj]
    enum Kind<S, B, RB, E>
    where
        S: Service<Request<B>>,
    {
        Pass { #[pin] future: Oneshot<S, Request<B>> },
        Hit { response: Option<Response<Body<RB>>> },
        Miss { future: Pin<Box<dyn Future<Output = Answered<RB, E>> + Send>> },
    }
}

impl<S: Service<Request<B>>, B, RB> ResponseFuture<S, B, RB> {
    const fn new(kind: Kind<S, B, RB, S::Error>) -> Self {
        Self { kind }
    }
}

impl<S, B, RB> Future for ResponseFuture<S, B, RB>
where
    S: Service<Request<B>, Response = Response<RB>>,
{
    type Output = Answered<RB, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Pass { future } => future
                .poll(cx)
                .map_ok(|response| response.map(Body::passed)),
            KindProj::Hit { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            KindProj::Miss { future } => future.as_mut().poll(cx),
        }
    }
}

impl<C> Clone for Engine<C> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

/// Makes the engine, so that the clone shares it.
impl<S: Settings> Clone for Configured<S> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            engine: OnceLock::from(self.engine().clone()),
        }
    }
}

impl<S: Clone, C> Clone for DiscoveryService<S, C> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            engine: self.engine.clone(),
        }
    }
}

impl<C: Cache> fmt::Debug for Engine<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("cache", &self.inner.cache.name())
            .field("stats", &self.inner.counters.read())
            .finish_non_exhaustive()
    }
}

impl<S: Settings + fmt::Debug> fmt::Debug for Configured<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configured")
            .field("settings", &self.settings)
            .field("engine", &self.engine.get())
            .finish()
    }
}

impl<S: fmt::Debug, C: Cache> fmt::Debug for DiscoveryService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveryService")
            .field("service", &self.service)
            .field("engine", &self.engine)
            .finish()
    }
}

impl<S: Service<Request<B>>, B, RB> fmt::Debug for ResponseFuture<S, B, RB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Pass { .. } => "ResponseFuture(pass)",
            Kind::Hit { .. } => "ResponseFuture(hit)",
            Kind::Miss { .. } => "ResponseFuture(miss)",
        })
    }
}
