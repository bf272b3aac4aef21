//! `[websocket]`.

use super::values::choice;
use crate::config::diagnostic::Problems;
use crate::config::file::{At, WebSocket};
use crate::config::{OwnDevice, WebSocketRules};
use crate::route::Ui;
use crate::scope::Scope;

pub(super) fn rules(table: &WebSocket, problems: &mut Problems) -> WebSocketRules {
    let own_device = [("normalise", OwnDevice::Normalise), ("pass", OwnDevice::Pass)];
    let ui = [("off", Ui::Off), ("authenticated", Ui::Authenticated), ("open", Ui::Open)];
    WebSocketRules {
        enabled: table.enabled.as_ref().is_none_or(|e| *e.get()),
        own_device: choice(table.own_device.as_ref(), OwnDevice::Normalise, &own_device, "own-device", problems),
        nodes: nodes(table, problems),
        ui: choice(table.ui.as_ref(), Ui::Off, &ui, "websocket-ui", problems),
        origins: table.origins.iter().flatten().filter_map(|o| origin(o, problems)).collect(),
    }
}

/// The scope that a node needs, where there are nodes.
fn nodes(table: &WebSocket, problems: &mut Problems) -> Option<Scope> {
    let on = table.nodes.as_ref().is_some_and(|n| *n.get());
    let needed = match &table.nodes_need {
        None => Some(Scope::admin().clone()),
        Some(name) => match Scope::parse(name.get()) {
            Ok(scope) => Some(scope),
            Err(fault) => {
                problems.error("scope", name.span(), fault.to_string(), "one name, for example `node.connect`");
                None
            }
        },
    };
    needed.filter(|_| on)
}

/// An origin as browsers send it (RFC 6454 §6.2): scheme, host, and port where it is not the usual.
pub(super) fn origin(text: &At<String>, problems: &mut Problems) -> Option<String> {
    let lower = text.get().to_ascii_lowercase();
    let plain = lower.split_once("://").is_some_and(|(scheme, rest)| {
        let named = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let host = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
        let usual = (scheme == "http" && rest.ends_with(":80")) || (scheme == "https" && rest.ends_with(":443"));
        named && host && !usual
    });
    if !plain {
        problems.error(
            "origin",
            text.span(),
            format!("`{}` is not an origin as browsers send it", text.get()),
            "write scheme and host, and the port where it is not the usual: `https://panel.example.org`",
        );
    }
    plain.then_some(lower)
}

/// A name in `[policy] hosts`, without a port.
pub(super) fn listed_host(text: &At<String>, problems: &mut Problems) -> Option<String> {
    let plain = host(text.get()).filter(|name| name.eq_ignore_ascii_case(text.get().trim_end_matches('.')));
    if plain.is_none() {
        problems.error(
            "host",
            text.span(),
            format!("`{}` is not a host name", text.get()),
            "write the name alone, without scheme, port or wildcard: `gateway.home.arpa`",
        );
    }
    plain
}

/// The name in a `host[:port]`, in lower case; `None` where it is none.
pub(super) fn host(text: &str) -> Option<String> {
    let name = text.rsplit_once(':').map_or(text, |(name, _)| name).trim_end_matches('.').to_ascii_lowercase();
    let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    name.split('.').all(label).then_some(name)
}
