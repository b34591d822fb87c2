//! The walk over a server's documents: what is asked, and what the answers mean.

mod groups;
mod lists;
mod tools;
