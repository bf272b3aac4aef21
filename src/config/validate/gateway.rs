//! The gateway: where it is, and how this proxy proves itself to it.

use super::headers::text;
use super::values::{choice, duration};
use crate::config::diagnostic::{Problems, Source};
use crate::config::environment::{Environment, credential};
use crate::config::file::{self, At, File, RequiredHeader, SecretPlace};
use crate::config::{GatewayAddress, GatewayAuth, TrustedProxy};
use crate::secret::Secret;
use http::{HeaderName, HeaderValue};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// Stands in for clients of this machine: from a network kept for documentation (RFC 5737), so that
/// no real client has it.
const LOCAL_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

pub(super) fn address(file: &File, problems: &mut Problems) -> Option<GatewayAddress> {
    let Some(gateway) = &file.gateway else {
        problems.error(
            "no-gateway",
            None,
            "missing `[gateway]`",
            "add `[gateway]` with `url = \"http://127.0.0.1:18789\"` and `auth = { kind = \"token\", file = \"…\" }`",
        );
        return None;
    };
    let gateway = gateway.get();
    let connect_timeout =
        duration(gateway.connect_timeout.as_ref(), Duration::from_secs(2), Duration::from_millis(1), problems);
    let retry_for = duration(gateway.retry_for.as_ref(), Duration::from_secs(3), Duration::ZERO, problems);
    let probe = gateway.probe.as_ref().is_none_or(|c| *c.get());
    let url = &gateway.url;
    let bad = |problems: &mut Problems, message: &str| {
        problems.error("gateway-url", url.span(), message, "for example `url = \"http://127.0.0.1:18789\"`");
        None
    };
    let Ok(uri) = url.get().parse::<http::Uri>() else {
        return bad(problems, "this is not a URL");
    };
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return bad(
                problems,
                "the connection to the gateway is plain HTTP: run this proxy on the same machine or in the same pod",
            );
        }
        _ => return bad(problems, "the URL must begin with `http://`"),
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return bad(problems, "the URL must not have a path or a query");
    }
    let Some(host) = uri.host().filter(|h| !h.is_empty()) else {
        return bad(problems, "the URL has no host");
    };
    if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return bad(problems, "the URL must not contain a user name or a password");
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(GatewayAddress { host, port: uri.port_u16().unwrap_or(80), connect_timeout, retry_for, probe })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Token,
    Password,
    None,
    TrustedProxy,
}

pub(super) fn auth(
    file: &File,
    source: &Source,
    around: &dyn Environment,
    problems: &mut Problems,
) -> Option<GatewayAuth> {
    let at = &file.gateway.as_ref()?.get().auth;
    let auth = at.get();
    let words = [
        ("token", Kind::Token),
        ("password", Kind::Password),
        ("none", Kind::None),
        ("trusted-proxy", Kind::TrustedProxy),
    ];
    let before = problems.count();
    let kind = choice(Some(&auth.kind), Kind::None, &words, "gateway-auth", problems);
    if problems.count() > before {
        return None;
    }
    let mut given: Vec<(Place<'_>, Range<usize>)> = Vec::new();
    given.extend(auth.file.as_ref().map(|at| (Place::File(at.get()), at.span())));
    given.extend(auth.env.as_ref().map(|at| (Place::Env(at.get()), at.span())));
    given.extend(auth.credential.as_ref().map(|at| (Place::Credential(at.get()), at.span())));
    if kind != Kind::TrustedProxy
        && (auth.user_header.is_some() || !auth.required_headers.is_empty() || auth.local_client_address.is_some())
    {
        problems.error(
            "gateway-auth",
            at.span(),
            "`user_header`, `required_headers` and `local_client_address` go with mode `trusted-proxy`",
            "remove them, or write `kind = \"trusted-proxy\"`",
        );
    }
    let count = given.len();
    let reader = Reader { source, around };
    match kind {
        Kind::None | Kind::TrustedProxy => {
            if !given.is_empty() {
                problems.error(
                    "gateway-auth",
                    at.span(),
                    format!("mode `{}` has no secret", auth.kind.get()),
                    if kind == Kind::None {
                        "remove the secret, or write `kind = \"token\"`"
                    } else {
                        "put it under the name of a header in `required_headers`, or write `kind = \"token\"`"
                    },
                );
            }
            if kind == Kind::None { Some(GatewayAuth::None) } else { trusted_proxy(auth, &reader, problems) }
        }
        Kind::Token | Kind::Password => {
            let (Some((place, span)), true) = (given.pop(), given.is_empty()) else {
                problems.error(
                    "gateway-auth",
                    at.span(),
                    format!("mode `{}` needs exactly one source for its secret, not {count}", auth.kind.get()),
                    "write one of `file = \"/path\"`, `env = \"NAME\"`, `credential = \"name\"`",
                );
                return None;
            };
            let secret = reader.secret(place, span, problems)?;
            Some(if kind == Kind::Password { GatewayAuth::Password(secret) } else { GatewayAuth::Token(secret) })
        }
    }
}

fn trusted_proxy(auth: &file::GatewayAuth, reader: &Reader<'_>, problems: &mut Problems) -> Option<GatewayAuth> {
    let user_header = match &auth.user_header {
        Some(at) => header_name(at.get(), at.span(), problems),
        None => Some(HeaderName::from_static("x-forwarded-user")),
    };
    let mut required_headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (name, at) in &auth.required_headers {
        let Some(name) = header_name(name, at.span(), problems) else { continue };
        if user_header.as_ref() == Some(&name) || required_headers.iter().any(|(other, _)| *other == name) {
            problems.error(
                "required-header",
                at.span(),
                format!("`{name}` is sent already"),
                "name each header once, in one spelling",
            );
            continue;
        }
        let value = match at.get() {
            RequiredHeader::Text(value) => text(value, at.span(), problems),
            RequiredHeader::Secret(place) => secret_header(place, at.span(), reader, problems),
        };
        required_headers.extend(value.map(|value| (name, value)));
    }
    let local_client_address = match &auth.local_client_address {
        Some(at) => local_client(at, problems),
        None => LOCAL_CLIENT,
    };
    Some(GatewayAuth::TrustedProxy(Box::new(TrustedProxy {
        user_header: user_header?,
        required_headers,
        local_client_address,
    })))
}

fn secret_header(
    place: &SecretPlace,
    span: Range<usize>,
    reader: &Reader<'_>,
    problems: &mut Problems,
) -> Option<HeaderValue> {
    let place = match (&place.file, &place.env, &place.credential) {
        (Some(path), None, None) => Place::File(path),
        (None, Some(name), None) => Place::Env(name),
        (None, None, Some(name)) => Place::Credential(name),
        _ => {
            problems.error(
                "required-header",
                span,
                "a header's secret needs exactly one source",
                "write one of `file`, `env`, `credential`, or the value itself as a text",
            );
            return None;
        }
    };
    let secret = reader.secret(place, span, problems)?;
    // A secret holds visible ASCII only, so a header can carry it.
    let mut value = HeaderValue::from_str(secret.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A header that may carry identity: not one that frames the message, nor one of this proxy's own.
fn header_name(text: &str, span: Range<usize>, problems: &mut Problems) -> Option<HeaderName> {
    const TAKEN: [&str; 18] = [
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "origin",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-forwarded-for",
        "x-real-ip",
        "x-request-id",
    ];
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        problems.error(
            "header-name",
            span,
            format!("`{}` is not a header's name", text.escape_debug()),
            "for example `x-forwarded-user`",
        );
        return None;
    };
    if TAKEN.contains(&name.as_str()) || name.as_str().starts_with("x-openclaw-") || name.as_str().starts_with("sec-") {
        problems.error(
            "header-name",
            span,
            format!("`{name}` has a meaning of its own"),
            "choose another in the gateway's `trustedProxy`, for example `x-forwarded-user`",
        );
        return None;
    }
    Some(name)
}

fn local_client(at: &At<String>, problems: &mut Problems) -> IpAddr {
    match at.get().parse::<IpAddr>().map(|a| a.to_canonical()) {
        Ok(address) if !address.is_loopback() && !address.is_unspecified() && !address.is_multicast() => address,
        Ok(address) => {
            problems.error(
                "local-client-address",
                at.span(),
                format!("the gateway takes {address} for no client's"),
                "an address that is neither loopback nor in its `trustedProxies`, for example `192.0.2.1`",
            );
            LOCAL_CLIENT
        }
        Err(_) => {
            problems.error(
                "local-client-address",
                at.span(),
                format!("`{}` is not an address", at.get()),
                "for example `192.0.2.1`; no port, no name",
            );
            LOCAL_CLIENT
        }
    }
}

/// Where a secret is.
#[derive(Clone, Copy)]
enum Place<'a> {
    File(&'a str),
    Env(&'a str),
    Credential(&'a str),
}

struct Reader<'a> {
    source: &'a Source,
    around: &'a dyn Environment,
}

impl Reader<'_> {
    fn secret(&self, place: Place<'_>, span: Range<usize>, problems: &mut Problems) -> Option<Secret> {
        let path = match place {
            // A relative path is meant from the file it stands in, wherever the process was started.
            Place::File(file) => Path::new(&self.source.name).parent().unwrap_or(Path::new("")).join(file),
            Place::Credential(name) => match credential(self.around, name) {
                Ok(path) => path,
                Err((message, hint)) => {
                    problems.error("secret", span, message, hint);
                    return None;
                }
            },
            Place::Env(name) => {
                let Some(value) = self.around.variable(name) else {
                    problems.error(
                        "secret",
                        span,
                        format!("the environment variable {name} is not set"),
                        "set it, or use `file`",
                    );
                    return None;
                };
                return fit(&value, span, problems);
            }
        };
        match self.around.secret_file(&path) {
            Ok(text) => fit(&text, span, problems),
            Err(fault) => {
                problems.error("secret", span, format!("{} {fault}", path.display()), fix(&path));
                None
            }
        }
    }
}

/// What to do about a secret's file that cannot be used.
fn fix(path: &Path) -> String {
    // Where the packages want it, read by the group they made.
    if path.starts_with("/etc/scopeshim") {
        let path = path.display();
        return format!(
            "as root, `scopeshim init --force --openclaw-config FILE` takes it from the gateway's openclaw.json; or \
             `install -m 0640 -g scopeshim /dev/null {path}`, and write it there"
        );
    }
    "write the gateway's secret into it and `chmod 0600` it (or 0640 with the service's group)".to_owned()
}

fn fit(text: &str, span: Range<usize>, problems: &mut Problems) -> Option<Secret> {
    Secret::parse(text)
        .map_err(|fault| {
            problems.error(
                "secret",
                span,
                fault.to_string(),
                "put the gateway's own token or password there, as its openclaw.json has it in `gateway.auth`",
            );
        })
        .ok()
}
