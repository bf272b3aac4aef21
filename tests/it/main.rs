//! The real binary, in front of a fake gateway or of a socket that keeps every byte.
//!
//! One binary, so that Pingora is linked once. Where to put a new test: by what it is about, in the
//! module of that name; a bug that was fixed gets a test named after it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that fails may panic")]
#![expect(clippy::needless_pass_by_value, reason = "`json!` is handed over as it is made")]
#![expect(clippy::format_push_string, clippy::format_collect, reason = "tests are read, not used")]

mod access_log;
mod admin;
mod ambient_identity;
mod answers;
mod app_users;
mod auth_throttle;
mod bodies;
mod cli;
mod client_routes;
mod config;
mod connection_limits;
mod cors;
mod credentials;
mod docs;
mod docs_references;
mod doctor;
mod example;
mod explain;
mod framing;
mod gateway;
mod gateway_credential;
mod gateway_probe;
mod golden;
mod grants;
mod headers;
mod hostile;
mod init;
mod isolation;
mod jwt;
mod layers;
mod limits;
mod limits_documented;
mod paths;
mod ports;
mod rate_limits;
mod reload;
mod restart;
mod revocation;
mod rfc8725;
mod routes;
mod scopes;
mod service;
mod shutdown;
mod streams;
mod support;
mod tailnet;
mod tls;
mod tokens;
mod trusted_proxy;
mod websocket;
mod websocket_policy;
mod wycheproof;
