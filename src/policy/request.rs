//! What a decision is made on.

use super::grants::{Reach, RequestFacts};
use crate::chat_session::Chat;
use crate::headers::GatewayHeader;
use crate::json_body::Object;
use crate::request_path::Path;
use crate::route::Route;
use crate::scope::ScopeSet;
use http::{HeaderValue, Method};
use jiff::Timestamp;
use std::net::IpAddr;

/// The body of a request that says nothing in it.
static EMPTY: Object<'static> = Object::empty();

/// What a decision is made on, besides the principal.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path.
    pub path: Path<'a>,
    /// The route.
    pub route: &'a Route,
    /// The scopes asked for; `None` when the header is absent (law 3).
    pub requested: Option<&'a ScopeSet>,
    /// The governed headers that were sent.
    pub gateway_headers: &'a [(GatewayHeader, HeaderValue)],
    /// The chat that it belongs to, as far as the client says.
    pub chat: Option<&'a Chat>,
    /// The body; `None`: it has not been read.
    pub body: Option<&'a Object<'a>>,
    /// The session of the caller's own response that the body continues.
    pub continues: Option<&'a str>,
    /// The peer; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// The moment.
    pub now: Timestamp,
}

impl<'a> Request<'a> {
    /// A request without a scopes header, without gateway headers, and with an empty body: what dry runs ask
    /// about, and what everything else sets its own parts in.
    #[must_use]
    pub fn plain(method: &'a Method, path: Path<'a>, route: &'a Route, peer: Option<IpAddr>, now: Timestamp) -> Self {
        let body = Some(&EMPTY);
        Self {
            method,
            path,
            route,
            requested: None,
            gateway_headers: &[],
            chat: None,
            body,
            continues: None,
            peer,
            now,
        }
    }

    pub(super) fn at(&self) -> RequestFacts<'a> {
        let reach = Reach::Request { method: self.method, path: self.path };
        RequestFacts { reach, peer: self.peer, now: self.now }
    }
}
