//! `caching-proxy` as a program, between clients and servers that write their own bytes.

mod framing;
mod origin;
mod program;
mod trouble;
