//! The scopes that a cache is asked for, and the time when it keeps documents.

use std::sync::{Arc, Mutex, OnceLock};

use discovery_core::engine::{Cache, Engine, Handle, Scope};
use discovery_core::store::Op;
use discovery_core::{Accept, Format, Snapshot};

use crate::tools::*;

/// Notes what it is asked for, and invalidates itself while it saves.
#[derive(Clone, Default)]
struct Noting(Arc<Notes>);

#[derive(Default)]
struct Notes {
    needs: Mutex<Vec<Scope>>,
    saved: Mutex<u32>,
    handle: OnceLock<Handle>,
}

impl Cache for Noting {
    fn name(&self) -> &'static str {
        "noting"
    }

    fn load(&self, need: &Scope) -> Op<Arc<Snapshot>> {
        self.0.needs.lock().unwrap().push(need.clone());
        Op::Ready(Arc::default())
    }

    fn save(&self, _: &Arc<Snapshot>) -> Op<()> {
        let notes = Arc::clone(&self.0);
        Op::wait(async move {
            // The engine would wait for itself if it were locked now.
            notes.handle.get().unwrap().invalidate();
            *notes.saved.lock().unwrap() += 1;
        })
    }

    fn invalidate(&self) {}

    fn fresh(&self) -> bool {
        true
    }

    fn answers_unknown(&self) -> bool {
        false
    }
}

#[test]
fn the_work_of_saving_is_done_after_the_lock_and_before_the_answer() {
    let cache = Noting::default();
    let (inner, mut server) = Server::new();
    let engine = Engine::new(cache.clone(), Options::new());
    cache.0.handle.set(engine.handle()).unwrap();
    let service = engine.service(inner);
    let mut groups = call(&service, get("/apis"));
    server.groups(json(Format::V2, CORE), json(Format::V2, OTHERS));
    assert_eq!(done(&mut groups).status(), 200);
    assert_eq!(*cache.0.saved.lock().unwrap(), 1);
    let mut single = call(&service, get("/apis/a/v1"));
    server.expect("/apis/a/v1").send_response(list("a/v1"));
    assert_eq!(done(&mut single).status(), 200);
    assert_eq!(*cache.0.saved.lock().unwrap(), 2);
}

#[test]
fn no_more_is_asked_for_than_the_answer_needs() {
    let cache = Noting::default();
    let (inner, _server) = Server::new();
    let service = Engine::new(cache.clone(), Options::new()).service(inner);
    for (path, accept, need) in [
        ("/apis", "application/json", Scope::Groups),
        ("/api", Accept::KUBECTL, Scope::Core),
        ("/apis", Accept::KUBECTL, Scope::Everything),
        ("/apis/a", Accept::KUBECTL, Scope::Groups),
        ("/apis/a", "application/json", Scope::Groups),
        (
            "/apis/a/v1",
            Accept::KUBECTL,
            Scope::Resources("a/v1".parse().unwrap()),
        ),
    ] {
        let _call = call(&service, accepting(path, accept));
        assert_eq!(
            std::mem::take(&mut *cache.0.needs.lock().unwrap()),
            [need],
            "{path}"
        );
    }
}
