//! The checks of this proxy: it listens, authenticates its callers, narrows scopes, and removes spoofed headers.

use super::Outcome;
use super::context::{AMBIGUOUS, Caller, Chain, NoCaller, TIMEOUT, is_ours, lines, server};
use crate::config::ListenerIdentity;
use crate::gateway_probe::{Advice, ProbeState, Severity, Side};
use crate::http_client::{ClientRequest, ClientResponse, Fault, Server, ask};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use jiff::Timestamp;

fn error(code: &'static str, side: Side, what: String, why: &'static str, change: impl Into<String>) -> Advice {
    Advice::new(code, Severity::Error, side, what, why, change.into())
}

/// Does every listener answer, and is it this proxy?
pub(super) async fn listener(chain: &Chain) -> Outcome {
    let mut said = Vec::new();
    let mut advice = Vec::new();
    for listen in &chain.fixed.listeners {
        let at = server(&listen.address);
        if listen.tls {
            said.push(format!("{at} (TLS, not tested)"));
            advice.extend(chain.fixed.listeners.iter().all(|l| l.tls).then(tls_alone));
            continue;
        }
        let finding = match ask(&at, ClientRequest::get(AMBIGUOUS, Vec::new()), TIMEOUT).await {
            answer if is_ours(&answer) => None,
            Ok(answer) => Some(error(
                "listener-taken",
                Side::Machine,
                format!("another program answers on {at}: {}", answer.brief()),
                "clients talk to it instead of to this proxy",
                "stop it, or change `[[listen]] address` and restart this proxy",
            )),
            Err(fault) => Some(error(
                "listener-silent",
                Side::Proxy,
                format!("no answer on {at}: {fault}"),
                "no client gets through",
                "start it: `scopeshim run --config FILE`, or `systemctl start scopeshim`; its log says why it ended",
            )),
        };
        said.push(at.to_string());
        advice.extend(finding);
    }
    Outcome::of(said.join(", "), advice)
}

fn tls_alone() -> Advice {
    error(
        "listener-tls",
        Side::Machine,
        "every listener uses TLS, which this check does not support".to_owned(),
        "the rest of the chain cannot be tested",
        "add one on loopback: `[[listen]] address = \"127.0.0.1:18784\"`, and restart this proxy",
    )
}

/// Are unknown callers refused, and are the sources that prove callers in order?
pub(super) async fn identity(chain: &Chain) -> Outcome {
    let live = chain.policy.live();
    let now = Timestamp::now();
    let mut advice: Vec<Advice> = live
        .present_tokens()
        .filter(|t| t.expires.is_some_and(|at| at <= now))
        .map(|t| {
            Advice::new(
                "token-expired",
                Severity::Warning,
                Side::Proxy,
                format!("the token `{}` ({}) has expired", t.name, t.place),
                "its holder is answered 401",
                format!("`scopeshim token rotate {}`, or remove it", t.name),
            )
        })
        .collect();
    advice.extend(chain.keyless.iter().map(|issuer| {
        error(
            "issuer-keys",
            Side::Machine,
            format!("no keys of the issuer `{issuer}` are available"),
            "its tokens are answered 503",
            "see the log for the cause; check `keys` of the `[[issuer]]` and the network path to it",
        )
    }));
    let asks_tailnet = chain.fixed.listeners.iter().any(|l| l.identity != ListenerIdentity::None);
    if asks_tailnet && let Err(why) = crate::tailscale::check(&chain.fixed.tailscaled).await {
        advice.push(error(
            "tailnet-silent",
            Side::Machine,
            why,
            "callers of the tailnet without a bearer token are answered 503",
            "start tailscaled and `tailscale up`, or set `[tailscale] socket` to where its socket is",
        ));
    }
    if chain.answers {
        // No secret has this form.
        let stranger = vec![(AUTHORIZATION, HeaderValue::from_static("Bearer scopeshim-doctor-knows-no-token"))];
        let answer = chain.get("/v1/models", stranger).await;
        if !answer.as_ref().is_ok_and(|a| a.status == 401) {
            advice.push(error(
                "stranger-let-in",
                Side::Proxy,
                format!("an unknown token is not refused: {}", brief(&answer)),
                "no unauthenticated caller may pass",
                "report this, with the access log line of this request",
            ));
        }
    }
    if let Err(NoCaller::Refused(refusal)) = &chain.caller {
        advice.push(error(
            "token-refused",
            Side::Client,
            format!("the token given is refused: {refusal}"),
            "its holder cannot use the gateway",
            refusal.advice(),
        ));
    }
    let counted = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let named = |there: bool, what: &str| there.then(|| what.to_owned());
    let sources = [
        counted(live.tokens.len(), "named token"),
        counted(live.issuers.len(), "issuer"),
        named(live.gateway_secret.is_some(), "the gateway's secret"),
        named(live.anonymous.is_some(), "anonymous callers"),
        named(asks_tailnet, "the tailnet"),
    ];
    Outcome::of(sources.into_iter().flatten().collect::<Vec<_>>().join(", "), advice)
}

/// The caller to go on with.
pub(super) fn caller(chain: &Chain) -> Result<&Caller, Outcome> {
    if !chain.answers {
        return Err(silent());
    }
    chain.caller.as_ref().map_err(|why| {
        Outcome::Skipped(match why {
            NoCaller::Unknown => {
                "no client token to test with: `SCOPESHIM_TOKEN=scs_... scopeshim doctor` tests with one".to_owned()
            }
            NoCaller::Refused(_) => "the token given is refused".to_owned(),
        })
    })
}

fn silent() -> Outcome {
    Outcome::Skipped("scopeshim does not answer".to_owned())
}

/// Does a plain request get through?
pub(super) async fn request(chain: &Chain) -> Outcome {
    let caller = match caller(chain) {
        Ok(caller) => caller,
        Err(skipped) => return skipped,
    };
    let may = chain.may(caller, &Method::GET, "/v1/models");
    let answer = chain.get("/v1/models", caller.lines.clone()).await;
    let said = format!("GET /v1/models as {}: {}", caller.name, brief(&answer));
    match answer {
        Ok(a) if a.status == 200 && !a.is_html() => Outcome::Good(said),
        // Before 2026.3.24 this path is the web page, whatever is switched on (contract, head).
        Ok(a) if a.status == 200 && endpoints_enabled(chain) => {
            Outcome::Good(format!("{said}: this release lists no models"))
        }
        Ok(a) if a.status == 403 && !may => Outcome::Good(format!("{said}, as the policy says")),
        // The file knows the caller, and this is the process's own word, not one of the gateway.
        Ok(a) if a.status == 401 && a.text_at("/error/code").as_deref() == Some("credential_unknown") => {
            Outcome::found(error(
                "caller-unknown-to-process",
                Side::Proxy,
                format!(
                    "the file has {}, and the process that answers on {} does not know it",
                    caller.name, chain.server
                ),
                "that process has another policy in force than the file",
                "`scopeshim reload`; if it says that the file is in force, another process answers on that address",
            ))
        }
        // The gateway's own stages say it with its cause.
        _ if !matches!(chain.gateway.state, ProbeState::Answers(_)) || chain.gateway.is_wrong() => {
            Outcome::Skipped(format!("{said}; the gateway's stages say why"))
        }
        _ => Outcome::found(error(
            "request-fails",
            Side::Proxy,
            said,
            "a plain request fails, although each part works",
            "see the access log line of this request for the cause",
        )),
    }
}

fn endpoints_enabled(chain: &Chain) -> bool {
    matches!(&chain.gateway.state, ProbeState::Answers(capabilities) if capabilities.endpoints_enabled == Some(true))
}

/// Is a client that asks for less held to it, whatever the gateway does?
pub(super) async fn narrowing(chain: &Chain) -> Outcome {
    let caller = match caller(chain) {
        Ok(caller) => caller,
        Err(skipped) => return skipped,
    };
    let read = caller.with(&[("x-openclaw-scopes", "operator.read")]);
    let empty = caller.with(&[("x-openclaw-scopes", "")]);
    let tried = [
        ("POST /v1/chat/completions with operator.read", chain.post("/v1/chat/completions", read.clone()).await),
        // Open on 2026.3.28 (contract §1).
        ("POST /v1/embeddings with operator.read", chain.post("/v1/embeddings", read).await),
        ("GET /v1/models with an empty header", chain.get("/v1/models", empty).await),
    ];
    let mut advice: Vec<Advice> = tried
        .into_iter()
        .filter(|(_, answer)| !answer.as_ref().is_ok_and(|a| a.status == 403))
        .map(|(what, answer)| {
            error(
                "narrowing-not-enforced",
                Side::Proxy,
                format!("{what} is not refused: {}", brief(&answer)),
                "a client that asks for less must get less",
                "report this, with the access log line of this request",
            )
        })
        .collect();
    let mut said = "narrowed and empty scopes headers are enforced here";
    if let ProbeState::Answers(capabilities) = &chain.gateway.state {
        if capabilities.enforces_narrowed == Some(true) && capabilities.enforces_empty == Some(true) {
            said = "narrowed and empty scopes headers are enforced here, and by the gateway too";
        }
        advice.extend(chain.gateway.advice().into_iter().filter(|a| a.code == "mode-cannot-narrow"));
    }
    Outcome::claim(said, advice)
}

/// Does anything that a client claims of itself get through?
pub(super) async fn forgery(chain: &Chain) -> Outcome {
    const CLAIMS: &[(&str, &str)] = &[
        ("x-forwarded-user", "admin"),
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("tailscale-user-login", "admin@example.org"),
        ("cf-access-authenticated-user-email", "admin@example.org"),
        ("x_openclaw_scopes", "operator.admin"),
        ("x.openclaw.scopes", "operator.admin"),
    ];
    if !chain.answers {
        return silent();
    }
    let mut advice = Vec::new();
    let leak = |what: String| {
        error(
            "forged-header",
            Side::Proxy,
            what,
            "every client that reaches this port could claim any identity",
            "report this, with the access log line of this request",
        )
    };
    let anonymous = chain.policy.live().anonymous.is_some() || chain.places_prove;
    let claimed = chain.get("/v1/models", lines(CLAIMS)).await;
    if !anonymous && !claimed.as_ref().is_ok_and(|a| a.status == 401) {
        advice.push(leak(format!("headers that claim an identity, and no credential: {}", brief(&claimed))));
    }
    if let Ok(caller) = &chain.caller {
        let plain = chain.get("/v1/models", caller.lines.clone()).await;
        let claimed = chain.get("/v1/models", caller.with(CLAIMS)).await;
        if let (Ok(plain), Ok(claimed)) = (&plain, &claimed)
            && plain.status != claimed.status
        {
            advice.push(leak(format!(
                "spoofed headers change the answer from {} to {}",
                plain.brief(),
                claimed.brief()
            )));
        }
        // An empty header beside a forged alias is still an empty header.
        let emptied = caller.with(&[("x-openclaw-scopes", ""), ("x_openclaw_scopes", "operator.admin")]);
        let emptied = chain.get("/v1/models", emptied).await;
        if !emptied.as_ref().is_ok_and(|a| a.status == 403) {
            advice.push(leak(format!("an alias of the scopes header counts: {}", brief(&emptied))));
        }
    }
    Outcome::claim("headers that claim identity, origin or scopes change nothing", advice)
}

pub(super) fn brief(answer: &Result<ClientResponse, Fault>) -> String {
    match answer {
        Ok(answer) => answer.brief(),
        Err(fault) => fault.to_string(),
    }
}

/// The address that a stage of its own connection uses.
pub(super) fn address(chain: &Chain) -> &Server {
    &chain.server
}
