//! The whole decision function, against the model.

use discovery_http_cache_fuzz::scenario::Scenario;
use discovery_http_cache_fuzz::{World, target};

#[test]
fn decision() {
    target!(Scenario, 4_000, |scenario: &Scenario| World::run(scenario));
}
