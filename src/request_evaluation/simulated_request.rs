//! A whole evaluation at once, of a request that nobody sent: for `explain`, `policy diff`, `[[test]]` and
//! `doctor`.

use super::head_checks::{self, RequestedHeaders};
use super::{Evaluation, Facts, Head, UpgradeHead};
use crate::authn::{Credential, Presented};
use crate::config::{BodySizes, SimulatedCaller};
use crate::dns_rebinding::HostNames;
use crate::json_body::Object;
use crate::policy::explanation::Explanation;
use crate::policy::{Grant, Policy, Proven, SocketRequest};
use crate::refusal::Refusal;
use crate::upgrade_request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Version};
use jiff::Timestamp;
use std::net::IpAddr;

/// The head of a request as its client would send it.
#[derive(Debug)]
pub struct SimulatedHead {
    method: Method,
    headers: HeaderMap,
    raw: Vec<u8>,
}

impl SimulatedHead {
    /// A head with these header fields, and with those that every client adds if they are missing: `Host`, by which
    /// this machine's loopback address is called, and the length of the body.
    #[must_use]
    pub fn new(method: &Method, target: &str, mut headers: HeaderMap, body: &str) -> Self {
        headers.entry(HOST).or_insert(HeaderValue::from_static("127.0.0.1"));
        if !body.is_empty() && !headers.contains_key(TRANSFER_ENCODING) {
            headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(body.len()));
        }
        let mut raw = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        for (name, value) in &headers {
            raw.extend_from_slice(name.as_str().as_bytes());
            raw.extend_from_slice(b": ");
            raw.extend_from_slice(value.as_bytes());
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"\r\n");
        Self { method: method.clone(), headers, raw }
    }

    /// The upgrade to a WebSocket, with the fields of the handshake that are missing.
    #[must_use]
    pub fn upgrade(method: &Method, target: &str, mut headers: HeaderMap) -> Self {
        headers.entry(UPGRADE).or_insert(HeaderValue::from_static("websocket"));
        headers.entry(CONNECTION).or_insert(HeaderValue::from_static("Upgrade"));
        headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
        let key = HeaderValue::from_str(&STANDARD.encode([0; 16])).unwrap_or(HeaderValue::from_static(""));
        headers.entry(SEC_WEBSOCKET_KEY).or_insert(key);
        Self::new(method, target, headers, "")
    }
}

/// How the caller of a dry run is known.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// By the credential in the head.
    Presented,
    /// By its description, as if it had presented what proves it.
    Simulated(&'a SimulatedCaller),
}

/// A request that nobody sent, and what it is evaluated with.
#[derive(Debug, Clone, Copy)]
pub struct DryRun<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The head.
    pub head: &'a SimulatedHead,
    /// The body.
    pub body: &'a str,
    /// The caller.
    pub caller: Caller<'a>,
    /// Where it is; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// The largest body of each route.
    pub body_sizes: &'a BodySizes,
    /// The moment.
    pub now: Timestamp,
}

impl<'a> DryRun<'a> {
    /// Evaluates, and says why.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let names = HostNames::of_this_machine();
        let mut evaluation = self.evaluation(&names);
        let head = evaluation.head();
        let presented = self.presented();
        let who = self.authenticate(&presented, &mut evaluation);
        let headers = &self.head.headers;
        if upgrade_request::is_wanted(headers) {
            let (requested, decided) = self.socket(head, &who, evaluation.address);
            let requested = requested.unwrap_or_default();
            return self.policy.explain_socket(&decided, &who, self.socket_request(&requested, evaluation.address));
        }
        let body = Object::read(self.body.as_bytes());
        let asked = head_checks::asked(headers, self.policy).unwrap_or_default();
        let decided = self.request(&evaluation, head, &presented, &who, &body);
        let request = evaluation.request(&asked, self.now);
        let request = request.map(|request| crate::policy::Request { body: body.as_ref().ok(), ..request });
        self.policy.explain(&decided, &who, request)
    }

    /// Evaluates.
    ///
    /// # Errors
    /// The [`Refusal`] that such a request would get.
    pub fn decide(&self) -> Result<Option<Grant>, Refusal> {
        let names = HostNames::of_this_machine();
        let mut evaluation = self.evaluation(&names);
        let head = evaluation.head();
        let presented = self.presented();
        let who = self.authenticate(&presented, &mut evaluation);
        if upgrade_request::is_wanted(&self.head.headers) {
            return self.socket(head, &who, evaluation.address).1.map(Some);
        }
        let body = Object::read(self.body.as_bytes());
        self.request(&evaluation, head, &presented, &who, &body)
    }

    fn evaluation<'b>(&'b self, names: &'b HostNames) -> Evaluation<'b> {
        let facts = Facts {
            method: &self.head.method,
            version: Version::HTTP_11,
            headers: &self.head.headers,
            raw: &self.head.raw,
            peer: self.peer,
            names,
            body_sizes: self.body_sizes,
        };
        Evaluation::new(self.policy, facts)
    }

    fn presented(&self) -> Result<Option<Presented<'a>>, Refusal> {
        let (authenticator, headers) = (self.policy.authenticator(), &self.head.headers);
        match self.caller {
            Caller::Simulated(_) => Ok(None),
            Caller::Presented if upgrade_request::is_wanted(headers) => {
                authenticator.presented_by_upgrade(headers).map(|(presented, _)| presented)
            }
            Caller::Presented => authenticator.presented(headers),
        }
    }

    fn authenticate(
        &self,
        presented: &Result<Option<Presented<'_>>, Refusal>,
        evaluation: &mut Evaluation<'_>,
    ) -> Result<Proven, Refusal> {
        let address = evaluation.address;
        let proven = match self.caller {
            Caller::Simulated(who) => self.policy.simulate(who, address, self.now),
            Caller::Presented => {
                let presented = presented.as_ref().map_err(Clone::clone)?;
                let credential = self.policy.authenticator().credential(presented.as_ref())?;
                self.policy.authenticate(credential, address, self.now)
            }
        }?;
        // A WebSocket's client names no user: it is decided on the app alone.
        let socket = upgrade_request::is_wanted(&self.head.headers);
        if socket { Ok(proven) } else { evaluation.on_behalf(proven, self.now) }
    }

    /// The outcome of a request; `None`: this proxy answers it itself.
    fn request(
        &self,
        evaluation: &Evaluation<'_>,
        head: Result<Head, Refusal>,
        presented: &Result<Option<Presented<'_>>, Refusal>,
        who: &Result<Proven, Refusal>,
        body: &Result<Object<'_>, crate::json_body::BodyFault>,
    ) -> Result<Option<Grant>, Refusal> {
        match head? {
            Head::Preflight(_) => Ok(None),
            Head::Unauthenticated(grant, _) => Ok(Some(*grant)),
            Head::Request(_) => {
                let proven = who.as_ref().map_err(Clone::clone)?;
                let presented = presented.as_ref().ok().and_then(Option::as_ref);
                evaluation.decide(proven, presented, Some(body.as_ref()), self.now).result.map(Some)
            }
            Head::Upgrade(_) => Err(Refusal::Internal),
        }
    }

    /// The outcome of a WebSocket: of its upgrade, and of a `connect` that asks for nothing of its own.
    fn socket(
        &self,
        head: Result<Head, Refusal>,
        who: &Result<Proven, Refusal>,
        address: Option<IpAddr>,
    ) -> (Result<RequestedHeaders, Refusal>, Result<Grant, Refusal>) {
        let requested = head_checks::requested_scopes(&self.head.headers)
            .map(|requested| RequestedHeaders { requested, ..RequestedHeaders::default() });
        let decided = head.and_then(|head| match head {
            Head::Upgrade(UpgradeHead { origin, .. }) => {
                // A credential at the upgrade is verified at once, one in the first frame later.
                if self.proves_at_upgrade() {
                    who.as_ref().map_err(Clone::clone)?;
                }
                let requested = requested.as_ref().map_err(Clone::clone)?;
                origin.check_page(false)?;
                let proven = who.as_ref().map_err(Clone::clone)?;
                origin.check_caller(proven)?;
                self.policy.decide_socket(proven, self.socket_request(requested, address))
            }
            _ => Err(Refusal::Internal),
        });
        (requested, decided)
    }

    fn proves_at_upgrade(&self) -> bool {
        match self.caller {
            Caller::Simulated(SimulatedCaller::Anonymous | SimulatedCaller::Tailnet(_)) => false,
            Caller::Simulated(_) => true,
            Caller::Presented => {
                let credential = self.presented();
                let authenticator = self.policy.authenticator();
                !matches!(credential.as_ref().map(|p| authenticator.credential(p.as_ref())), Ok(Ok(Credential::Absent)))
            }
        }
    }

    fn socket_request<'b>(&self, asked: &'b RequestedHeaders, address: Option<IpAddr>) -> SocketRequest<'b> {
        SocketRequest {
            requested: asked.requested.as_ref(),
            requested_scopes: None,
            session: None,
            peer: address,
            now: self.now,
        }
    }
}
