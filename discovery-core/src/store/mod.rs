//! Where a cache keeps its bytes.
//!
//! A [`Store`] maps keys to values and knows nothing of what they mean: no HTTP, no expiry. A
//! cache encodes what it wants to keep, a store keeps it.
//!
//! # Contract
//!
//! Every store promises the following, and the [conformance suite](conformance) checks it.
//!
//! - **Whole values.** [`get`](Store::get) returns the bytes of one successful
//!   [`put`](Store::put) or [`commit`](Writer::commit) of that key, whole, or nothing. It never
//!   returns a mix of two values or a part of one, whatever runs at the same time.
//! - **The bytes, not the split.** What counts in a [`Value`] is `head` followed by `body`. A
//!   store may return the same bytes with another split, an empty `head` included.
//! - **Last write wins.** A `put` or `commit` that has completed is seen by every `get` that starts
//!   after it, in this process. Of concurrent writes, one wins.
//! - **Nothing before the commit.** What a [`Writer`] was given becomes visible with `commit`, at
//!   once. A writer that is dropped leaves no trace.
//! - **Forgetting is allowed.** A store may drop any value at any time: it is a cache. `get` then
//!   returns `None`.
//! - **Keys are any strings**, the empty one, very long ones, and ones with slashes, dots and
//!   control characters included. Two different keys never share a value, and no key reaches
//!   anything outside the store.
//! - **Damage is absence.** A value that the store can tell is damaged is reported as `None`.
//!   Errors are for what may pass or needs an operator: permission denied, no space left.
//! - **Cancelling is safe.** Dropping a future before it is ready leaves the store consistent; the
//!   write may or may not have happened.
//!
//! Stores are cheap to share: wrap one in an [`Arc`] and it is a store again.

mod map;
mod none;
mod op;

#[cfg(feature = "testing")]
pub mod conformance;

use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub use self::map::MapStore;
pub use self::none::NoStore;
pub use self::op::Op;

/// What a [`Store`] keeps under a key: the bytes of `head`, then those of `body`.
///
/// The split lets a cache hand over a small encoded head and a large body without copying the
/// body. It is not part of the value: see the [contract](self#contract).
///
/// ```
/// use discovery_core::store::Value;
///
/// let value = Value::new("head;", "body");
/// assert_eq!(value.len(), 9);
/// assert_eq!(value, Value::new("", "head;body"));
/// assert_eq!(value.into_bytes(), "head;body");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Value {
    /// The first bytes.
    pub head: Bytes,
    /// The bytes after them.
    pub body: Bytes,
}

impl Value {
    /// A value of two parts.
    #[must_use]
    pub fn new(head: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        Self {
            head: head.into(),
            body: body.into(),
        }
    }

    /// How many bytes head and body have together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes in one piece. Copies only if both parts have some.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.head.is_empty() {
            return self.body;
        }
        if self.body.is_empty() {
            return self.head;
        }
        [self.head, self.body].concat().into()
    }
}

/// Values are equal when their bytes are, wherever they are split.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .head
                .iter()
                .chain(&self.body)
                .eq(other.head.iter().chain(&other.body))
    }
}

impl Eq for Value {}

/// Keeps values by key. The [module documentation](self#contract) has the contract.
///
/// ```
/// use discovery_core::store::{MapStore, Store, Value};
/// # tokio_test::block_on(async {
/// let store = MapStore::new();
/// store.put("key", Value::new("", "value")).await?;
/// assert_eq!(store.get("key").await?, Some(Value::new("", "value")));
///
/// let mut writer = store.create("streamed", "head ".into()).await?;
/// writer.write(&"and ".into())?;
/// writer.write(&"body".into())?;
/// writer.commit().await?;
/// assert_eq!(store.get("streamed").await?, Some(Value::new("", "head and body")));
///
/// assert!(store.remove("key").await?);
/// assert_eq!(store.get("key").await?, None);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub trait Store: Send + Sync + 'static {
    /// The value under `key`, or `None`.
    ///
    /// # Errors
    ///
    /// When the store can't tell. A cache treats that as `None` and logs it.
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>>;

    /// Keeps `value` under `key`, in place of what was there.
    ///
    /// # Errors
    ///
    /// When it could not be kept. What was there before may still be there.
    fn put(&self, key: &str, value: Value) -> Op<io::Result<()>>;

    /// Starts a value whose bytes come bit by bit: `head` first, then what the writer is given.
    ///
    /// # Errors
    ///
    /// When nothing can be written.
    fn create(&self, key: &str, head: Bytes) -> Op<io::Result<Box<dyn Writer>>>;

    /// Forgets `key`, and says whether there was something.
    ///
    /// # Errors
    ///
    /// When the value may still be there.
    fn remove(&self, key: &str) -> Op<io::Result<bool>>;
}

/// Takes the bytes of one value. Dropped before [`commit`](Writer::commit), it leaves no trace.
///
/// A writer is made by [`Store::create`], where an example is.
pub trait Writer: Send + 'static {
    /// Takes more bytes, behind those it has.
    ///
    /// Chunks are a response body's frames. A writer to disk may block for as long as it takes to
    /// hand them to the page cache.
    ///
    /// # Errors
    ///
    /// When the bytes could not be taken, for example because the value has become larger than the
    /// store allows. The writer is of no use then and is to be dropped.
    fn write(&mut self, data: &Bytes) -> io::Result<()>;

    /// Publishes the value under its key, at once and whole.
    ///
    /// # Errors
    ///
    /// When it could not be published. What was there before is still there.
    fn commit(self: Box<Self>) -> Op<io::Result<()>>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
                (**self).get(key)
            }

            fn put(&self, key: &str, value: Value) -> Op<io::Result<()>> {
                (**self).put(key, value)
            }

            fn create(&self, key: &str, head: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
                (**self).create(key, head)
            }

            fn remove(&self, key: &str) -> Op<io::Result<bool>> {
                (**self).remove(key)
            }
        }
    )*};
}

forward!(Arc<S>, Box<S>);
