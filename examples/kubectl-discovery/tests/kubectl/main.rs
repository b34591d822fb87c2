//! Real kubectl and `kubectl-discovery`, side by side, on the embedded API server.
//!
//! kubectl 1.37 is taken from `DISCOVERY_TEST_KUBECTL`, or from the `PATH`. Without one these tests
//! say so and pass, unless `DISCOVERY_TEST_REQUIRE_KUBECTL=1`.

mod entry;
mod explain;
mod failures;
#[path = "../support/kube_config.rs"]
mod kube_config;
mod mapper;
mod odd;
mod output;
mod plugin;
#[path = "../support/refused.rs"]
mod refused;
mod rig;
mod rules;
#[path = "../support/run.rs"]
mod run;
mod settings;
mod sharing;
#[path = "../support/tree.rs"]
mod tree;
