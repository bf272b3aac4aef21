//! What `init` prints to paste: changes for the gateway, settings for clients.

use crate::gateway_probe::config_snippets;
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
        Auth::TrustedProxy { .. } => return out + "The gateway's mode, trusted-proxy, is the recommended one.\n",
        Auth::Token(_) => "token",
        Auth::Password(_) => "password",
        Auth::None => "none",
    };
    match found.release {
        Some(release) if release < config_snippets::TRUSTED_FROM => {
            let [year, month, patch] = release;
            let _ =
                writeln!(out, "The gateway's mode, {mode}, is the right one for its release, {year}.{month}.{patch}.");
        }
        known => {
            let when = if known.is_some() { "" } else { ", if the gateway is of release 2026.4.29 or later" };
            let _ = write!(
                out,
                "Recommended{when}: mode trusted-proxy instead of {mode}. Then the gateway enforces each caller's\n\
                 scopes itself, inside chat turns too, and learns who is calling. The cost: every process on\n\
                 this machine can pretend to be this proxy. Patch openclaw.json:\n\n    {}\n\n\
                 take out gateway.auth.token if it is there (the gateway does not start with both), and put here\n\n    \
                 auth = {{ kind = \"trusted-proxy\", user_header = \"x-scopeshim-user\" }}\n\n\
                 without `[gateway_secret]`. Restart the gateway, then this proxy.\n",
                config_snippets::TRUSTED
            );
        }
    }
    out
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

/// An address to connect to, of one to listen on.
fn reachable(listen: &str) -> String {
    match listen.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
        _ => listen.to_owned(),
    }
}
