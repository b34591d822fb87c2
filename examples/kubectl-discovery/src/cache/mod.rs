//! `cache`: a look at kubectl's caches, and their care.
//!
//! Only files that have the names and places of the caches' own are touched, and nothing behind a
//! symbolic link: the directory may have been named by mistake.

mod args;
mod check;
mod explain;
mod files;
mod list;
mod remove;
mod verify;

pub(crate) use self::args::Cache;

use crate::args::Global;
use crate::errors::Fatal;
use crate::session::{Session, cache_root};

pub(crate) fn run(global: Global, command: &Cache) -> Result<(), Fatal> {
    let ttl = global.cache_ttl;
    match command {
        Cache::Explain(flags) => explain::run(&Session::start(global)?, ttl, flags),
        Cache::Clear(flags) if !flags.all => remove::clear(&Session::start(global)?, flags.dry_run),
        // None of these needs a server, or a configuration that can be read.
        Cache::List(flags) => list::run(&cache_root(global.cache_dir), ttl, flags),
        Cache::Verify(flags) => verify::run(&cache_root(global.cache_dir), flags),
        Cache::Prune(flags) => remove::prune(&cache_root(global.cache_dir), flags),
        Cache::Clear(flags) => remove::clear_all(&cache_root(global.cache_dir), flags.dry_run),
    }
}
