//! The live part: who may do what.

use super::grants::{Definitions, IdentityOptions, grants};
use super::issuers::issuers;
use super::policy_tests::policy_tests;
use super::routes::{need, routes};
use super::tokens::tokens;
use super::values::{choice, cidrs, count, scopes};
use super::{headers, tailscale};
use crate::config::diagnostic::{Problems, Source};
use crate::config::environment::Environment;
use crate::config::file::{self, At, File};
use crate::config::{
    Anonymous, DynamicConfig, Excess, GatewayAuth, GrantRule, HeaderRule, HeaderRules, Subject, Token,
};
use crate::route::Need;
use crate::scope::{Scope, ScopeSet};
use crate::session_space::AgentId;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How routes that are listed nowhere are opened.
const OPENING: &str = "or a `[[route]]` with `public = true` for each path that is to be open";

pub(super) fn live(
    file: &File,
    source: &Source,
    around: &dyn Environment,
    auth: Option<GatewayAuth>,
    problems: &mut Problems,
) -> Option<DynamicConfig> {
    let issuers = issuers(file, source, around, problems);
    let tokens = tokens(file, source, around, &issuers, problems);
    let routes = routes(file, source, problems);
    let policy = &file.policy;
    let unlisted_routes = policy
        .unlisted_routes
        .as_ref()
        .and_then(|s| need(s, OPENING, problems))
        .unwrap_or(Need::Scope(Scope::admin().clone()));
    let excess = choice(
        policy.excess.as_ref(),
        Excess::Refuse,
        &[("refuse", Excess::Refuse), ("narrow", Excess::Narrow)],
        "excess",
        problems,
    );
    let headers = headers::rules(|header| policy.header_rule(header), policy.tools.as_ref(), problems);
    if let (Some(rule), Some(GatewayAuth::TrustedProxy(_) | GatewayAuth::None)) = (&policy.model, &auth) {
        headers::lint_model(headers.model.as_ref(), rule.span(), problems);
    }
    let default_agent = policy.default_agent.as_ref().map_or_else(AgentId::main, |id| {
        AgentId::parse(id.get()).unwrap_or_else(|| {
            let hint = "letters, digits, `_` and `-`, at most 64, a letter or digit first";
            problems.error("default-agent", id.span(), format!("`{}` is no agent's id", id.get()), hint);
            AgentId::main()
        })
    });
    let token_headers = super::token_headers::token_headers(file, &issuers, problems);
    let anonymous = file.anonymous.as_ref().map(|a| anonymous(a, problems));
    let gateway_secret = gateway_secret(file, auth.as_ref(), problems);
    let known = Definitions {
        tokens: &tokens,
        names: tokens.iter().filter(|_| !file.grant.is_empty()).map(|t| &*t.name).collect(),
        issuers: &issuers,
        ways: IdentityOptions {
            gateway_secret: gateway_secret.is_some(),
            anonymous: anonymous.is_some(),
            tailnet: tailscale::is_asked(file),
        },
        model_is_admins: matches!(auth, Some(GatewayAuth::TrustedProxy(_) | GatewayAuth::None)),
        callers_named: matches!(auth, Some(GatewayAuth::TrustedProxy(_)) | None),
    };
    let grants = grants(file, source, &known, problems);
    let tailnet_capability = tailscale::capability(file, problems);
    tailscale::lint_idle(file, problems);
    lint_idle_tokens(file, &grants, problems);
    let anybody = !file.token.is_empty() || !file.issuer.is_empty() || tailscale::is_asked(file);
    if !anybody && gateway_secret.is_none() && anonymous.is_none() {
        problems.warn(
            "nobody",
            None,
            "every caller is refused: no `[[token]]`, no `[[issuer]]`, no `[gateway_secret]`, no `[anonymous]`",
            "`scopeshim token new NAME --scope operator.read` prints a table to paste",
        );
    }
    if let Some(GatewayAuth::Token(secret) | GatewayAuth::Password(secret)) = &auth {
        let same = tokens.iter().find(|t| t.hash == secret.hash());
        if let Some(token) = same {
            problems.error(
                "token-is-gateway-secret",
                None,
                format!("the token `{}` is the gateway's own secret", token.name),
                "make a token of its own (`scopeshim token new`), or use `[gateway_secret]`",
            );
        }
    }
    let websocket = super::websocket::rules(&file.websocket, problems);
    // A page that may connect may be asked for by its name.
    let of_pages = websocket.origins.iter().filter_map(|origin| origin.split_once("://")).map(|(_, host)| host);
    let mut hosts: Vec<String> = of_pages.filter_map(super::websocket::host).collect();
    hosts.extend(policy.hosts.iter().flatten().filter_map(|host| super::websocket::listed_host(host, problems)));
    Some(DynamicConfig {
        gateway_auth: auth?,
        chats: super::sessions::sessions(&file.sessions, has_spaces(&headers, &grants, &tokens), problems),
        gateway_secret,
        anonymous,
        tokens,
        issuers,
        tailnet_capability,
        grants,
        routes,
        unlisted_routes,
        excess,
        headers,
        default_agent,
        limits: super::principal_limits::limits(policy.limits.as_ref(), problems),
        policy_tests: policy_tests(file, problems),
        certificates: Vec::new(),
        token_headers,
        jwt_cache: count(policy.jwt_cache.as_ref(), 4096, 0, 1_000_000, problems),
        hosts,
        websocket,
        cors: super::cors::origins(&file.cors, problems),
    })
}

/// Whether anybody has sessions of its own.
fn has_spaces(everybodys: &HeaderRules, grants: &[GrantRule], tokens: &[Token]) -> bool {
    let own = |rules: &HeaderRules| rules.session_key == Some(HeaderRule::Prefix);
    own(everybodys) || grants.iter().any(|g| own(&g.headers)) || tokens.iter().any(|t| t.users.is_some())
}

fn gateway_secret(file: &File, auth: Option<&GatewayAuth>, problems: &mut Problems) -> Option<ScopeSet> {
    let table = file.gateway_secret.as_ref()?;
    if !table.get().accept.as_ref().is_none_or(|a| *a.get()) {
        return None;
    }
    if let Some(auth @ (GatewayAuth::None | GatewayAuth::TrustedProxy(_))) = auth {
        problems.error(
            "gateway-secret",
            table.span(),
            format!("mode `{}` has no secret that a client could hold", auth.mode()),
            "remove `[gateway_secret]`; use `[anonymous]` or a `[[token]]` instead",
        );
        return None;
    }
    Some(table.get().scopes.as_ref().map_or_else(ScopeSet::default_bundle, |s| scopes(s, problems)))
}

fn anonymous(table: &At<file::Anonymous>, problems: &mut Problems) -> Anonymous {
    let granted = scopes(&table.get().scopes, problems);
    let nets = match &table.get().cidrs {
        Some(_) => cidrs(table.get().cidrs.as_ref(), problems),
        None => vec![
            // Without a word of the user, only this machine.
            ipnet::IpNet::V4(ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
            ipnet::IpNet::V6(ipnet::Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
        ],
    };
    if granted.contains(Scope::admin()) {
        problems.warn(
            "anonymous-admin",
            table.span(),
            "every caller that reaches this proxy is an administrator",
            "grant `operator.read` and `operator.write` at most, or give out tokens",
        );
    }
    Anonymous { scopes: granted, cidrs: nets }
}

/// A token that neither its table nor any grant gives anything.
fn lint_idle_tokens(file: &File, grants: &[GrantRule], problems: &mut Problems) {
    for at in file.token.iter().filter(|t| t.get().scopes.is_empty()) {
        let name = at.get().name.get();
        let granted = grants.iter().any(|g| match &g.to {
            Subject::Token(globs) => globs.iter().any(|glob| glob.matches(name)),
            _ => false,
        });
        if !granted {
            problems.warn(
                "no-scopes",
                at.span(),
                format!("the token `{name}` may do nothing"),
                "add `scopes = [\"operator.read\"]`, or a `[[grant]]` to it",
            );
        }
    }
}
