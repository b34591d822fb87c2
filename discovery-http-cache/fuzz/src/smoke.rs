use std::fmt::Debug;

use bolero::Test;
use bolero::bolero_engine::{Engine, driver, input};

/// A bolero engine without chance: the same inputs in each run, so that a change is not blamed for
/// what was there before it.
///
/// The inputs are bytes, as a fuzzing engine makes them, and are shrunk as those are.
#[derive(Clone, Copy, Debug)]
pub struct Smoke {
    runs: u64,
}

impl Smoke {
    /// An engine that tries `runs` inputs.
    ///
    /// ```
    /// use bolero::TestTarget;
    /// use discovery_http_cache_fuzz::Smoke;
    ///
    /// TestTarget::new(Smoke::new(10))
    ///     .with_type::<(u8, u8)>()
    ///     .for_each(|(a, b)| assert_eq!(a.max(b), b.max(a)));
    /// ```
    #[must_use]
    pub const fn new(runs: u64) -> Self {
        Self { runs }
    }

    /// Whether to look at these inputs only: unless bolero or a fuzzing engine behind it has been told
    /// what to do.
    ///
    /// ```
    /// let names = ["PATH", "BOLERO_RANDOM_ITERATIONS"];
    /// assert!(!discovery_http_cache_fuzz::Smoke::is_wanted(names));
    /// ```
    #[must_use]
    #[allow(unexpected_cfgs, reason = "fuzzing engines set it")]
    pub fn is_wanted<N: AsRef<str>>(variables: impl IntoIterator<Item = N>) -> bool {
        !cfg!(fuzzing)
            && !variables
                .into_iter()
                .any(|name| name.as_ref().contains("BOLERO_"))
    }
}

impl<T: Test<Value: Debug>> Engine<T> for Smoke {
    type Output = ();

    fn run(self, mut test: T, options: driver::Options) {
        bolero::bolero_engine::panic::set_hook();
        bolero::bolero_engine::panic::forward_panic(false);
        bolero::bolero_engine::panic::capture_backtrace(false);
        let mut failure = None;
        for run in 0..self.runs {
            let bytes = noise(run);
            if let Err(error) = test.test(&mut input::Bytes::new(&bytes, &options)) {
                let shrunken = test.shrink(bytes, None, &options);
                let input =
                    shrunken.map_or_else(|| error.to_string(), |small| format!("{small:#}"));
                failure = Some(format!("run {run}: {input}"));
                break;
            }
        }
        bolero::bolero_engine::panic::forward_panic(true);
        if let Some(failure) = failure {
            panic!("{failure}");
        }
    }
}

/// Bytes that look random, and are the same for the same number (SplitMix64). Few at first.
fn noise(run: u64) -> Vec<u8> {
    let size = 16 << (run % 7);
    let mut state = run.wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..size / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// Runs a target: `target!(type, runs, function)` calls the function with references to values of
/// the type. With bolero's variables or under a fuzzing engine it runs as they say, else `runs` times,
/// with the same values each time.
#[macro_export]
macro_rules! target {
    ($type:ty, $runs:expr, $function:expr) => {{
        let names = ::std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        if $crate::Smoke::is_wanted(names) {
            ::bolero::TestTarget::new($crate::Smoke::new($runs))
                .with_type::<$type>()
                .for_each($function);
        } else {
            ::bolero::check!().with_type::<$type>().for_each($function);
        }
    }};
}
