//! A store over [OpenDAL](https://opendal.apache.org), which speaks to S3, Redis and some fifty other
//! services. Here it keeps its values in a directory, through OpenDAL's `fs` service.
//!
//! The conformance suite runs over this file in `tests/opendal.rs`, for the services `memory` and
//! `fs`.
//!
//! ```console
//! $ cargo run -p discovery-examples --example opendal_store
//! 13 bytes, cache Stats { hits: 0, revalidations: 0, misses: 1, … }
//! 13 bytes, cache Stats { hits: 1, revalidations: 0, misses: 1, … }
//! StoreSize { values: 1, bytes: 116 } in /tmp/discovery-opendal-store
//! ```
#![expect(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::{fmt, io};

use bytes::Bytes;
use discovery_core::http::uri::file_name;
use discovery_core::store::{Op, PutOptions, Store, StoreSize, Value, WriteOrder, Writer};
use discovery_http_cache::HttpCacheLayer;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use opendal::services::Fs;
use opendal::{ErrorKind, Operator};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

/// Keeps values in any service of OpenDAL.
#[derive(Clone)]
pub struct OpendalStore {
    operator: Operator,
    /// A request to a service goes on when its future is dropped. It must not overtake a later one.
    order: WriteOrder,
}

struct OpendalWriter {
    /// `None` when the value has been committed.
    writer: Option<opendal::Writer>,
    order: WriteOrder,
    name: String,
}

impl OpendalStore {
    /// A store over `operator`, for use within a Tokio runtime.
    pub fn new(operator: Operator) -> Self {
        Self {
            operator,
            order: WriteOrder::new().spawn(|operation| drop(tokio::spawn(operation))),
        }
    }

    /// The names of all values.
    async fn names(operator: &Operator) -> io::Result<Vec<String>> {
        let entries = operator.list("/").await.map_err(to_io)?;
        let files = entries.iter().filter(|entry| entry.metadata().is_file());
        Ok(files.map(|entry| entry.path().to_owned()).collect())
    }
}

impl Store for OpendalStore {
    fn get(&self, key: &str) -> Op<io::Result<Option<Value>>> {
        // Keys are any strings, and may hold secrets: a hash is a path that every service takes.
        let (operator, name) = (self.operator.clone(), file_name(key));
        Op::wait(async move {
            match operator.read(&name).await {
                Ok(bytes) => Ok(Some(Value::new("", bytes.to_bytes()))),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(to_io(error)),
            }
        })
    }

    /// OpenDAL can't let values expire. A client of Redis would set the time in the options.
    fn put_with(&self, key: &str, value: Value, _options: PutOptions) -> Op<io::Result<()>> {
        let (operator, name) = (self.operator.clone(), file_name(key));
        self.order.run(&file_name(key), async move {
            // In one piece: with an empty part, a write may never come to its end.
            operator
                .write(&name, value.into_bytes())
                .await
                .map_err(to_io)?;
            Ok(())
        })
    }

    fn create_with(
        &self,
        key: &str,
        head: Bytes,
        _options: PutOptions,
    ) -> Op<io::Result<Box<dyn Writer>>> {
        let (operator, order, name) = (self.operator.clone(), self.order.clone(), file_name(key));
        Op::wait(async move {
            let writer = operator.writer(&name).await.map_err(to_io)?;
            let writer = Box::new(OpendalWriter {
                writer: Some(writer),
                order,
                name,
            });
            writer.write(head).await
        })
    }

    fn remove(&self, key: &str) -> Op<io::Result<()>> {
        let (operator, name) = (self.operator.clone(), file_name(key));
        self.order.run(
            &file_name(key),
            async move { delete(&operator, &name).await },
        )
    }

    fn clear(&self) -> Op<io::Result<()>> {
        let this = self.clone();
        Op::wait(async move {
            for name in Self::names(&this.operator).await? {
                let (operator, path) = (this.operator.clone(), name.clone());
                let remove = async move { delete(&operator, &path).await };
                this.order.run(&name, remove).await?;
            }
            Ok(())
        })
    }

    fn size(&self) -> Op<io::Result<StoreSize>> {
        let operator = self.operator.clone();
        Op::wait(async move {
            let mut size = StoreSize::default();
            for name in Self::names(&operator).await? {
                let metadata = operator.stat(&name).await.map_err(to_io)?;
                size.values += 1;
                size.bytes += metadata.content_length();
            }
            Ok(size)
        })
    }
}

impl Writer for OpendalWriter {
    fn write(mut self: Box<Self>, data: Bytes) -> Op<io::Result<Box<dyn Writer>>> {
        Op::wait(async move {
            if let Some(writer) = &mut self.writer
                && !data.is_empty()
            {
                writer.write(data).await.map_err(to_io)?;
            }
            Ok(self as Box<dyn Writer>)
        })
    }

    fn commit(mut self: Box<Self>) -> Op<io::Result<()>> {
        let writer = self.writer.take();
        self.order.run(&self.name, async move {
            if let Some(mut writer) = writer {
                writer.close().await.map_err(to_io)?;
            }
            Ok(())
        })
    }
}

impl Drop for OpendalWriter {
    /// Tells the service that there will be no value.
    fn drop(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            tokio::spawn(async move { writer.abort().await });
        }
    }
}

impl fmt::Debug for OpendalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpendalStore").finish_non_exhaustive()
    }
}

/// Deletes a value. Another process may have done so at the same time.
async fn delete(operator: &Operator, name: &str) -> io::Result<()> {
    match operator.delete(name).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(to_io(error)),
        _ => Ok(()),
    }
}

fn to_io(error: opendal::Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        ErrorKind::RateLimited => io::ErrorKind::ResourceBusy,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let dir = std::env::temp_dir().join("discovery-opendal-store");
    let fs = Fs::default()
        .root(&dir.join("values").to_string_lossy())
        .atomic_write_dir(&dir.join("temporary").to_string_lossy());
    let store = OpendalStore::new(Operator::new(fs)?);

    let cache = HttpCacheLayer::new(store.clone());
    let server = service_fn(|_: Request<Full<Bytes>>| async {
        let response = Response::builder().header("cache-control", "max-age=60");
        response.body(Full::<Bytes>::from("Hello, world!"))
    });
    let mut client = ServiceBuilder::new().layer(&cache).service(server);
    // A second run within a minute finds the document at once.
    for _ in 0..2 {
        let request = Request::get("http://host/document").body(Full::default())?;
        let response = client.ready().await?.call(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        println!("{} bytes, cache {:?}", body.len(), cache.handle().stats());
    }
    println!("{:?} in {}", store.size().await?, dir.display());
    Ok(())
}
