//! Ordeals that a store and the discovery files have to survive: processes that are killed, crowds of them, bits that flip, full
//! and forbidden places, and names that are chosen to do harm.
//!
//! The numbers are such that the whole takes some seconds. The environment asks for more, for example
//! `ORDEAL_KILLS=2000 ORDEAL_PROCESSES=32 ORDEAL_SECONDS=30 ORDEAL_BITS=10000`, and repeats a run with the `ORDEAL_SEED`
//! that it has printed.

mod names;
mod rot;
mod values;

#[cfg(unix)]
mod crash;
#[cfg(unix)]
mod crowd;
#[cfg(unix)]
mod places;
/// The parts of other processes.
#[cfg(unix)]
mod processes;

#[cfg(unix)]
#[path = "../shared/processes.rs"]
mod parts;

/// A number from the environment, or the one that is fit for every day.
fn number(name: &str, or: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(or)
}

/// Where random numbers begin, which is printed.
fn seed(test: &str) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let seed = number("ORDEAL_SEED", RandomState::new().hash_one(test));
    #[allow(clippy::print_stderr, reason = "for whoever repeats the run")]
    {
        eprintln!("{test}: ORDEAL_SEED={seed}");
    }
    seed
}

/// Random numbers (xorshift), the same for one seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
