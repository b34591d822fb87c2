//! The discovery cache around an HTTP service: what it answers, what it asks, what it leaves alone.

mod answers;
mod errors;
mod flights;
mod layers;
mod passing;
mod readiness;
mod refresh;
mod saving;
mod tools;
mod typed;
