use std::convert::Infallible;
use std::error::Error;
use std::fmt;

/// The error of the kit's bodies and servers, which a test can tell from any other error.
///
/// ```
/// use discovery_core::testing::TestError;
///
/// let error: discovery_core::BoxError = TestError("connection reset").into();
/// assert_eq!(error.to_string(), "connection reset");
/// assert_eq!(TestError::find(&*error), Some(&TestError("connection reset")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TestError(pub &'static str);

impl TestError {
    /// The first `TestError` among `error` and its sources: a layer under test may have wrapped it.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for TestError {}

impl From<Infallible> for TestError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
