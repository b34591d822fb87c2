//! The memory discovery layer: what it keeps, for how long, and what it answers unasked.

mod kept;
mod layers;
mod time;
mod tools;
