//! A short way into and out of documents that look exactly as Go writes them.
//!
//! Files of this kind are read and written by the hundred at the start of a program, and nearly all that is read has been
//! written by kubectl or by this crate, or by a server: fields in Go's order, no white space, nothing unknown. It is
//! compared with that text instead of being parsed, and written without a serializer.

mod read;
mod write;

use super::legacy::{ApiGroupList, ApiResourceList};
use super::{ApiGroupDiscoveryList, Kind};

impl Kind for ApiGroupList {
    const KIND: &'static str = "APIGroupList";
    const FIELD: &'static str = "groups";

    fn kind(&self) -> &str {
        &self.kind
    }

    fn read_canonical(text: &str) -> Option<Self> {
        read::group_list(text)
    }

    fn to_line(&self) -> Vec<u8> {
        write::group_list(self)
    }
}

impl Kind for ApiResourceList {
    const KIND: &'static str = "APIResourceList";
    const FIELD: &'static str = "resources";

    fn kind(&self) -> &str {
        &self.kind
    }

    fn read_canonical(text: &str) -> Option<Self> {
        read::resource_list(text)
    }

    fn to_line(&self) -> Vec<u8> {
        write::resource_list(self)
    }
}

impl Kind for ApiGroupDiscoveryList {
    const KIND: &'static str = "APIGroupDiscoveryList";
    const FIELD: &'static str = "items";

    fn kind(&self) -> &str {
        &self.kind
    }

    fn read_canonical(text: &str) -> Option<Self> {
        read::group_discovery_list(text, false)
    }

    fn read_as_sent(text: &str) -> Option<Self> {
        read::group_discovery_list(text, true)
    }
}
