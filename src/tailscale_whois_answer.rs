//! A node of the tailnet, as tailscaled tells of it.
//!
//! Source: `apitype.WhoIsResponse` of Tailscale's LocalAPI, `/localapi/v0/whois`.

use crate::refusal::TailnetFault;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// A node of the tailnet, and who it acts for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WhoisNode {
    /// The user's login name in lower case; `None` for a tagged node, which has no user.
    pub login: Option<Box<str>>,
    /// The node's name in the tailnet.
    pub node: Box<str>,
    /// Its tags; empty for a user's node.
    pub tags: Vec<Box<str>>,
    /// Its capabilities towards this machine.
    pub capabilities: Map<String, Value>,
    addresses: Vec<IpAddr>,
}

/// LocalAPI's answer to whois, as far as it matters here. Tailscale adds fields with each release.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    node: Node,
    user_profile: Profile,
    #[serde(default)]
    cap_map: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    name: String,
    #[serde(default)]
    addresses: Option<Vec<String>>,
    #[serde(default)]
    tags: Option<Vec<Box<str>>>,
    #[serde(default)]
    expired: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Profile {
    #[serde(default)]
    login_name: String,
}

impl WhoisNode {
    /// Reads LocalAPI's answer to whois.
    ///
    /// # Errors
    /// When it is no such answer, or names no user.
    pub fn parse(json: &[u8]) -> Result<Self, TailnetFault> {
        let answer: Answer = serde_json::from_slice(json).map_err(|_| TailnetFault::Answer)?;
        if answer.node.expired {
            return Err(TailnetFault::UnknownPeer);
        }
        let node = answer.node.name.trim_end_matches('.').to_ascii_lowercase().into_boxed_str();
        let tags = answer.node.tags.unwrap_or_default();
        // A tagged node has a login too, one that stands for all of them.
        let login =
            tags.is_empty().then(|| answer.user_profile.login_name.trim().to_ascii_lowercase().into_boxed_str());
        let names = [Some(&node), login.as_ref()].into_iter().flatten().chain(&tags);
        if !names.into_iter().all(|n| is_name(n)) {
            return Err(TailnetFault::Answer);
        }
        Ok(Self {
            login,
            node,
            tags,
            capabilities: answer.cap_map.unwrap_or_default(),
            addresses: answer.node.addresses.iter().flatten().filter_map(|a| own_address(a)).collect(),
        })
    }

    /// A user's node, to suppose.
    #[must_use]
    pub fn of_user(login: &str, capabilities: Map<String, Value>) -> Self {
        Self {
            login: Some(login.to_ascii_lowercase().into()),
            node: "supposed".into(),
            capabilities,
            ..Self::default()
        }
    }

    /// A tagged node, to suppose.
    #[must_use]
    pub fn tagged(tags: &[String], capabilities: Map<String, Value>) -> Self {
        let tags = tags.iter().map(|t| t.as_str().into()).collect();
        Self { node: "supposed".into(), tags, capabilities, ..Self::default() }
    }

    /// The principal's name: the user's login, or the tagged node's own.
    #[must_use]
    pub fn name(&self) -> &str {
        self.login.as_deref().unwrap_or(&self.node)
    }

    /// Whether this address is the node's own: then it alone identifies the node, whatever the port.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }
}

/// An address of the node's own: `100.64.0.7/32`. A network is none.
fn own_address(text: &str) -> Option<IpAddr> {
    let net: IpNet = text.parse().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

/// Whether a text can be a name in a log and a header.
fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}
