//! Who a peer is in the tailnet: what to ask tailscaled, and what its answer means.
//!
//! Nothing here does I/O; [`crate::tailscale`] asks tailscaled.

use super::claims;
use crate::config::ListenerIdentity;
use crate::headers::single;
use crate::refusal::TailnetFault;
use crate::scope::{Scope, ScopeSet};
use crate::tailscale_whois_answer::WhoisNode;
use http::{HeaderMap, HeaderName};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const USER_LOGIN: HeaderName = HeaderName::from_static("tailscale-user-login");
const FUNNEL: HeaderName = HeaderName::from_static("tailscale-funnel-request");

/// A [`WhoisNode`] as it was when tailscaled was asked, and whether that still holds.
#[derive(Debug)]
pub struct WhoisResult {
    peer: WhoisNode,
    outdated: AtomicBool,
}

impl WhoisResult {
    /// It holds until an answer contradicts it.
    #[must_use]
    pub fn new(peer: WhoisNode) -> Self {
        Self { peer, outdated: AtomicBool::new(false) }
    }

    /// The peer.
    #[must_use]
    pub fn peer(&self) -> &WhoisNode {
        &self.peer
    }

    /// The tailnet says something else of this peer by now.
    pub fn outdate(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }

    /// Whether the tailnet says something else by now.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Relaxed)
    }
}

/// The scopes that the values of a peer's capability name, `{"scopes": […]}`, no more than `max_scopes`.
#[must_use]
pub fn scopes(peer: &WhoisNode, capability: &str, scope_limit: &ScopeSet) -> ScopeSet {
    let values = peer.capabilities.get(capability).and_then(Value::as_array);
    let named = values.into_iter().flatten().filter_map(|value| value.get("scopes")).flat_map(claims::scopes);
    named.filter(|scope: &Scope| scope_limit.satisfies(scope)).collect()
}

/// The connection a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Its number, which no other connection of this process ever has.
    pub connection: u64,
    /// The peer; `None` on a unix socket.
    pub peer: Option<SocketAddr>,
}

/// What tailscaled is to be asked for a request without a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoisQuestion {
    /// About whom.
    pub about: About,
    /// What tailscale serve says, to be compared.
    served: Option<Served>,
}

/// About whom tailscaled is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum About {
    /// The peer at the other end of a connection. In userspace networking tailscaled itself is,
    /// for many peers at a time: the port tells them apart, for as long as the connection lasts.
    Connection {
        /// The other end.
        peer: SocketAddr,
        /// The connection's number.
        number: u64,
    },
    /// The node that has this address.
    Node(IpAddr),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Served {
    login: Option<Box<str>>,
}

impl WhoisQuestion {
    /// What to ask, on a listener of this kind; `None` where the tailnet has no say.
    ///
    /// # Errors
    /// When tailscale serve should be in front, and the request does not look it.
    pub fn new(identity: ListenerIdentity, caller: Caller, headers: &HeaderMap) -> Result<Option<Self>, TailnetFault> {
        match (identity, caller.peer) {
            (ListenerIdentity::None, _) => Ok(None),
            (ListenerIdentity::Tailnet, Some(peer)) => {
                let about = About::Connection { peer, number: caller.connection };
                Ok(Some(Self { about, served: None }))
            }
            (ListenerIdentity::Tailnet, None) => Err(TailnetFault::UnknownPeer),
            (ListenerIdentity::TailscaleServe, peer) => {
                if !peer.is_none_or(|p| p.ip().is_loopback()) {
                    return Err(TailnetFault::Headers("it did not come from this machine"));
                }
                served(headers).map(Some)
            }
        }
    }

    /// Whether the answer fits what tailscale serve said.
    ///
    /// # Errors
    /// [`TailnetFault::Mismatch`].
    pub fn validate(&self, peer: &WhoisNode) -> Result<(), TailnetFault> {
        let same = match &self.served {
            None => true,
            Some(served) => match (&served.login, &peer.login) {
                (Some(said), Some(is)) => said.eq_ignore_ascii_case(is),
                // Of a tagged node serve says nothing.
                (None, None) => true,
                _ => false,
            },
        };
        if same { Ok(()) } else { Err(TailnetFault::Mismatch) }
    }
}

/// Reads what tailscale serve sets on every request: it takes out what the client sent by these names.
fn served(headers: &HeaderMap) -> Result<WhoisQuestion, TailnetFault> {
    if headers.contains_key(FUNNEL) {
        return Err(TailnetFault::Headers("it came by Funnel, from outside the tailnet"));
    }
    let forwarded = one(headers, &FORWARDED_FOR)?
        .ok_or(TailnetFault::Headers("there is no X-Forwarded-For: it did not come by tailscale serve"))?;
    // An address and nothing else: no list, no port, no brackets.
    let address: IpAddr =
        forwarded.parse().map_err(|_| TailnetFault::Headers("X-Forwarded-For is not one bare address"))?;
    let login = one(headers, &USER_LOGIN)?.map(Box::from);
    Ok(WhoisQuestion { about: About::Node(address.to_canonical()), served: Some(Served { login }) })
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, TailnetFault> {
    match single(headers, name).map(|sent| sent.map(http::HeaderValue::to_str).transpose()) {
        Ok(Ok(text)) => Ok(text.map(str::trim)),
        _ => Err(TailnetFault::Headers("one of its headers is doubled, or no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn answer(change: impl FnOnce(&mut Value)) -> Result<WhoisNode, TailnetFault> {
        let mut answer = json!({
            "Node": {"ID": 7, "Name": "Laptop.tailnet.test.", "Addresses": ["100.64.0.7/32", "fd7a:115c:a1e0::7/128"],
                     "NewField": {"x": 1}},
            "UserProfile": {"ID": 1, "LoginName": "Alice@Example.org", "DisplayName": "Alice"},
            "CapMap": {"example.org/cap/scopeshim": [{"scopes": ["operator.read"]}, {"scopes": "operator.admin x,y"}]},
            "Later": null,
        });
        change(&mut answer);
        WhoisNode::parse(answer.to_string().as_bytes())
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_user_s_node_is_its_user() {
        let peer = answer(|_| {}).unwrap();
        assert_eq!((peer.name(), &*peer.node), ("alice@example.org", "laptop.tailnet.test"));
        assert!(peer.has_address("100.64.0.7".parse().unwrap()));
        assert!(!peer.has_address("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_tagged_node_is_itself_and_nobody_s() {
        let peer = answer(|a| a["Node"]["Tags"] = json!(["tag:bot"])).unwrap();
        assert_eq!((peer.name(), &peer.login), ("laptop.tailnet.test", &None));
    }

    #[test]
    fn answers_that_name_nobody_prove_nothing() {
        type Change = fn(&mut Value);
        let cases: [(Change, TailnetFault); 8] = [
            (|a| *a = json!(null), TailnetFault::Answer),
            (|a| a["Node"] = json!(null), TailnetFault::Answer),
            (|a| a["UserProfile"] = json!(null), TailnetFault::Answer),
            (|a| a["UserProfile"]["LoginName"] = json!(""), TailnetFault::Answer),
            (|a| a["UserProfile"]["LoginName"] = json!("a\r\nb"), TailnetFault::Answer),
            (|a| a["Node"]["Name"] = json!(""), TailnetFault::Answer),
            (|a| a["Node"]["Tags"] = json!([""]), TailnetFault::Answer),
            (|a| a["Node"]["Expired"] = json!(true), TailnetFault::UnknownPeer),
        ];
        for (change, fault) in cases {
            assert_eq!(answer(change).unwrap_err(), fault);
        }
        assert!(answer(|a| a["CapMap"] = json!(null)).is_ok());
    }

    #[test]
    fn capabilities_stay_below_their_ceiling() {
        let peer = answer(|_| {}).unwrap();
        let scope_limit = |text: &str| ScopeSet::parse_lines([text.as_bytes()]).unwrap();
        let named = |c: &str| scopes(&peer, "example.org/cap/scopeshim", &scope_limit(c)).to_header();
        assert_eq!(named("operator.write"), "operator.read");
        assert_eq!(named("operator.admin"), "operator.admin,operator.read");
        assert_eq!(named(""), "");
        assert_eq!(scopes(&peer, "example.org/cap/other", &scope_limit("operator.admin")).to_header(), "");
    }

    #[test]
    fn serve_s_headers_are_read_from_this_machine_alone_and_to_the_letter() {
        let ask = |peer: &str, lines: &[(&'static str, &str)]| {
            let caller = Caller { connection: 1, peer: Some(peer.parse().unwrap()) };
            WhoisQuestion::new(ListenerIdentity::TailscaleServe, caller, &headers(lines))
        };
        let local = "127.0.0.1:5";
        let good = ask(local, &[("x-forwarded-for", "100.64.0.7"), ("tailscale-user-login", "ALICE@example.org")]);
        let good = good.unwrap().unwrap();
        assert_eq!(good.about, About::Node("100.64.0.7".parse().unwrap()));
        assert_eq!(good.validate(&answer(|_| {}).unwrap()), Ok(()));
        let tagged = answer(|a| a["Node"]["Tags"] = json!(["tag:bot"])).unwrap();
        assert_eq!(good.validate(&tagged), Err(TailnetFault::Mismatch));
        let bare = ask(local, &[("x-forwarded-for", "100.64.0.7")]).unwrap().unwrap();
        assert_eq!(bare.validate(&tagged), Ok(()));
        assert_eq!(bare.validate(&answer(|_| {}).unwrap()), Err(TailnetFault::Mismatch));
        for (peer, lines) in [
            ("100.64.0.9:5", &[("x-forwarded-for", "100.64.0.7")][..]),
            (local, &[]),
            (local, &[("x-forwarded-for", "")]),
            (local, &[("x-forwarded-for", "100.64.0.7, 100.64.0.8")]),
            (local, &[("x-forwarded-for", "100.64.0.7:80")]),
            (local, &[("x-forwarded-for", "[fd7a::7]")]),
            (local, &[("x-forwarded-for", "100.64.0.7"), ("x-forwarded-for", "100.64.0.7")]),
            (local, &[("x-forwarded-for", "100.64.0.7"), ("tailscale-funnel-request", "?1")]),
            (local, &[("x-forwarded-for", "100.64.0.7"), ("tailscale-user-login", "a"), ("tailscale-user-login", "a")]),
        ] {
            assert!(matches!(ask(peer, lines), Err(TailnetFault::Headers(_))), "{peer} {lines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = WhoisNode::parse(&bytes);
        }
    }
}
