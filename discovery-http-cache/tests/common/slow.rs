//! A store that takes its time.

use discovery_core::store::MapStore;
use discovery_core::testing::{Gate, ScriptedStore, StoreOp};

/// A store that writes nothing before the gate is open.
pub fn slow(store: MapStore, gate: &Gate) -> ScriptedStore {
    let store = ScriptedStore::around(store);
    for write in [StoreOp::Put, StoreOp::Create] {
        store.hold(write, gate);
    }
    store
}
