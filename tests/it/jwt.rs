//! JWTs in front of the gateway: who is believed, what their claims grant, where the keys come from.

mod accept;
mod cache;
mod claims;
mod credential;
mod keys;
