//! Why a request is decided as it is: the same decision, with its reasons.

use super::grants::RequestFacts;
use super::upstream_headers;
use super::{Grant, Policy, Proven, Request, SocketRequest};
use crate::authn::Identity;
use crate::config::PrincipalLimits;
use crate::json_body::Object;
use crate::metric_labels::{Label as _, SourceLabel};
use crate::refusal::Refusal;
use crate::scope::{Scope, ScopeSet};
use http::header::AUTHORIZATION;
use serde::Serialize;
use std::net::IpAddr;

/// What stands in place of a route where a WebSocket is explained.
pub const WEBSOCKET: &str = "websocket";

/// A decision and its reasons.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The identified caller; `None` where the caller is not authenticated.
    pub principal: Option<ExplainedPrincipal>,
    /// The route's name, or [`WEBSOCKET`]; `None` where the request was refused before its path was known.
    pub route: Option<&'static str>,
    /// What the route needs, in words.
    pub needs: Option<String>,
    /// What gives scopes, and what nearly would.
    pub sources: Vec<ExplainedGrant>,
    /// The most that the app may do which calls on the principal's behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<String>,
    /// Each scope that the principal holds for this request, and where it is from.
    pub granted: Vec<Reason>,
    /// What the scopes header asks for; `None` when it is absent.
    pub requested: Option<String>,
    /// How much the principal may ask for.
    pub limits: Option<String>,
    /// The scopes that would be sent.
    pub effective: Option<String>,
    /// `allow`, or the refusal's code.
    pub outcome: &'static str,
    /// The status that a refusal has.
    pub status: Option<u16>,
    /// The refusal in words.
    pub message: Option<String>,
    /// The path that would be sent, where it is another than came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The body that would be sent, where it is another than came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The header lines the gateway gets from this proxy, the secret masked.
    pub headers: Vec<(String, String)>,
    /// The smallest change of the policy that would allow it.
    pub change: Option<String>,
}

/// What was asked for.
struct Asked<'a> {
    at: RequestFacts<'a>,
    requested: Option<&'a ScopeSet>,
    body: Option<&'a str>,
    route: &'static str,
    needs: String,
}

/// A principal.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedPrincipal {
    /// Its name.
    pub name: String,
    /// What proved it.
    pub source: SourceLabel,
    /// The app that calls on its behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Where its own table stands, `file:line`.
    pub place: Option<String>,
}

/// Something in the policy that gives scopes.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedGrant {
    /// Where it stands, or what it is.
    pub place: String,
    /// The scopes it gives.
    pub scopes: String,
    /// The limits it sets, if it sets any.
    pub limits: Option<String>,
    /// Why it does not apply; `None` when it does.
    pub but: Option<String>,
}

/// A scope and why the principal holds it.
#[derive(Debug, Clone, Serialize)]
pub struct Reason {
    /// The scope.
    pub scope: String,
    /// Where it is from.
    pub from: Vec<String>,
}

impl Policy {
    /// Why a request was decided so. `request` is `None` where it was refused before its path was known, and a
    /// decision without a grant is an answer that this proxy gives itself.
    #[must_use]
    pub fn explain(
        &self,
        decided: &Result<Option<Grant>, Refusal>,
        who: &Result<Proven, Refusal>,
        request: Option<Request<'_>>,
    ) -> Explanation {
        let asked = request.map(|r| Asked {
            at: r.at(),
            requested: r.requested,
            body: r.body.map(Object::source),
            route: r.route.label.as_str(),
            needs: r.route.need.to_string(),
        });
        self.explained(decided.as_ref().map(Option::as_ref), who, asked)
    }

    /// The same of a WebSocket.
    #[must_use]
    pub fn explain_socket(
        &self,
        decided: &Result<Grant, Refusal>,
        who: &Result<Proven, Refusal>,
        socket: SocketRequest<'_>,
    ) -> Explanation {
        let needs = "nothing itself: each call over it needs its own scope, which the gateway asks for".to_owned();
        let asked = Asked { at: socket.at(), requested: socket.requested, body: None, route: WEBSOCKET, needs };
        self.explained(decided.as_ref().map(Some), who, Some(asked))
    }

    fn explained(
        &self,
        decided: Result<Option<&Grant>, &Refusal>,
        who: &Result<Proven, Refusal>,
        asked: Option<Asked<'_>>,
    ) -> Explanation {
        let (grant, refusal) = match decided {
            Ok(grant) => (grant, None),
            Err(refusal) => (None, Some(refusal)),
        };
        let at = asked.as_ref().map(|a| a.at);
        let caller = who.as_ref().ok().zip(at);
        let sources = caller.map(|(p, at)| self.sources(p, at)).unwrap_or_default();
        let ceiling = caller.and_then(|(p, at)| p.permissions.app_scopes(at, &self.live));
        let body = asked.as_ref().and_then(|a| a.body);
        Explanation {
            principal: who.as_ref().ok().map(|p| ExplainedPrincipal {
                name: p.principal.name().to_owned(),
                source: p.principal.identity().source(),
                app: p.principal.app().map(|app| app.name().to_owned()),
                place: self.place(p),
            }),
            granted: granted(&sources, ceiling.as_ref()),
            ceiling: ceiling.as_ref().map(ScopeSet::to_header),
            sources,
            requested: asked.as_ref().and_then(|a| a.requested).map(ScopeSet::to_header),
            route: asked.as_ref().map(|a| a.route),
            needs: asked.map(|a| a.needs),
            limits: grant.and_then(|g| shown(g.limits())),
            effective: grant.map(|g| g.effective().to_header()),
            outcome: refusal.map_or("allow", |r| r.code().as_str()),
            status: refusal.map(Refusal::status),
            message: refusal.map(ToString::to_string),
            path: grant.and_then(|g| g.path().map(ToOwned::to_owned)),
            body: grant
                .and_then(|g| g.body().zip(body))
                .map(|(edits, body)| String::from_utf8_lossy(&edits.clone().apply(body.as_bytes())).into_owned()),
            headers: grant.zip(at).map(|(g, at)| self.lines(g, at.peer)).unwrap_or_default(),
            change: refusal.map(|r| self.remedy(who.as_ref().ok(), r)),
        }
    }

    fn place(&self, proven: &Proven) -> Option<String> {
        match proven.principal.identity() {
            Identity::Token(token) | Identity::App(token) | Identity::AppUser(token) => {
                self.live.tokens.get(token).map(|t| t.place.to_string())
            }
            Identity::Issuer(issuer) => self.live.issuers.get(issuer).map(|i| i.place.to_string()),
            Identity::GatewaySecret | Identity::Anonymous | Identity::Tailnet => None,
        }
    }

    fn sources(&self, proven: &Proven, at: RequestFacts<'_>) -> Vec<ExplainedGrant> {
        let own = match proven.principal.identity() {
            Identity::Token(_) => format!("its own table, {}", self.place(proven).unwrap_or_default()),
            Identity::GatewaySecret => "[gateway_secret]".to_owned(),
            Identity::Anonymous => "[anonymous]".to_owned(),
            Identity::App(_) => "no user".to_owned(),
            Identity::AppUser(_) => "its own claims".to_owned(),
            Identity::Issuer(_) => "its token's claims".to_owned(),
            Identity::Tailnet => "the tailnet's capability".to_owned(),
        };
        let mut sources = vec![ExplainedGrant {
            place: own,
            scopes: proven.permissions.own.scopes.to_header(),
            limits: shown(proven.permissions.own.limits),
            but: None,
        }];
        for grant in &self.live.grants {
            let but = grant.to.failing(&proven.principal).or_else(|| grant.when.failing(at).map(ToOwned::to_owned));
            // Grants to other identity sources are no near miss.
            if but.as_deref() != Some("it is to another identity source") {
                sources.push(ExplainedGrant {
                    place: format!("[[grant]], {}", grant.place),
                    scopes: grant.scopes.to_header(),
                    limits: shown(grant.limits),
                    but,
                });
            }
        }
        sources
    }

    fn lines(&self, grant: &Grant, peer: Option<IpAddr>) -> Vec<(String, String)> {
        upstream_headers::outbound(grant, self.credentials(), peer)
            .map(|(name, value)| {
                let shown = if value.is_sensitive() {
                    if name == AUTHORIZATION { "Bearer ***" } else { "***" }.to_owned()
                } else {
                    String::from_utf8_lossy(value.as_bytes()).into_owned()
                };
                (name.to_string(), shown)
            })
            .collect()
    }

    /// The smallest change that would allow what was refused.
    #[must_use]
    pub fn remedy(&self, who: Option<&Proven>, refusal: &Refusal) -> String {
        let whom = || match who.map(|p| (p, p.principal.identity())) {
            Some((p, Identity::Token(_))) => {
                format!("`scopes` of the token `{}` ({})", p.principal.name(), self.place(p).unwrap_or_default())
            }
            Some((p, Identity::App(_))) => format!("the token `{}`", p.principal.name()),
            Some((p, Identity::AppUser(_))) => {
                let app = p.principal.app().map(|app| app.name().to_owned()).unwrap_or_default();
                let user = if is_plain(p.principal.name()) { p.principal.name() } else { "…" };
                format!(
                    "`scopes` of a [[grant]] with `to = {{ app = \"{app}\", user = \"{user}\" }}`, and to the token \
                     `{app}` if that does not hold it"
                )
            }
            Some((_, Identity::GatewaySecret)) => "`scopes` of [gateway_secret]".to_owned(),
            Some((_, Identity::Anonymous)) => "`scopes` of [anonymous]".to_owned(),
            Some((p, Identity::Issuer(_))) => {
                let issuer = p.principal.verified().map(|v| v.issuer.to_string()).unwrap_or_default();
                if !is_plain(p.principal.name()) {
                    return format!(
                        "`scopes` of a [[grant]] to the issuer `{issuer}` with a claim that this caller alone has"
                    );
                }
                format!(
                    "`scopes` of a [[grant]] with `to = {{ issuer = \"{issuer}\", subject = \"{}\" }}`",
                    p.principal.name()
                )
            }
            Some((p, Identity::Tailnet)) => {
                let peer = p.principal.tailnet();
                let to = match peer.map(|peer| (&peer.login, peer.tags.first())) {
                    Some((None, Some(tag))) => format!("tailnet_tag = \"{tag}\""),
                    _ => format!("tailnet_user = \"{}\"", p.principal.name()),
                };
                format!("`scopes` of a [[grant]] with `to = {{ {to} }}`")
            }
            None => "the policy".to_owned(),
        };
        match refusal {
            Refusal::ScopeMissing { needed, held: false } => format!("add \"{needed}\" to {}", whom()),
            Refusal::ScopeExcess { excess } => {
                let names: Vec<String> = excess.iter().map(|s| format!("\"{s}\"")).collect();
                format!("add {} to {}, or have the client ask for less", names.join(", "), whom())
            }
            Refusal::PrincipalLimit(reached) => {
                format!("raise `{}` in `limits` of this caller's table or grant, or in [policy]", reached.limit.key())
            }
            other => other.advice().to_owned(),
        }
    }
}

fn shown(limits: PrincipalLimits) -> Option<String> {
    (!limits.is_none()).then(|| limits.to_string())
}

/// Whether a name that a token brought may stand in a line that people copy into the policy: a `*`
/// would grant to every caller, a quote would write the rest of the table.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_alphanumeric() || " @._+-:|/".contains(c))
}

fn granted(sources: &[ExplainedGrant], ceiling: Option<&ScopeSet>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for source in sources.iter().filter(|s| s.but.is_none()) {
        let scopes = ScopeSet::parse_lines([source.scopes.as_bytes()]).unwrap_or_default();
        let scopes = ceiling.map_or(scopes.clone(), |most| scopes.meet(most));
        for scope in scopes.iter().map(Scope::as_str) {
            match reasons.iter_mut().find(|r| r.scope == scope) {
                Some(reason) => reason.from.push(source.place.clone()),
                None => reasons.push(Reason { scope: scope.to_owned(), from: vec![source.place.clone()] }),
            }
        }
    }
    reasons
}
