//! What `init` prints to paste: changes for the gateway, settings for clients.

use crate::openclaw_config::{Auth, OpenClaw};
use std::fmt::Write as _;

/// What should change in the gateway, the necessary first (contract §10).
pub(super) fn gateway_changes(found: &OpenClaw) -> String {
    let mut out = String::new();
    if !found.endpoints {
        out.push_str(
            "Needed: the gateway's OpenAI endpoints are switched off. Switch them on and restart it:\n\n    \
             openclaw config set gateway.http.endpoints.chatCompletions.enabled true\n    \
             openclaw config set gateway.http.endpoints.responses.enabled true\n\n",
        );
    }
    if found.is_open() {
        let bind = &found.bind;
        let _ = write!(
            out,
            "Recommended: the gateway listens beyond this machine (bind: {bind}), so clients can go around this\n\
             proxy. Close that way and restart it:\n\n    openclaw config set gateway.bind loopback\n\n"
        );
    }
    let mode = match &found.auth {
        Auth::TrustedProxy { .. } => {
            return out
                + "The gateway's mode is trusted-proxy. WebSockets need this proxy's device approved at the gateway, once:\n\
                   run `scopeshim doctor` as soon as the proxy runs; it prints the command, and says when all is proven.\n\
                   docs/trusted-proxy.md has the steps.\n";
        }
        Auth::Token(_) => "token",
        Auth::Password(_) => "password",
        Auth::None => "none",
    };
    let _ = writeln!(
        out,
        "The gateway's mode, {mode}, works as it is: this proxy holds every caller to its scopes. In mode trusted-proxy\n\
         the gateway does so too, inside chat turns as well, and learns who is calling. That change takes four steps,\n\
         the last an approval at the gateway, and clients keep their keys: docs/trusted-proxy.md."
    );
    out
}

/// What the gateway must do for rules about agents and sessions to hold to the end; `None` where it does.
pub(super) fn isolation(found: &OpenClaw) -> Option<String> {
    let set = &found.isolation;
    let has = match set.visibility.as_deref() {
        Some("self") => return None,
        Some(word) => format!("is `{word}`"),
        None => "is not set".to_owned(),
    };
    let mut out = match set.agents.as_slice() {
        [] | [_] => String::new(),
        agents => format!(
            "The gateway has {} agents: {}. `agent_id` in the policy keeps a caller to some of them.\n",
            agents.len(),
            agents.join(", ")
        ),
    };
    let _ = writeln!(
        out,
        "For callers with sessions or agents of their own (docs/isolation.md) the gateway has to keep its model to them too.\n\
         Its `tools.sessions.visibility` {has}:\n\n    openclaw config set tools.sessions.visibility self"
    );
    Some(out)
}

/// How clients are told.
pub(super) fn clients(listen: &str, token: &str) -> String {
    if listen.starts_with("unix:") {
        return format!(
            "curl:\n\n    curl --unix-socket {} -H 'Authorization: Bearer {token}' http://localhost/v1/models\n",
            listen.trim_start_matches("unix:")
        );
    }
    let base = format!("http://{}", reachable(listen));
    format!(
        r#"curl:

    curl -H 'Authorization: Bearer {token}' {base}/v1/models

Open WebUI (Admin Settings, Connections, OpenAI API; or its environment; in a container it reaches
this machine as host.docker.internal, if this proxy listens there):

    OPENAI_API_BASE_URL={base}/v1
    OPENAI_API_KEY={token}

OpenAI SDK, Python:

    from openai import OpenAI
    client = OpenAI(base_url="{base}/v1", api_key="{token}")
    print(client.chat.completions.create(model="openclaw", messages=[{{"role": "user", "content": "hello"}}]))

OpenAI SDK, JavaScript:

    import OpenAI from "openai";
    const client = new OpenAI({{ baseURL: "{base}/v1", apiKey: "{token}" }});
    console.log(await client.chat.completions.create({{ model: "openclaw", messages: [{{ role: "user", content: "hello" }}] }}));

Home Assistant (configuration.yaml):

    rest_command:
      openclaw:
        url: {base}/v1/chat/completions
        method: POST
        timeout: 300
        headers:
          Authorization: "Bearer {token}"
          Content-Type: application/json
        payload: >-
          {{"model": "openclaw", "messages": [{{"role": "user", "content": {{{{ text | to_json }}}}}}]}}
"#
    )
}

/// What it means to listen for other machines and containers; `None` where nobody but this machine can connect.
pub(super) fn exposure(listen: &str) -> Option<String> {
    let address = listen.parse::<std::net::SocketAddr>().ok().filter(|a| !a.ip().is_loopback())?;
    let port = address.port();
    let from = if address.ip().is_unspecified() {
        format!(
            "http://host.docker.internal:{port}/v1 (Docker; on Linux with --add-host=host.docker.internal:host-gateway) or\n    \
             http://host.containers.internal:{port}/v1 (Podman)"
        )
    } else {
        format!("http://{address}/v1")
    };
    Some(format!(
        "warning: {listen} can be reached from other machines, and over http tokens travel in the clear: give the listener\n\
         a certificate (docs/tls.md), or listen on an address that only containers of this machine reach, such as\n\
         Docker's bridge, 172.17.0.1. A container reaches it as\n\n    {from}\n"
    ))
}

/// An address to connect to, of one to listen on.
fn reachable(listen: &str) -> String {
    match listen.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
        _ => listen.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::exposure;

    #[test]
    fn whoever_listens_for_others_is_told_what_that_means() {
        for local in ["127.0.0.1:18780", "[::1]:18780", "unix:/run/x.sock", "localhost:1"] {
            assert_eq!(exposure(local), None, "{local}");
        }
        let all = exposure("0.0.0.0:18780").unwrap();
        assert!(all.contains("in the clear") && all.contains("http://host.docker.internal:18780/v1"), "{all}");
        assert!(exposure("172.17.0.1:18780").unwrap().contains("http://172.17.0.1:18780/v1"));
    }
}
