//! HTTP responses as bytes, in the form that kubectl keeps them.
