//! The real binary, in front of a stand-in gateway or of a socket that keeps every byte.
//!
//! One binary, so that Pingora is linked once. Where to put a new test: by what it is about, in the
//! module of that name; a bug that was fixed gets a test named after it.

mod cli;
mod config;
mod gateway;
mod headers;
mod hostile;
mod life;
mod scopes;
mod streams;
mod support;
