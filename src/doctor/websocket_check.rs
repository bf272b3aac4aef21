//! A WebSocket client that has a token and no device: at which stage it fails, if it does. The stages
//! are those of the reports (openclaw #46716): `token_missing`, an empty scope list, pairing required.

use super::Outcome;
use super::context::{Chain, Lines};
use super::proxy_checks::{address, caller};
use super::websocket_session::{TIMEOUT, call, lacks};
use crate::gateway_probe::{Advice, Severity, Side, config_snippets};
use crate::http_client::Server;
use crate::scope::ScopeSet;
use http::Request;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use tungstenite::handshake::HandshakeError;
use tungstenite::{Error, WebSocket};

/// How far the session came.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// The upgrade was refused: the status, the code or message.
    NotUpgraded(u16, String),
    /// The connect request was refused: its code and message.
    NotConnected(String, String),
    /// Connected; which of the granted scopes it lacks, with the calls that say so.
    Connected(Vec<String>),
    /// The connection broke off, or nothing came.
    Broken(String),
}

/// Connects as a client that only has a token, and asks for whatever it is granted, as most clients do.
pub(super) async fn connect(chain: &Chain) -> Outcome {
    if !chain.policy.websocket().enabled {
        return Outcome::NotTested("WebSockets are disabled here".to_owned());
    }
    let caller = match caller(chain) {
        Ok(caller) => caller,
        Err(skipped) => return skipped,
    };
    let held = match chain.websocket_scopes(caller) {
        Ok(held) if held.is_empty() => return Outcome::NotTested(format!("{} holds no scope", caller.name)),
        Ok(held) => held,
        Err(refusal) => {
            return Outcome::NotTested(format!("the policy gives {} no WebSocket: {refusal}", caller.name));
        }
    };
    let (server, lines, granted) = (address(chain).clone(), caller.lines.clone(), held.clone());
    match tokio::task::spawn_blocking(move || reach(&server, &lines, &granted)).await {
        Ok(came) => evaluate(&came, &held),
        Err(error) => Outcome::Skipped(error.to_string()),
    }
}

fn reach(server: &Server, lines: &Lines, held: &ScopeSet) -> Came {
    let broken = |error: std::io::Error| Came::Broken(error.to_string());
    match server {
        Server::Tcp(host, port) => {
            let address = (host.as_str(), *port).to_socket_addrs().ok().and_then(|mut all| all.next());
            let Some(address) = address else { return Came::Broken(format!("{server} is no address")) };
            let stream = TcpStream::connect_timeout(&address, TIMEOUT).and_then(|s| {
                s.set_read_timeout(Some(TIMEOUT))?;
                Ok(s)
            });
            stream.map_or_else(broken, |stream| session(stream, server, lines, held))
        }
        Server::Unix(path) => {
            let stream = UnixStream::connect(path).and_then(|s| {
                s.set_read_timeout(Some(TIMEOUT))?;
                Ok(s)
            });
            stream.map_or_else(broken, |stream| session(stream, server, lines, held))
        }
    }
}

fn session<S: Read + Write>(stream: S, server: &Server, lines: &Lines, held: &ScopeSet) -> Came {
    let host = if matches!(server, Server::Unix(_)) { "localhost".to_owned() } else { server.to_string() };
    let mut request = Request::builder()
        .uri(format!("ws://{host}/"))
        .header("Host", host)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", tungstenite::handshake::client::generate_key());
    for (name, value) in lines {
        request = request.header(name, value);
    }
    let request = match request.body(()) {
        Ok(request) => request,
        Err(error) => return Came::Broken(error.to_string()),
    };
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => talk(socket, lines, held),
        Err(HandshakeError::Failure(Error::Http(answer))) => {
            let body: Value = answer.body().as_deref().and_then(|b| serde_json::from_slice(b).ok()).unwrap_or_default();
            let part = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            let said = part("/error/code").or_else(|| part("/error/message")).unwrap_or_default();
            Came::NotUpgraded(answer.status().as_u16(), said)
        }
        Err(error) => Came::Broken(error.to_string()),
    }
}

fn talk<S: Read + Write>(mut socket: WebSocket<S>, lines: &Lines, held: &ScopeSet) -> Came {
    let token = lines
        .iter()
        .find(|(name, _)| *name == AUTHORIZATION)
        .and_then(|(_, value)| value.to_str().ok()?.strip_prefix("Bearer "));
    let connect = json!({
        "minProtocol": 3, "maxProtocol": 4, "role": "operator", "caps": [],
        "client": {
            "id": "gateway-client", "version": env!("CARGO_PKG_VERSION"), "platform": "linux", "mode": "backend",
        },
        "auth": token.map(|token| json!({ "token": token })).unwrap_or(json!({})),
    });
    let answer = match call(&mut socket, "connect", &connect) {
        Ok(answer) => answer,
        Err(error) => return Came::Broken(error),
    };
    if answer.get("ok") != Some(&Value::Bool(true)) {
        let part = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let code = part("/error/details/code").or_else(|| part("/error/code")).unwrap_or_default();
        return Came::NotConnected(code, part("/error/message").unwrap_or_default());
    }
    match lacks(&mut socket, held) {
        Ok(lacking) => {
            let _ = socket.close(None);
            Came::Connected(lacking)
        }
        Err(error) => Came::Broken(error),
    }
}

fn evaluate(came: &Came, held: &ScopeSet) -> Outcome {
    let stage = |code, what: String, why: &'static str, side, change: &'static str| {
        Outcome::found(Advice::new(code, Severity::Error, side, what, why, change))
    };
    match came {
        Came::NotUpgraded(_, code) if code == "upgrade_not_served" => stage(
            "websocket-upgrade",
            "the running process serves no WebSockets, which the file does not disable".to_owned(),
            "control UIs and chat clients cannot connect",
            Side::Proxy,
            "`scopeshim reload`; the stage `process` says more",
        ),
        Came::NotUpgraded(status, said) => stage(
            "websocket-upgrade",
            format!("the WebSocket upgrade is refused: {status} {said}"),
            "control UIs and chat clients cannot connect",
            Side::Proxy,
            "see the access log line of this request for the cause",
        ),
        Came::Broken(error) => stage(
            "websocket-broken",
            format!("the WebSocket session ends early: {error}"),
            "control UIs and chat clients cannot connect",
            Side::Gateway,
            "see the logs of this proxy and of the gateway",
        ),
        Came::NotConnected(code, message) => refused(code, message),
        Came::Connected(lacking) if lacking.is_empty() => {
            Outcome::Good(format!("a client with a token and no device connects, and holds {held}"))
        }
        Came::Connected(lacking) => stage(
            "scope-gap",
            format!("stage scope gap: the session is connected, but lacks {}", lacking.join(", ")),
            "the gateway clears scopes of sessions that the policy grants (openclaw #46716, #51396)",
            Side::Gateway,
            "see whether `gateway.roles` or `identityScopes` in openclaw.json name this caller with less",
        ),
    }
}

/// The stage at which the gateway refused to connect.
fn refused(code: &str, message: &str) -> Outcome {
    let said = format!("{code} {message}").to_ascii_lowercase();
    let why = "control UIs and chat clients cannot connect (openclaw #46716)";
    let (stage, side, change) = if said.contains("token_missing") || said.contains("token missing") {
        (
            "token_missing",
            Side::Proxy,
            "let this proxy insert its credential: see the stages `credential` and `request`",
        )
    } else if said.contains("mismatch") || said.contains("unauthorized") {
        ("token mismatch", Side::Proxy, "correct the gateway's secret: see the stage `credential`")
    } else if said.contains("pairing") || said.contains("upgrade") {
        ("pairing required", Side::Gateway, config_snippets::APPROVAL)
    } else if said.contains("not_paired") || said.contains("device identity") {
        (
            "device identity required",
            Side::Proxy,
            "connect through this proxy, which supplies a device where one is needed",
        )
    } else {
        ("connect", Side::Gateway, "see the gateway's log")
    };
    Outcome::found(Advice::new(
        "websocket-connect",
        Severity::Error,
        side,
        format!("stage {stage}: the session is refused: {code} {message}"),
        why,
        change,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(came: &Came) -> String {
        match evaluate(came, &ScopeSet::parse_lines([&b"operator.read"[..]]).unwrap()) {
            Outcome::Good(said) | Outcome::Skipped(said) | Outcome::NotTested(said) => said,
            Outcome::Found(_, advice) => advice[0].what.clone(),
        }
    }

    #[test]
    fn each_stage_of_the_report_has_its_name() {
        let refused = |code: &str, message: &str| said(&Came::NotConnected(code.to_owned(), message.to_owned()));
        assert!(
            refused("AUTH_TOKEN_MISSING", "unauthorized: gateway token missing").starts_with("stage token_missing")
        );
        assert!(refused("AUTH_TOKEN_MISMATCH", "unauthorized").starts_with("stage token mismatch"));
        assert!(refused("PAIRING_REQUIRED", "pairing required").starts_with("stage pairing required"));
        assert!(refused("NOT_PAIRED", "device identity required").starts_with("stage device identity required"));
        let gap = said(&Came::Connected(vec!["operator.talk (`talk.voice.set`)".to_owned()]));
        assert!(gap.starts_with("stage scope gap") && gap.contains("operator.talk"), "{gap}");
        assert!(said(&Came::NotUpgraded(501, "upgrade_not_served".to_owned())).contains("running process"));
        assert!(said(&Came::Connected(vec![])).contains("operator.read"));
    }
}
