//! The slow model: it remembers everything that was asked and answered, and says of each response
//! whether a cache might have given it.
//!
//! It never says what a cache has to store or reuse. A cache that asks the server each time passes.

mod date;
mod history;
pub(crate) mod rules;
mod selection;
pub(crate) mod text;
mod version;

use std::time::SystemTime;

use http::{HeaderMap, Method, StatusCode};

pub use self::date::date;
pub use self::history::History;
pub use self::rules::Rules;
pub use self::text::{Directive, directives};
pub(crate) use self::version::Version;

/// When something happened: events that happen at the same time have an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The how-many-th event it was.
    pub turn: usize,
    /// The time by the clock.
    pub time: SystemTime,
}

/// A client's request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which one it was.
    pub number: usize,
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// When it was made.
    pub at: Moment,
}

/// A request to the server, and its answer.
#[derive(Clone, Debug)]
pub struct Contact {
    /// The client's request that it was made for.
    pub asked: Asked,
    /// With the conditions that the cache has put in.
    pub headers: HeaderMap,
    /// When it was made.
    pub at: Moment,
    /// The answer, if one came.
    pub answer: Option<Given>,
}

/// The server's answer.
#[derive(Clone, Debug)]
pub struct Given {
    /// Which answer it was.
    pub id: usize,
    /// When.
    pub at: Moment,
    /// `None` if the connection broke.
    pub response: Option<(StatusCode, HeaderMap)>,
    /// All bytes that were sent.
    pub body: Vec<u8>,
    /// Whether these are all that there are, and as many as were announced.
    pub whole: bool,
    /// When the client had read all of it, if it did.
    pub read: Option<Moment>,
}

/// The response to a client.
#[derive(Clone, Debug)]
pub struct Got {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, if the client has read it without an error.
    pub body: Option<Vec<u8>>,
    /// When it came.
    pub at: Moment,
}
