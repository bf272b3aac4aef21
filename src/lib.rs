//! **scopeshim** stands in front of an OpenClaw gateway. It proves who calls, decides by a policy
//! which operator scopes the caller holds, and sends the gateway a request that every release of it
//! understands: its own credential, exactly one scopes header, nothing forged.
//!
//! # The story of a request
//! [`listener`] accepts a connection and hands it to Pingora. [`proxy`] takes the [`policy::Policy`]
//! in force, by which this request is judged to its end. The head is judged first
//! ([`framing`], [`host`], [`target`]), then its credential. [`authn`] says who is calling, [`policy`] what they
//! may do here ([`route`], [`scope`]); the answer is a [`policy::Grant`] or a [`refusal::Refusal`].
//! With a grant, [`headers`] says what leaves: everything that claims identity or authority is
//! taken out, and what the grant says is put in. Bytes then pass as they come. A WebSocket leaves
//! Pingora at its upgrade: [`websocket`] proves its caller, connects for it, and moves its bytes.
//!
//! # The layers
//! Words (`scope`, `secret`, `target`, `route`, `refusal`) know nothing of each other's uses.
//! `config` turns a file into values that cannot be wrong. `authn`, `policy` and `headers` decide:
//! values in, values out. `gateway` finds out what stands behind. Pingora appears in `proxy` and `listener` alone, processes and signals in
//! `app`, the command line in `cli`.

pub mod admin;
pub mod admission;
pub mod app;
pub mod authn;
pub mod cli;
pub mod client;
pub mod config;
pub mod descriptors;
pub mod doctor;
pub mod files;
pub mod framing;
pub mod gateway;
pub mod glob;
pub mod guessing;
pub mod headers;
pub mod host;
pub mod hostnames;
pub mod issuers;
pub mod joins;
pub mod json;
pub mod keys;
pub mod label;
pub mod listener;
pub mod metrics;
pub mod openclaw;
pub mod peer;
pub mod peer_group;
pub mod policy;
pub mod proxy;
pub mod quota;
pub mod record;
pub mod refusal;
pub mod reload;
pub mod route;
pub mod scope;
pub mod secret;
pub mod service;
pub mod session;
pub mod sources;
pub mod standin;
pub mod state;
pub mod tailnet;
pub mod target;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod watch;
pub mod watchtower;
pub mod websocket;
