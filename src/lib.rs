//! **scopeshim** stands in front of an OpenClaw gateway. It proves who calls, decides by a policy
//! which operator scopes the caller holds, and sends the gateway a request that every release of it
//! understands: its own credential, exactly one scopes header, nothing spoofed.
//!
//! # The path of a request
//! [`listener`] accepts a connection and hands it to Pingora. [`proxy`] takes the [`policy::Policy`]
//! in force, by which this request is decided to its end. [`request_evaluation`] checks the head first
//! ([`framing`], [`host_header`], [`request_path`]), then its credential. [`authn`] says who is calling, [`policy`] what they
//! may do here ([`route`], [`scope`]); the answer is a [`policy::Grant`] or a [`refusal::Refusal`].
//! With a grant, [`headers`] says what leaves: everything that claims identity or authority is
//! taken out, and what the grant says is put in. Bytes then pass as they come. A WebSocket leaves
//! Pingora at its upgrade: [`websocket`] proves its caller, connects for it, and moves its bytes.
//!
//! # The layers
//! docs/architecture.md lists every module by its layer; imports go downward only. Vocabulary
//! ([`scope`], [`secret`], [`request_path`], [`route`], [`refusal`]) is values and their parsers.
//! [`config`] turns a file into values that cannot be wrong. [`authn`] and [`policy`] decide: values in,
//! values out. [`gateway_probe`] asks the gateway what it enforces. Pingora's types appear in
//! [`listener`], [`proxy`] and [`app`] only; [`app`] runs the process, [`cli`] is the command line.

pub mod access_log;
pub mod address_key;
pub mod admin;
pub mod app;
pub mod atomic_file;
pub mod auth_throttle;
pub mod authn;
pub mod chat_session;
pub mod cli;
pub mod config;
pub mod cors;
pub mod dns_rebinding;
pub mod doctor;
pub mod fake_gateway;
pub mod file_descriptors;
pub mod file_watch;
pub mod framing;
pub mod gateway_probe;
pub mod glob;
pub mod headers;
pub mod host_header;
pub mod http_client;
pub mod identity_providers;
pub mod incognito_session;
pub mod join_code_limit;
pub mod json_body;
pub mod jwks;
pub mod jwks_cache;
pub mod last_good;
pub mod listener;
pub mod logging;
pub mod metric_labels;
pub mod metrics;
pub mod openclaw_config;
pub mod passthrough_credential_limit;
pub mod platform;
pub mod policy;
pub mod principal_limiter;
pub mod principal_limits;
pub mod proxy;
pub mod refusal;
pub mod reload;
pub mod request_evaluation;
pub mod request_path;
pub mod route;
pub mod scope;
pub mod secret;
pub mod session_space;
pub mod strict_json;
pub mod systemd;
pub mod tailscale;
pub mod tailscale_whois_answer;
pub mod telemetry;
pub mod tls;
pub mod trace_context;
pub mod upgrade_request;
pub mod websocket;
