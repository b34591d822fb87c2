//! Where a cache keeps its bytes.
//!
//! A [`Store`] maps keys to values and does not interpret them: it knows no HTTP, and decides no
//! freshness. A cache encodes an entry, and a store keeps the bytes.
//!
//! # Contract
//!
//! Every store promises the following, and the [conformance suite](crate::testing::conformance) checks it.
//!
//! - **Whole values.** [`get`](Store::get) returns the bytes of one successful
//!   [`put`](Store::put) or [`commit`](Writer::commit) of that key, whole, or nothing. It never
//!   returns a mix of two values or a part of one, whatever runs at the same time.
//! - **The bytes, not the split.** A [`Value`] is `head` followed by `body`. A store may return the
//!   same bytes with another split, an empty `head` included.
//! - **Last write wins.** A `put` or `commit` that has completed is seen by every `get` that starts
//!   after it, in this process. Of concurrent writes, one wins.
//! - **Nothing before the commit.** The bytes that a [`Writer`] was given become visible with
//!   `commit`, at once. A writer that is dropped leaves no trace.
//! - **Forgetting is allowed.** A store may drop any value at any time: it is a cache. `get` then
//!   returns `None`.
//! - **Removing is idempotent.** After a [`remove`](Store::remove) that has completed, `get` finds
//!   nothing until the key is written again. To remove a key that is not there is no error, and
//!   nobody is told whether it was there: a store behind a network cannot know.
//! - **Keys are any strings**, the empty one, very long ones, and ones with slashes, dots and
//!   control characters included. Two different keys never share a value, and no key reaches
//!   anything outside the store.
//! - **Keys are secret.** A key may hold a password or a token. It appears in no event and in no
//!   error text of the store, unless it is [redacted](crate::http::uri::Redacted).
//! - **Damage is absence.** A value that the store can tell is damaged is reported as `None`.
//!   Errors are for causes that may pass or that need an operator: permission denied, no space left.
//! - **Cancelling is safe.** Dropping a future before it is ready leaves the store consistent. A
//!   write or removal that was given up so may or may not happen, and it may still happen after
//!   the drop; but never after a later one. Once a `put`, `commit` or `remove` of the same key that
//!   was begun after the drop has completed, the earlier one has no effect any more.
//!
//! An operation that goes on when its future is dropped needs care to keep the last promise: a
//! request to a server, or work on another thread. [`WriteOrder`] keeps it for such stores.
//!
//! Stores are cheap to share: wrap one in an [`Arc`] and it is a store again.
//!
//! # Writing a store
//!
//! Three methods are required beside [`get`](Store::get): [`put_with`](Store::put_with),
//! [`create_with`](Store::create_with) and [`remove`](Store::remove). A store that takes whole
//! values returns a [`Buffered`] writer from `create_with`:
//!
//! ```
//! use std::collections::HashMap;
//! use std::io;
//! use std::sync::{Arc, Mutex};
//!
//! use bytes::Bytes;
//! use discovery_core::store::{Buffered, Op, PutOptions, Store, Value, Writer};
//!
//! #[derive(Clone, Default)]
//! struct Map(Arc<Mutex<HashMap<String, Value>>>);
//!
//! impl Store for Map {
//!     fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
//!         Op::Ready(Ok(self.0.lock().unwrap().get(key).cloned()))
//!     }
//!
//!     fn put_with(&self, key: &str, value: Value, _: PutOptions) -> Op<io::Result<()>> {
//!         self.0.lock().unwrap().insert(key.to_owned(), value);
//!         Op::Ready(Ok(()))
//!     }
//!
//!     fn create_with(
//!         &self,
//!         key: &str,
//!         head: Bytes,
//!         options: PutOptions,
//!     ) -> Op<io::Result<Box<dyn Writer>>> {
//!         Op::Ready(Ok(Box::new(Buffered::new(self.clone(), key, head, options))))
//!     }
//!
//!     fn remove(&self, key: &str) -> Op<io::Result<()>> {
//!         self.0.lock().unwrap().remove(key);
//!         Op::Ready(Ok(()))
//!     }
//! }
//! # tokio_test::block_on(async {
//! let store = Map::default();
//! let writer = store.create("key", "one ".into()).await?;
//! writer.write("two".into()).await?.commit().await?;
//! assert_eq!(store.get("key").await?, Some(Value::new("", "one two")));
//! # io::Result::Ok(())
//! # }).unwrap();
//! ```

mod buffered;
mod map;
mod none;
mod op;
mod options;
mod order;

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

pub use self::buffered::Buffered;
pub use self::map::MapStore;
pub use self::none::NoStore;
pub use self::op::Op;
pub use self::options::{PutOptions, StoreSize};
pub use self::order::WriteOrder;

/// The value that a [`Store`] keeps under a key: the bytes of `head`, then those of `body`.
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
#[non_exhaustive]
pub struct Value {
    /// The first bytes.
    pub head: Bytes,
    /// The bytes after them.
    pub body: Bytes,
    /// When the value was stored or renewed, in a value that a store returns, if the store knows.
    pub stored_at: Option<SystemTime>,
}

impl Value {
    /// A value of two parts.
    #[must_use]
    pub fn new(head: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        Self {
            head: head.into(),
            body: body.into(),
            stored_at: None,
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

/// Values are equal when their bytes are, wherever they are split, and whenever they were stored.
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
/// for piece in ["and ", "body"] {
///     writer = writer.write(piece.into()).await?;
/// }
/// writer.commit().await?;
/// assert_eq!(store.get("streamed").await?, Some(Value::new("", "head and body")));
///
/// store.remove("key").await?;
/// assert_eq!(store.get("key").await?, None);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
pub trait Store: Send + Sync + 'static {
    /// Returns the value under `key`, or `None`.
    ///
    /// # Errors
    ///
    /// When the store can't tell. A cache treats that as `None` and logs it.
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>>;

    /// Keeps `value` under `key`, in place of the value that was there.
    ///
    /// The options may be ignored: each of them is a hint.
    ///
    /// # Errors
    ///
    /// When the value could not be kept. The one that was there before may still be there.
    fn put_with(&self, key: &str, value: Value, options: PutOptions) -> Op<io::Result<()>>;

    /// Starts a value whose bytes come piece by piece: `head` first, then the bytes that the writer
    /// is given.
    ///
    /// The options are those of [`put_with`](Self::put_with). A time in them counts from the commit.
    ///
    /// # Errors
    ///
    /// When nothing can be written.
    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>>;

    /// Forgets `key`, whether or not there is a value.
    ///
    /// # Errors
    ///
    /// When the value may still be there.
    fn remove(&self, key: &str) -> Op<io::Result<()>>;

    /// Keeps `value` under `key`, without any option. This is for callers; stores implement
    /// [`put_with`](Self::put_with).
    ///
    /// # Errors
    ///
    /// Those of [`put_with`](Self::put_with).
    fn put(&self, key: &str, value: Value) -> Op<io::Result<()>> {
        self.put_with(key, value, PutOptions::default())
    }

    /// Starts a value without any option. This is for callers; stores implement
    /// [`create_with`](Self::create_with).
    ///
    /// # Errors
    ///
    /// Those of [`create_with`](Self::create_with).
    fn create(&self, key: &str, head: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        self.create_with(key, head, PutOptions::default())
    }

    /// Lists the keys that begin with `prefix`, in no order; all keys for an empty prefix.
    ///
    /// This is for administration, not for each request: it may take as long as reading all
    /// entries. A key that is written or removed meanwhile may be in the list or not.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] if the store does not know its keys, which is the default.
    /// Others when they can't be read.
    fn keys(&self, prefix: &str) -> Op<io::Result<Vec<String>>> {
        let _ = prefix;
        Op::Ready(Err(unsupported("the store does not list its keys")))
    }

    /// Forgets all keys. A value that is written meanwhile may stay.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] if the store can't, which is the default. Others when values
    /// may still be there.
    fn clear(&self) -> Op<io::Result<()>> {
        Op::Ready(Err(unsupported("the store can't be cleared")))
    }

    /// Counts the values and their bytes. As [`keys`](Self::keys), this may take long.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] if the store can't tell, which is the default. Others when the
    /// values can't be counted.
    fn size(&self) -> Op<io::Result<StoreSize>> {
        Op::Ready(Err(unsupported("the store does not know its size")))
    }
}

/// Takes the bytes of one value. Dropped before [`commit`](Writer::commit), it leaves no trace.
///
/// A writer is made by [`Store::create`], where an example is. Each write consumes the writer and
/// returns it with the outcome, so that a store may take its time for a write without borrowing from
/// anybody, and so that a writer is gone when a write has failed. One that answers at once, which
/// is the rule, costs no allocation.
pub trait Writer: Send + 'static {
    /// Takes more bytes, behind those it has. The writer comes back when it can take more.
    ///
    /// Chunks are a response body's frames. A writer to disk may block for as long as it takes to
    /// hand them to the page cache.
    ///
    /// # Errors
    ///
    /// When the bytes could not be taken, for example because the value has become larger than the
    /// store allows.
    fn write(self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>>;

    /// Publishes the value under its key, at once and whole.
    ///
    /// # Errors
    ///
    /// When it could not be published. The value that was there before is still there.
    fn commit(self: Box<Self>) -> Op<io::Result<()>>;
}

fn unsupported(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
                (**self).get(key)
            }

            fn put_with(
                &self,
                key: &str,
                value: Value,
                options: PutOptions,
            ) -> Op<io::Result<()>> {
                (**self).put_with(key, value, options)
            }

            fn create_with(
                &self,
                key: &str,
                head: Bytes,
                options: PutOptions,
            ) -> Op<io::Result<Box<dyn Writer>>> {
                (**self).create_with(key, head, options)
            }

            fn remove(&self, key: &str) -> Op<io::Result<()>> {
                (**self).remove(key)
            }

            fn keys(&self, prefix: &str) -> Op<io::Result<Vec<String>>> {
                (**self).keys(prefix)
            }

            fn clear(&self) -> Op<io::Result<()>> {
                (**self).clear()
            }

            fn size(&self) -> Op<io::Result<StoreSize>> {
                (**self).size()
            }
        }
    )*};
}

forward!(Arc<S>, Box<S>);
