//! A discovery cache around any HTTP service.
//!
//! The layers that keep discovery answers on disk and in memory differ in where they keep them and
//! for how long, and in nothing else. The rest is here: [`DiscoveryService`] looks at each request
//! and answers it from a [`Cache`], or asks the inner service and fills the cache.
//! It works on HTTP messages, so that every HTTP client becomes a caching discovery client.
//!
//! - `GET` requests for `/api`, `/apis`, `/apis/<group>` and the resource lists below them are
//!   answered, if the known documents allow it, in a format that the request accepts. Everything
//!   else passes untouched, and so do these requests when they are conditional, ask for a range, have
//!   content, name another server in `Host`, or accept a representation that is none of the
//!   [formats](crate::Format), such as `profile=nopeer`.
//! - The service is always ready. A hit needs no ready inner service; other requests wait for one in
//!   their future.
//! - When groups are not known, `/api` and `/apis` are asked at the same time, whichever of the two
//!   the request was for, in aggregated form if the server has it. An aggregated answer tells every
//!   list at once. A single list that is not known is asked for alone, unless the cache
//!   [prefers](Cache::prefers_aggregated) to have all.
//! - A document is told in the same words at a miss as at a hit.
//! - Callers that want the same thing at the same time share one fetch, and its failure: whoever has the
//!   same credentials gets the answer that the leader got for the same path. Where there is no whole
//!   answer, one caller gets the inner service's error, callers of parsed documents get an answer that
//!   stands for it, and the others go on alone, all at once.
//! - Answers that are errors, broken, too large or not what was asked for reach the caller as the
//!   inner service gave them, and are not kept. The inner service's errors come out unchanged.
//!
//! A request can carry [`Refresh`], which makes every cache on its way forget what it knew before; a
//! cache that was invalidated through its [`Handle`] puts one into what it sends on, so that the
//! caches below do not answer it with what it forgot. A request can also carry [`WantParsed`], which says
//! that the caller takes the parsed documents from the response's [`ParsedAnswer`] and needs no body; if the
//! server can't be asked, that caller gets the groups that are known, however few of their lists are.
//! `Cache-Control: no-cache` in a request for groups is a refresh as well; in one for a single list
//! it fetches that list anew.

mod fetch;
mod request;
mod service;
mod state;

pub use self::request::{Options, Scope};
pub use self::service::{Configured, DiscoveryService, Engine, ResponseFuture, Settings};
pub use self::state::{Cache, FetchPermit, Handle, Stats};
pub use crate::http::body::Body;
pub use crate::kube::extensions::{GroupsOnly, ParsedAnswer, Refresh, WantParsed};
