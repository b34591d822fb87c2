//! `DiskStoreLayer`: record, replay, read through.

mod bodies;
mod keys;
mod modes;
mod services;
mod tools;
mod trouble;
