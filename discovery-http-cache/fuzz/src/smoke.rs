use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bolero::Test;
use bolero::bolero_engine::{Engine, driver, input};

/// A bolero engine that needs no fuzzer.
///
/// It tries the same few inputs in each run, so that a change is not blamed for a fault that was there
/// before it. If it is given time, it goes on with inputs that depend on a seed. The inputs are bytes, as a
/// fuzzing engine makes them, and are shrunk as those are.
#[derive(Clone, Copy, Debug)]
pub struct Smoke {
    inputs: u64,
    more: Option<More>,
}

/// Inputs beyond those of each run.
#[derive(Clone, Copy, Debug)]
struct More {
    seed: u64,
    first: u64,
    time: Duration,
}

impl Smoke {
    /// An engine that tries `inputs` inputs, which are the same each time.
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
    pub const fn new(inputs: u64) -> Self {
        Self { inputs, more: None }
    }

    /// As the environment says. `FUZZ_SECONDS` is the time for further inputs, in seconds for each target.
    /// They depend on `FUZZ_SEED`, a number; by default it is the number of days since 1970. `FUZZ_INPUT` is
    /// the number of the first one, which repeats a failure at once.
    ///
    /// ```
    /// use discovery_http_cache_fuzz::Smoke;
    ///
    /// let smoke = Smoke::new(10).configured(|name| match name {
    ///     "FUZZ_SECONDS" => Some("1".to_owned()),
    ///     "FUZZ_SEED" => Some("42".to_owned()),
    ///     _ => None,
    /// });
    /// assert_eq!(smoke.seed(), Some(42));
    /// assert_eq!(Smoke::new(10).configured(|_| None).seed(), None);
    /// ```
    ///
    /// # Panics
    ///
    /// When one of the variables is set to something else than a number.
    #[must_use]
    pub fn configured(self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name| {
            let text = variable(name)?;
            let number = text.parse::<u64>();
            Some(number.unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
        };
        let today = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.unwrap_or_default().as_secs() / (24 * 60 * 60)
        };
        let more = number("FUZZ_SECONDS").map(|seconds| More {
            seed: number("FUZZ_SEED").unwrap_or_else(today),
            first: number("FUZZ_INPUT").unwrap_or_default(),
            time: Duration::from_secs(seconds),
        });
        Self { more, ..self }
    }

    /// The seed of the further inputs, if there are any.
    #[must_use]
    pub const fn seed(&self) -> Option<u64> {
        match self.more {
            Some(more) => Some(more.seed),
            None => None,
        }
    }

    /// Whether to look at these inputs only: unless bolero or a fuzzing engine behind it has been
    /// configured.
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

    /// Tries inputs until one fails, and returns the failure with how to repeat it.
    fn try_all<T: Test<Value: Debug>>(
        self,
        test: &mut T,
        options: &driver::Options,
    ) -> Option<String> {
        for number in 0..self.inputs {
            if let Some(failure) = try_one(test, options, noise(0, number)) {
                return Some(format!("input {number} of each run: {failure}"));
            }
        }
        let More { seed, first, time } = self.more?;
        let start = Instant::now();
        let mut number = first;
        // One at least, to repeat a failure.
        while number == first || start.elapsed() < time {
            if let Some(failure) = try_one(test, options, noise(seed, number)) {
                let again = format!("FUZZ_SECONDS=0 FUZZ_SEED={seed} FUZZ_INPUT={number}");
                return Some(format!("{again}: {failure}"));
            }
            number += 1;
        }
        report(seed, number - first);
        None
    }
}

#[allow(clippy::print_stderr, reason = "the log of a run has to tell its seed")]
fn report(seed: u64, inputs: u64) {
    eprintln!("FUZZ_SEED={seed}: {inputs} inputs");
}

fn try_one<T: Test<Value: Debug>>(
    test: &mut T,
    options: &driver::Options,
    bytes: Vec<u8>,
) -> Option<String> {
    let error = test.test(&mut input::Bytes::new(&bytes, options)).err()?;
    let shrunken = test.shrink(bytes, None, options);
    Some(shrunken.map_or_else(|| error.to_string(), |small| format!("{small:#}")))
}

impl<T: Test<Value: Debug>> Engine<T> for Smoke {
    type Output = ();

    fn run(self, mut test: T, options: driver::Options) {
        bolero::bolero_engine::panic::set_hook();
        bolero::bolero_engine::panic::forward_panic(false);
        bolero::bolero_engine::panic::capture_backtrace(false);
        let failure = self.try_all(&mut test, &options);
        bolero::bolero_engine::panic::forward_panic(true);
        if let Some(failure) = failure {
            panic!("{failure}");
        }
    }
}

/// Bytes that look random, and are the same for the same seed and number (SplitMix64). Few for the first
/// numbers.
fn noise(seed: u64, number: u64) -> Vec<u8> {
    let size = 16 << (number % 7);
    let mut state =
        number.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ seed.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..size / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// Runs a target: `target!(type, inputs, function)` calls the function with references to values of the
/// type. With bolero's variables or under a fuzzing engine it runs as they say, else with so many values,
/// which are the same each time, and with more for `FUZZ_SECONDS`: see [`Smoke::configured`].
#[macro_export]
macro_rules! target {
    ($type:ty, $inputs:expr, $function:expr) => {{
        let names = ::std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        if $crate::Smoke::is_wanted(names) {
            let smoke = $crate::Smoke::new($inputs).configured(|name| ::std::env::var(name).ok());
            ::bolero::TestTarget::new(smoke)
                .with_type::<$type>()
                .for_each($function);
        } else {
            ::bolero::check!().with_type::<$type>().for_each($function);
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_depend_on_the_seed_and_on_nothing_else() {
        for number in 0..100 {
            assert_eq!(noise(1, number), noise(1, number));
            assert_ne!(noise(1, number), noise(2, number));
            assert_ne!(noise(1, number), noise(1, number + 7));
        }
    }

    #[test]
    fn a_failure_tells_how_to_repeat_it() {
        let run = |input: Option<u64>| {
            let variable = |name: &str| match name {
                "FUZZ_SECONDS" => Some("0".to_owned()),
                "FUZZ_SEED" => Some("7".to_owned()),
                "FUZZ_INPUT" => input.map(|input| input.to_string()),
                _ => None,
            };
            let smoke = Smoke::new(0).configured(variable);
            std::panic::catch_unwind(|| {
                bolero::TestTarget::new(smoke)
                    .with_type::<u64>()
                    .for_each(|n| assert_eq!(*n, 0, "not zero"));
            })
        };
        let failure = run(Some(5)).unwrap_err();
        let text = failure.downcast_ref::<String>().unwrap();
        assert!(
            text.contains("FUZZ_SECONDS=0 FUZZ_SEED=7 FUZZ_INPUT=5"),
            "{text}"
        );
    }
}
