use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::Bytes;

use super::Gate;
use crate::store::{MapStore, Op, PutOptions, Store, StoreSize, Value, Writer};

/// A store around another one that counts the operations, and makes some of them slow or lets them
/// fail. Clones share everything.
///
/// As long as nothing is told to it, it does what the inner store does. An operation that has to
/// wait has no effect before it goes on, and none if it is dropped first.
///
/// ```
/// use discovery_core::store::{Store, Value};
/// use discovery_core::testing::{Gate, ScriptedStore, StoreOp};
///
/// let (store, gate) = (ScriptedStore::new(), Gate::new());
/// store.hold(StoreOp::Put, &gate);
/// let mut put = tokio_test::task::spawn(store.put("key", Value::new("", "value")));
/// assert!(put.poll().is_pending() && store.inner().is_empty());
/// gate.open();
/// assert!(put.poll().is_ready());
/// assert_eq!(store.inner().len(), 1);
///
/// store.fail(StoreOp::Get);
/// assert!(tokio_test::block_on(store.get("key")).is_err());
/// assert_eq!(store.count(StoreOp::Get), 1);
/// ```
pub struct ScriptedStore<S = MapStore> {
    inner: Arc<S>,
    rules: Arc<Mutex<BTreeMap<StoreOp, Rule>>>,
}

/// An operation of a [`Store`] or of its [`Writer`].
///
/// ```
/// use discovery_core::store::{Store, Value};
/// use discovery_core::testing::{ScriptedStore, StoreOp};
///
/// # tokio_test::block_on(async {
/// let store = ScriptedStore::new();
/// for op in StoreOp::ALL {
///     store.fail(op);
/// }
/// assert!(store.put("key", Value::default()).await.is_err());
/// assert!(store.create("key", "".into()).await.is_err());
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StoreOp {
    /// [`Store::get`]
    Get,
    /// [`Store::put_with`]
    Put,
    /// [`Store::create_with`]
    Create,
    /// [`Writer::write`]
    Write,
    /// [`Writer::commit`]
    Commit,
    /// [`Store::remove`]
    Remove,
    /// [`Store::keys`]
    Keys,
    /// [`Store::clear`]
    Clear,
    /// [`Store::size`]
    Size,
}

impl StoreOp {
    /// All operations.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Put,
        Self::Create,
        Self::Write,
        Self::Commit,
        Self::Remove,
        Self::Keys,
        Self::Clear,
        Self::Size,
    ];
}

type MakeError = Arc<dyn Fn(&str) -> io::Error + Send + Sync>;

/// The treatment of an operation.
#[derive(Clone, Default)]
struct Rule {
    count: usize,
    gate: Option<Gate>,
    pauses: usize,
    error: Option<MakeError>,
}

impl ScriptedStore {
    /// An empty [`MapStore`], until it is told otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> ScriptedStore<S> {
    /// A store that does what `inner` does, until it is told otherwise.
    ///
    /// ```
    /// use discovery_core::store::{NoStore, Store};
    /// use discovery_core::testing::{ScriptedStore, StoreOp};
    ///
    /// let store = ScriptedStore::around(NoStore);
    /// assert_eq!(tokio_test::block_on(store.get("key")).unwrap(), None);
    /// assert_eq!(store.count(StoreOp::Get), 1);
    /// ```
    #[must_use]
    pub fn around(inner: S) -> Self {
        Self {
            inner: Arc::new(inner),
            rules: Arc::default(),
        }
    }

    /// The store that keeps the values.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Holds back each operation of this kind until the gate is open.
    pub fn hold(&self, op: StoreOp, gate: &Gate) {
        self.rules().entry(op).or_default().gate = Some(gate.clone());
    }

    /// Lets each operation of this kind be pending for so many polls. It wakes its task each time.
    ///
    /// ```
    /// use discovery_core::store::Store;
    /// use discovery_core::testing::{ScriptedStore, StoreOp};
    ///
    /// let store = ScriptedStore::new();
    /// store.delay(StoreOp::Get, 1);
    /// let mut get = tokio_test::task::spawn(store.get("key"));
    /// assert!(get.poll().is_pending() && get.is_woken());
    /// assert!(get.poll().is_ready());
    /// ```
    pub fn delay(&self, op: StoreOp, polls: usize) {
        self.rules().entry(op).or_default().pauses = polls;
    }

    /// Fails each operation of this kind with an error of [`io::ErrorKind::Other`].
    pub fn fail(&self, op: StoreOp) {
        self.fail_with(op, move |_| {
            io::Error::other(format!("{op:?} fails in this test"))
        });
    }

    /// Fails each operation of this kind with the error that `make` makes from the key, or from the
    /// prefix for [`StoreOp::Keys`]. It is empty for operations without a key.
    ///
    /// ```
    /// use discovery_core::store::{Store, Value};
    /// use discovery_core::testing::{ScriptedStore, StoreOp};
    /// use std::io::ErrorKind;
    ///
    /// let store = ScriptedStore::new();
    /// store.fail_with(StoreOp::Put, |_| ErrorKind::StorageFull.into());
    /// let put = tokio_test::block_on(store.put("key", Value::default()));
    /// assert_eq!(put.unwrap_err().kind(), ErrorKind::StorageFull);
    /// ```
    pub fn fail_with(&self, op: StoreOp, make: impl Fn(&str) -> io::Error + Send + Sync + 'static) {
        self.rules().entry(op).or_default().error = Some(Arc::new(make));
    }

    /// Ends what [`hold`](Self::hold), [`delay`](Self::delay) and [`fail`](Self::fail) began, for
    /// operations that begin from now on.
    ///
    /// ```
    /// use discovery_core::store::Store;
    /// use discovery_core::testing::{ScriptedStore, StoreOp};
    ///
    /// let store = ScriptedStore::new();
    /// store.fail(StoreOp::Get);
    /// store.heal(StoreOp::Get);
    /// assert!(tokio_test::block_on(store.get("key")).is_ok());
    /// ```
    pub fn heal(&self, op: StoreOp) {
        let mut rules = self.rules();
        let rule = rules.entry(op).or_default();
        *rule = Rule {
            count: rule.count,
            ..Rule::default()
        };
    }

    /// The number of operations of this kind that have begun, those that failed included.
    #[must_use]
    pub fn count(&self, op: StoreOp) -> usize {
        self.rules().get(&op).map_or(0, |rule| rule.count)
    }

    fn rules(&self) -> MutexGuard<'_, BTreeMap<StoreOp, Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out `work` as the rule for `op` has it.
    fn run<T: Send + Unpin + 'static>(
        &self,
        op: StoreOp,
        key: &str,
        work: impl FnOnce() -> Op<io::Result<T>> + Send + 'static,
    ) -> Op<io::Result<T>> {
        let rule = {
            let mut rules = self.rules();
            let rule = rules.entry(op).or_default();
            rule.count += 1;
            rule.clone()
        };
        let error = rule.error.map(|make| make(key));
        let work = move || match error {
            Some(error) => Op::Ready(Err(error)),
            None => work(),
        };
        if rule.gate.is_none() && rule.pauses == 0 {
            return work();
        }
        Op::wait(async move {
            if let Some(gate) = rule.gate {
                gate.opened().await;
            }
            pause(rule.pauses).await;
            work().await
        })
    }
}

/// Is pending for so many polls.
async fn pause(mut polls: usize) {
    poll_fn(|cx| {
        if polls == 0 {
            return Poll::Ready(());
        }
        polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<S: Default> Default for ScriptedStore<S> {
    fn default() -> Self {
        Self::around(S::default())
    }
}

impl<S> Clone for ScriptedStore<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            rules: Arc::clone(&self.rules),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for ScriptedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedStore")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S: Store> Store for ScriptedStore<S> {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        let (inner, name) = (Arc::clone(&self.inner), key.to_owned());
        self.run(StoreOp::Get, key, move || inner.get(&name))
    }

    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>> {
        let (inner, name) = (Arc::clone(&self.inner), key.to_owned());
        self.run(StoreOp::Put, key, move || {
            inner.put_with(&name, value, options)
        })
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let (this, name) = (self.clone(), key.to_owned());
        self.run(StoreOp::Create, key, move || {
            let writer = this.inner.create_with(&name, head, options);
            ScriptedWriter::wrap(this, name, writer)
        })
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        let (inner, name) = (Arc::clone(&self.inner), key.to_owned());
        self.run(StoreOp::Remove, key, move || inner.remove(&name))
    }

    fn keys(&self, prefix: &str) -> Op<io::Result<Vec<String>>> {
        let (inner, name) = (Arc::clone(&self.inner), prefix.to_owned());
        self.run(StoreOp::Keys, prefix, move || inner.keys(&name))
    }

    fn clear(&self) -> Op<io::Result<()>> {
        let inner = Arc::clone(&self.inner);
        self.run(StoreOp::Clear, "", move || inner.clear())
    }

    fn size(&self) -> Op<io::Result<StoreSize>> {
        let inner = Arc::clone(&self.inner);
        self.run(StoreOp::Size, "", move || inner.size())
    }
}

struct ScriptedWriter<S> {
    store: ScriptedStore<S>,
    key: String,
    inner: Box<dyn Writer>,
}

impl<S: Store> ScriptedWriter<S> {
    fn wrap(
        store: ScriptedStore<S>,
        key: String,
        inner: Op<io::Result<Box<dyn Writer>>>,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        inner.map(|inner| {
            let inner = inner?;
            Ok(Box::new(Self { store, key, inner }) as Box<dyn Writer>)
        })
    }
}

impl<S: Store> Writer for ScriptedWriter<S> {
    fn write(self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        let Self { store, key, inner } = *self;
        let (next, name) = (store.clone(), key.clone());
        store.run(StoreOp::Write, &key, move || {
            Self::wrap(next, name, inner.write(data))
        })
    }

    fn commit(self: Box<Self>) -> Op<io::Result<()>> {
        let Self { store, key, inner } = *self;
        store.run(StoreOp::Commit, &key, move || inner.commit())
    }
}
