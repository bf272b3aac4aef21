//! The one evaluation: from the facts of a request (its head, its peer, who its caller proved to be) and
//! the policy to a [`Grant`] or a [`Refusal`].
//!
//! The data plane, WebSockets, the checks of open streams, `explain`, `policy diff`, `[[test]]` and
//! `doctor` go through it, so every check happens in the same order everywhere. It is pure: what waits
//! (issuers, tailscaled) and what is counted (rate limits, connections, join codes) happens in the data
//! plane, between [`Evaluation::head`] and [`Evaluation::decide`].

mod head_checks;
pub mod policy_test;
mod simulated_request;

pub use head_checks::{AnnouncedBody, RequestedHeaders, requested_scopes};
pub use simulated_request::{Caller, DryRun, SimulatedHead};

use crate::authn::{PassthroughCredential, Presented, client_address};
use crate::config::BodySizes;
use crate::cors::{self, Page};
use crate::dns_rebinding::HostNames;
use crate::framing;
use crate::headers::{self, Kind};
use crate::json_body::{BodyFault, Object};
use crate::policy::{Grant, Policy, Proven, Request};
use crate::refusal::{IsolationFault, Refusal, SocketFault};
use crate::request_path::Path;
use crate::route::{Need, Route};
use crate::upgrade_request::{self, OriginPage};
use http::{HeaderMap, HeaderName, Method, Version};
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;

/// The largest head passed on, in bytes: the gateway takes 16 KiB, our own lines included.
const MAX_HEAD: usize = 15 * 1024;

/// What is known of a request before its caller is.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The method.
    pub method: &'a Method,
    /// The version of HTTP.
    pub version: Version,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The head as it arrived, byte for byte.
    pub raw: &'a [u8],
    /// The address at the other end of the connection; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// The names of this machine.
    pub names: &'a HostNames,
    /// The largest body of each route.
    pub body_sizes: &'a BodySizes,
}

/// One request under evaluation, and what was found out so far.
#[derive(Debug)]
pub struct Evaluation<'a> {
    policy: &'a Policy,
    facts: Facts<'a>,
    /// The web page the request comes from, as far as `[cors]` is concerned.
    pub page: Page,
    /// The path, once it was checked.
    pub path: Option<Path<'a>>,
    /// The route, once it was looked up.
    pub route: Option<Arc<Route>>,
    /// Where the caller is, for conditions on addresses.
    pub address: Option<IpAddr>,
    /// How many header fields claim what a client may not.
    pub spoofed: usize,
}

/// What a request is, by its head.
#[derive(Debug)]
pub enum Head {
    /// A browser's question whether a page of another origin may ask, and the answer.
    Preflight(cors::Lines),
    /// One for a public route, or one whose credential is for the gateway.
    Unauthenticated(Box<Grant>, AnnouncedBody),
    /// One whose caller has to be known.
    Request(AnnouncedBody),
    /// One to become a WebSocket.
    Upgrade(UpgradeHead),
}

/// A WebSocket's upgrade whose form was checked.
#[derive(Debug)]
pub struct UpgradeHead {
    /// The `Sec-WebSocket-Accept` of the answer.
    pub accept: String,
    /// Where it comes from.
    pub origin: UpgradeOrigin,
}

/// What the head of an upgrade says about where it comes from. It is checked at `connect`, because whether the
/// client is a browser and who its caller is may be known only then.
#[derive(Debug)]
pub struct UpgradeOrigin {
    /// Whether its `Host` is a name of this machine, which a caller without a credential must use.
    own_host: Result<(), Refusal>,
    page: OriginPage,
}

impl UpgradeOrigin {
    /// Checks the page that opened the WebSocket. A browser always names one.
    ///
    /// # Errors
    /// [`SocketFault::Origin`].
    pub fn check_page(&self, is_browser: bool) -> Result<(), Refusal> {
        let refused = self.page == OriginPage::Foreign || (self.page == OriginPage::None && is_browser);
        if refused { Err(Refusal::Socket(SocketFault::Origin)) } else { Ok(()) }
    }

    /// Checks the name under which a caller without a credential calls.
    ///
    /// # Errors
    /// [`Refusal::HostNotAllowed`].
    pub fn check_caller(&self, proven: &Proven) -> Result<(), Refusal> {
        if proven.principal.identity().is_ambient() { self.own_host.clone() } else { Ok(()) }
    }
}

/// What was decided about a caller's request, and what the request asked for.
#[derive(Debug)]
pub struct Decision {
    /// What its headers ask for; nothing if they cannot be read.
    pub asked: RequestedHeaders,
    /// May it pass?
    pub result: Result<Grant, Refusal>,
}

impl<'a> Evaluation<'a> {
    /// An evaluation of which nothing was done yet.
    #[must_use]
    pub fn new(policy: &'a Policy, facts: Facts<'a>) -> Self {
        let page = policy.live().cors.page(facts.headers);
        Self { policy, facts, page, path: None, route: None, address: facts.peer, spoofed: 0 }
    }

    /// Everything that can be checked without knowing the caller.
    ///
    /// # Errors
    /// The [`Refusal`] of the first check that fails.
    pub fn head(&mut self) -> Result<Head, Refusal> {
        let Facts { method, version, headers, raw, .. } = self.facts;
        let policy = self.policy;
        if raw.len() > MAX_HEAD {
            return Err(Refusal::HeadTooLarge { limit: MAX_HEAD, unit: "bytes" });
        }
        framing::validate(headers, version, raw)?;
        let path = Path::validate(target(raw)).map_err(Refusal::Target)?;
        self.path = Some(path);
        let route = self.route.insert(policy.route(method, path)).clone();
        let origins = &policy.live().cors;
        let is_preflight = origins.is_preflight(method, headers);
        if !is_preflight {
            head_checks::method(method, &route)?;
        }
        head_checks::expectation(headers)?;
        self.spoofed = head_checks::spoofed(headers, policy);
        self.address = client_address::of(self.facts.peer, headers);
        if upgrade_request::is_wanted(headers) {
            if path.is_upgrade_without_connect() {
                return Err(Refusal::Socket(SocketFault::Path));
            }
            return self.upgrade().map(Head::Upgrade);
        }
        let body = head_checks::body(method, headers, &route, self.facts.body_sizes)?;
        if is_preflight {
            return origins.preflight(headers).map(Head::Preflight).map_err(Refusal::Preflight);
        }
        let own = match route.need {
            Need::PassthroughCredential(_) => PassthroughCredential::read(headers)?,
            _ => PassthroughCredential::default(),
        };
        let passed = |(name, _): &&(_, _)| headers::kind(HeaderName::as_str(name)) == Kind::Forged;
        self.spoofed = self.spoofed.saturating_sub(own.lines().iter().filter(passed).count());
        Ok(match policy.unauthenticated(&route, &own, self.address)? {
            Some(grant) => Head::Unauthenticated(Box::new(grant), body),
            None => Head::Request(body),
        })
    }

    fn upgrade(&self) -> Result<UpgradeHead, Refusal> {
        let Facts { method, version, headers, names, .. } = self.facts;
        let rules = self.policy.websocket();
        if !rules.enabled {
            return Err(Refusal::Upgrade);
        }
        let accept = upgrade_request::accept_key(method, version, headers)?;
        let own_host = names.refuse_foreign_host(headers, &self.policy.live().hosts);
        let page = upgrade_request::page(headers, &rules.origins, own_host.is_ok());
        Ok(UpgradeHead { accept, origin: UpgradeOrigin { own_host, page } })
    }

    /// On whose behalf an authenticated caller asks. Header fields that describe a user count for an app's token
    /// alone.
    ///
    /// # Errors
    /// The [`Refusal`] of an app that does not say it, or not so that it counts.
    pub fn on_behalf(&mut self, caller: Proven, now: Timestamp) -> Result<Proven, Refusal> {
        let (policy, headers) = (self.policy, self.facts.headers);
        let proven = policy.on_behalf(caller, headers, now)?;
        if proven.principal.app().is_none() {
            self.spoofed += headers.keys().filter(|name| policy.authenticator().describes_user(name)).count();
        }
        Ok(proven)
    }

    /// Decides about a request whose caller was authenticated by `presented`. A grant that
    /// [wants the body](Grant::wants_body) is decided again once there is one.
    #[must_use]
    pub fn decide(
        &self,
        proven: &Proven,
        presented: Option<&Presented<'_>>,
        body: Option<Result<&Object<'_>, &BodyFault>>,
        now: Timestamp,
    ) -> Decision {
        let mut asked = RequestedHeaders::default();
        let result = self.decided(proven, presented, body, now, &mut asked);
        Decision { asked, result }
    }

    fn decided(
        &self,
        proven: &Proven,
        presented: Option<&Presented<'_>>,
        body: Option<Result<&Object<'_>, &BodyFault>>,
        now: Timestamp,
        asked: &mut RequestedHeaders,
    ) -> Result<Grant, Refusal> {
        let (headers, hosts) = (self.facts.headers, &self.policy.live().hosts);
        head_checks::refuse_foreign_page(proven, presented, headers, self.facts.names, hosts, &self.page)?;
        *asked = head_checks::asked(headers, self.policy)?;
        let request = self.request(asked, now).ok_or(Refusal::Internal)?;
        let grant = self.policy.decide(proven, request)?;
        match body {
            Some(body) if grant.wants_body() => {
                let body = body.map_err(|fault| Refusal::Isolation(IsolationFault::Body(fault.clone())))?;
                self.policy.decide(proven, Request { body: Some(body), ..request })
            }
            _ => Ok(grant),
        }
    }

    /// What the policy is asked about, without a body; `None` before the head was checked.
    #[must_use]
    pub fn request<'b>(&'b self, asked: &'b RequestedHeaders, now: Timestamp) -> Option<Request<'b>> {
        let (path, route) = (self.path?, self.route.as_deref()?);
        Some(Request {
            requested: asked.requested.as_ref(),
            gateway_headers: &asked.gateway_headers,
            chat: asked.chat.as_ref(),
            body: None,
            ..Request::plain(self.facts.method, path, route, self.address, now)
        })
    }
}

/// The request target, byte for byte as it came: what stands between the first blank of the
/// request line and the last.
fn target(raw: &[u8]) -> &[u8] {
    let line = raw.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end();
    let Some(first) = line.iter().position(|b| *b == b' ') else {
        return &[];
    };
    let Some(last) = line.iter().rposition(|b| *b == b' ') else {
        return &[];
    };
    line.get(first + 1..last).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_what_stands_between_the_outer_blanks() {
        assert_eq!(target(b"GET /a?b HTTP/1.1\r\nHost: x\r\n"), b"/a?b");
        assert_eq!(target(b"GET  /a HTTP/1.1\r\n"), b" /a");
        assert_eq!(target(b"GET /a#f HTTP/1.1\n"), b"/a#f");
        assert_eq!(target(b"GET"), b"");
        assert_eq!(target(b""), b"");
    }
}
