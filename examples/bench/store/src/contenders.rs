//! The stores that are measured.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use discovery_core::store::{Op, Store, Value};
use discovery_disk::{DiskStore, KubectlStore};
use redb::{Database, Durability, ReadableTable, TableDefinition};

pub(crate) const OPERATIONS: [&str; 4] = ["write", "read", "has", "keys"];

pub(crate) trait Contender {
    fn name(&self) -> &'static str;
    fn open(&self, dir: &Path) -> Box<dyn Open>;
}

pub(crate) trait Open {
    fn write(&mut self, key: &str, value: &[u8]);
    /// The size of the value.
    fn read(&mut self, key: &str) -> usize;
    fn has(&mut self, key: &str) -> bool;
    /// How many keys there are, each of them read.
    fn keys(&mut self) -> usize;
}

pub(crate) fn all() -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(Named("bare system calls", |dir| {
            Box::new(Bare(dir.to_owned()))
        })),
        Box::new(Named("DiskStore", |dir| Box::new(DiskStore::new(dir)))),
        Box::new(Named("KubectlStore", |dir| {
            Box::new(KubectlStore::new(dir))
        })),
        Box::new(Named("cacache", |dir| Box::new(Cacache(dir.to_owned())))),
        Box::new(Named("redb", |dir| Box::new(Redb::new(dir)))),
    ]
}

struct Named(&'static str, fn(&Path) -> Box<dyn Open>);

impl Contender for Named {
    fn name(&self) -> &'static str {
        self.0
    }

    fn open(&self, dir: &Path) -> Box<dyn Open> {
        (self.1)(dir)
    }
}

/// Small work is done in place.
fn done<T>(op: Op<std::io::Result<T>>) -> T {
    match op {
        Op::Ready(outcome) => outcome.expect("a store that works"),
        Op::Wait(_) => panic!("without a runtime all is done in place"),
    }
}

impl Open for DiskStore {
    fn write(&mut self, key: &str, value: &[u8]) {
        done(self.put(key, Value::new("", bytes::Bytes::copy_from_slice(value))));
    }

    fn read(&mut self, key: &str) -> usize {
        done(self.get(key)).map_or(0, |value| value.len())
    }

    fn has(&mut self, key: &str) -> bool {
        self.contains(key).expect("a store that works")
    }

    fn keys(&mut self) -> usize {
        let keys = self.iter_keys("").expect("names that tell their keys");
        keys.map(|key| key.expect("a key").len().min(1)).sum()
    }
}

impl Open for KubectlStore {
    fn write(&mut self, key: &str, value: &[u8]) {
        done(self.put(key, Value::new("", bytes::Bytes::copy_from_slice(value))));
    }

    fn read(&mut self, key: &str) -> usize {
        done(self.get(key)).map_or(0, |value| value.len())
    }

    fn has(&mut self, key: &str) -> bool {
        self.disk().contains(key).expect("a store that works")
    }

    /// Its names are sums, which tell no key: the files are counted.
    fn keys(&mut self) -> usize {
        done(self.size()).values as usize
    }
}

/// The calls that a store can't do without.
struct Bare(PathBuf);

impl Open for Bare {
    fn write(&mut self, key: &str, value: &[u8]) {
        let temporary = self.0.join("temporary");
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&temporary).expect("a file");
        file.write_all(value).expect("room");
        file.set_permissions(fs::Permissions::from_mode(0o660))
            .expect("a mode");
        drop(file);
        fs::rename(&temporary, self.0.join(key)).expect("a name");
    }

    fn read(&mut self, key: &str) -> usize {
        let mut file = File::open(self.0.join(key)).expect("a file");
        let len = file.metadata().expect("a size").len() as usize;
        let mut bytes = Vec::with_capacity(len);
        Read::take(&mut file, len as u64)
            .read_to_end(&mut bytes)
            .expect("bytes");
        bytes.len()
    }

    fn has(&mut self, key: &str) -> bool {
        fs::symlink_metadata(self.0.join(key)).is_ok()
    }

    fn keys(&mut self) -> usize {
        let entries = self.0.read_dir().expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").file_name().len().min(1))
            .sum()
    }
}

struct Cacache(PathBuf);

impl Open for Cacache {
    fn write(&mut self, key: &str, value: &[u8]) {
        cacache::write_sync(&self.0, key, value).expect("room");
    }

    fn read(&mut self, key: &str) -> usize {
        cacache::read_sync(&self.0, key).expect("a value").len()
    }

    fn has(&mut self, key: &str) -> bool {
        cacache::metadata_sync(&self.0, key)
            .expect("an index")
            .is_some()
    }

    fn keys(&mut self) -> usize {
        cacache::list_sync(&self.0)
            .map(|entry| entry.expect("an entry").key.len().min(1))
            .sum()
    }
}

/// One file for all, in which a value costs no name and no descriptor. It syncs nothing, as the others.
struct Redb(Database);

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");

impl Redb {
    fn new(dir: &Path) -> Self {
        Self(Database::create(dir.join("redb")).expect("a database"))
    }
}

impl Open for Redb {
    fn write(&mut self, key: &str, value: &[u8]) {
        let mut transaction = self.0.begin_write().expect("a transaction");
        transaction.set_durability(Durability::None);
        transaction
            .open_table(TABLE)
            .expect("a table")
            .insert(key, value)
            .expect("room");
        transaction.commit().expect("room");
    }

    fn read(&mut self, key: &str) -> usize {
        let transaction = self.0.begin_read().expect("a transaction");
        let table = transaction.open_table(TABLE).expect("a table");
        let value = table.get(key).expect("a value").expect("a value");
        // The others hand out bytes of their own.
        value.value().to_vec().len()
    }

    fn has(&mut self, key: &str) -> bool {
        let transaction = self.0.begin_read().expect("a transaction");
        let table = transaction.open_table(TABLE).expect("a table");
        table.get(key).expect("a table").is_some()
    }

    fn keys(&mut self) -> usize {
        let transaction = self.0.begin_read().expect("a transaction");
        let table = transaction.open_table(TABLE).expect("a table");
        let entries = table.iter().expect("a table");
        entries
            .map(|entry| entry.expect("an entry").0.value().len().min(1))
            .sum()
    }
}
