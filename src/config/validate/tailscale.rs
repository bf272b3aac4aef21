//! Tailscale: listeners that ask it, the capability that carries scopes, grants to its peers.

use super::values::{choice, scopes};
use crate::config::diagnostic::Problems;
use crate::config::file::{self, At, File, OneOrMany};
use crate::config::{ListenAddress, ListenerIdentity, TailnetCapability, TailnetSubject};
use crate::glob::Glob;
use crate::platform::TAILSCALED_SOCKET;
use crate::tailscale_whois_answer::WhoisNode;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) fn identity(at: Option<&At<String>>, address: &ListenAddress, problems: &mut Problems) -> ListenerIdentity {
    use ListenerIdentity as I;
    let words = [("none", I::None), ("tailnet", I::Tailnet), ("tailscale-serve", I::TailscaleServe)];
    let identity = choice(at, I::None, &words, "identity", problems);
    let Some(at) = at else { return identity };
    match (identity, address) {
        (I::Tailnet, ListenAddress::Unix { .. }) => problems.error(
            "identity",
            at.span(),
            "a unix socket has no tailnet address",
            "listen on the machine's tailnet address, or write `identity = \"tailscale-serve\"`",
        ),
        (I::TailscaleServe, ListenAddress::Tcp(address)) if !address.ip().is_loopback() => problems.error(
            "identity",
            at.span(),
            "every process that reaches this address could claim to be tailscale serve, and claim any user",
            "listen on `127.0.0.1`, or on a unix socket that only root may open",
        ),
        _ => {}
    }
    identity
}

pub(super) fn socket(table: &file::Tailscale, problems: &mut Problems) -> PathBuf {
    table.socket.as_ref().map_or_else(|| PathBuf::from(TAILSCALED_SOCKET), |s| super::absolute(s, problems))
}

/// Whether any listener asks the tailnet.
pub(super) fn is_asked(file: &File) -> bool {
    asking(file).is_some()
}

/// The first word of a listener that asks the tailnet.
fn asking(file: &File) -> Option<&At<String>> {
    let mut words = file.listen.iter().filter_map(|l| l.get().identity.as_ref());
    words.find(|word| matches!(word.get().as_str(), "tailnet" | "tailscale-serve"))
}

pub(super) fn capability(file: &File, problems: &mut Problems) -> Option<TailnetCapability> {
    let table = &file.tailscale;
    match (&table.capability, &table.max_scopes) {
        (Some(name), Some(max_scopes)) => {
            if name.get().is_empty() {
                problems.error(
                    "capability",
                    name.span(),
                    "the capability's name is empty",
                    "for example `example.org/cap/scopeshim`",
                );
            }
            let max_scopes = scopes(max_scopes.get(), problems);
            Some(TailnetCapability { name: Arc::from(name.get().as_str()), max_scopes })
        }
        (Some(name), None) => {
            problems.error(
                "max-scopes",
                name.span(),
                "without `max_scopes`, every editor of the tailnet's policy could make any user an administrator here",
                "add `max_scopes = [\"operator.read\", \"operator.write\"]`",
            );
            None
        }
        (None, Some(max_scopes)) => {
            problems.error(
                "max-scopes",
                max_scopes.span(),
                "`max_scopes` has no `capability` to limit",
                "add `capability = \"example.org/cap/scopeshim\"`",
            );
            None
        }
        (None, None) => None,
    }
}

/// A listener identifies callers by the tailnet, and nothing is granted to them; or the other way round.
pub(super) fn lint_idle(file: &File, problems: &mut Problems) {
    let asking = asking(file);
    let carried = file.tailscale.capability.is_some() || file.tailscale.max_scopes.is_some();
    let granted = file.grant.iter().any(|g| is_meant(g.get().to.get()));
    if let (Some(at), false) = (asking, carried || granted) {
        problems.warn(
            "nobody",
            at.span(),
            "the tailnet's callers are granted nothing",
            "add a `[[grant]]` with `to = { tailnet_user = \"…\" }`, or `[tailscale] capability`",
        );
    }
    if let (None, Some(capability)) = (asking, &file.tailscale.capability) {
        problems.warn(
            "never-matches",
            capability.span(),
            "no listener has an `identity` from the tailnet, so this never matches",
            "add `identity = \"tailnet\"` or `identity = \"tailscale-serve\"` to a `[[listen]]`",
        );
    }
}

/// Whether a grant is to peers of the tailnet.
pub(super) fn is_meant(to: &file::To) -> bool {
    to.tailnet_user.is_some() || to.tailnet_tag.is_some() || to.tailnet_cap.is_some()
}

pub(super) fn subject(at: &At<file::To>, asked: bool, problems: &mut Problems) -> TailnetSubject {
    let to = at.get();
    let texts = |values: Option<&At<OneOrMany>>| values.map(|v| v.get().all().to_vec()).unwrap_or_default();
    if !asked {
        problems.warn(
            "never-matches",
            at.span(),
            "no listener has an `identity` from the tailnet, so this never matches",
            "add `identity = \"tailnet\"` or `identity = \"tailscale-serve\"` to a `[[listen]]`",
        );
    }
    if to.tailnet_user.is_some() && to.tailnet_tag.is_some() {
        problems.error(
            "grant-to",
            at.span(),
            "a tagged node has no user, so this can never match",
            "write two grants; they add up",
        );
    }
    for list in [&to.tailnet_user, &to.tailnet_tag, &to.tailnet_cap].into_iter().flatten() {
        if list.get().all().iter().any(String::is_empty) || list.get().all().is_empty() {
            problems.error("grant-to", list.span(), "an empty text can never match", "write `*` to match any");
        }
    }
    if let Some(tags) = &to.tailnet_tag
        && let Some(tag) = tags.get().all().iter().find(|t| !t.is_empty() && !t.starts_with("tag:") && *t != "*")
    {
        problems.error("grant-to", tags.span(), format!("`{tag}` is not a tag"), format!("write `tag:{tag}`"));
    }
    let globs = |texts: Vec<String>| texts.iter().map(|t| Glob::new(t)).collect();
    TailnetSubject {
        users: texts(to.tailnet_user.as_ref()).iter().map(|t| Glob::new(&t.to_ascii_lowercase())).collect(),
        tags: globs(texts(to.tailnet_tag.as_ref())),
        capabilities: globs(texts(to.tailnet_cap.as_ref())),
    }
}

/// The peer that a test names.
pub(super) fn simulated(who: &file::As) -> Option<WhoisNode> {
    let capabilities = who.tailnet_cap.clone().into_iter().collect();
    match (&who.tailnet_user, &who.tailnet_tag) {
        (Some(login), _) => Some(WhoisNode::of_user(login.get(), capabilities)),
        (None, Some(tags)) => Some(WhoisNode::tagged(tags.get().all(), capabilities)),
        (None, None) => None,
    }
}
