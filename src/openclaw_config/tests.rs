use super::*;
use crate::config::environment::SecretFileFault;
use jiff::Timestamp;
use std::collections::HashMap;

/// A home directory, which lasts as long as the value, and an environment.
struct World {
    _home: tempfile::TempDir,
    variables: HashMap<&'static str, String>,
}

impl Environment for World {
    fn secret_file(&self, path: &Path) -> Result<String, SecretFileFault> {
        std::fs::read_to_string(path).map_err(|e| SecretFileFault::Unreadable(e.to_string()))
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

impl World {
    fn new(files: &[(&str, &str)], variables: &[(&'static str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let home = ("HOME", dir.path().display().to_string());
        let variables = variables.iter().map(|(n, v)| (*n, (*v).to_owned())).chain([home]).collect();
        Self { _home: dir, variables }
    }

    fn read(&self) -> Result<OpenClaw, Fault> {
        OpenClaw::read(None, self)
    }
}

fn token(text: &str, variables: &[(&'static str, &str)]) -> Result<String, String> {
    let world = World::new(&[(".openclaw/openclaw.json", text)], variables);
    match world.read().map_err(|e| e.to_string())?.auth {
        Auth::Token(secret) | Auth::Password(secret) => Ok(secret.expose().to_owned()),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn a_plain_file_says_what_it_says() {
    let text = "{ // a comment\n meta: { lastTouchedVersion: '2026.3.28' }, gateway: { port: 19001, auth: \
                { mode: 'token', token: 'a-gateway-token' }, http: { endpoints: { chatCompletions: { enabled: true }, \
                responses: { enabled: true } } } }, }";
    let found = World::new(&[(".openclaw/openclaw.json", text)], &[]).read().unwrap();
    assert_eq!((found.port, found.host.as_str(), found.is_open()), (19001, "127.0.0.1", false));
    assert!(found.endpoints);
    assert!(matches!(found.auth, Auth::Token(_)));
}

#[test]
fn variables_are_found_where_the_gateway_finds_them() {
    let text =
        "{ gateway: { auth: { token: '${GATEWAY_TOKEN}' } }, env: { vars: { GATEWAY_TOKEN: 'from-the-config' } } }";
    assert_eq!(token(text, &[]).unwrap(), "from-the-config");
    assert_eq!(token(text, &[("GATEWAY_TOKEN", "from-the-process")]).unwrap(), "from-the-process");
    let short = "{ gateway: { auth: { token: '$GATEWAY_TOKEN' } } }";
    assert_eq!(token(short, &[("GATEWAY_TOKEN", "from-the-process")]).unwrap(), "from-the-process");
    assert!(token(short, &[]).unwrap_err().contains("GATEWAY_TOKEN, which is not set here"));
    let world = World::new(
        &[(".openclaw/openclaw.json", text), (".openclaw/.env", "# x\nexport GATEWAY_TOKEN=\"from-the-dotenv\"\n")],
        &[],
    );
    assert!(matches!(world.read().unwrap().auth, Auth::Token(s) if s.expose() == "from-the-dotenv"));
    let escaped = "{ gateway: { auth: { token: 'a-$${NOT_A_VARIABLE}-b${x}' } } }";
    assert_eq!(token(escaped, &[]).unwrap(), "a-${NOT_A_VARIABLE}-b${x}");
}

#[test]
fn references_are_followed_as_far_as_they_can_be() {
    let env = "{ gateway: { auth: { token: { source: 'env', provider: 'default', id: 'A_TOKEN' } } } }";
    assert_eq!(token(env, &[("A_TOKEN", "from-a-reference")]).unwrap(), "from-a-reference");
    let file = "{ gateway: { auth: { token: { source: 'file', provider: 'main', id: '/gateway/token' } } }, \
                secrets: { providers: { main: { source: 'file', path: '~/secrets.json' } } } }";
    let world = World::new(
        &[(".openclaw/openclaw.json", file), ("secrets.json", r#"{"gateway":{"token":"from-a-secrets-file"}}"#)],
        &[],
    );
    assert!(matches!(world.read().unwrap().auth, Auth::Token(s) if s.expose() == "from-a-secrets-file"));
    let exec = "{ gateway: { auth: { token: { source: 'exec', provider: 'vault', id: 'x' } } } }";
    assert!(token(exec, &[]).unwrap_err().contains("OPENCLAW_GATEWAY_TOKEN"));
    assert_eq!(token(exec, &[("OPENCLAW_GATEWAY_TOKEN", "given-for-the-command")]).unwrap(), "given-for-the-command");
}

#[test]
fn included_files_count() {
    let world = World::new(
        &[
            (".openclaw/openclaw.json", "{ gateway: { $include: './gateway.json5', port: 19002 } }"),
            (".openclaw/gateway.json5", "{ port: 1, auth: { mode: 'none' } }"),
        ],
        &[],
    );
    let found = world.read().unwrap();
    assert_eq!(found.port, 19002);
    assert!(matches!(found.auth, Auth::None));
    let round = World::new(&[(".openclaw/openclaw.json", "{ $include: 'openclaw.json' }")], &[]);
    assert!(matches!(round.read().unwrap_err(), Fault::Include(_)));
}

#[test]
fn what_cannot_be_used_is_said() {
    assert!(matches!(World::new(&[], &[]).read().unwrap_err(), Fault::Missing(_)));
    for (text, message) in [
        ("{ gateway: ", "is not JSON5"),
        ("{ gateway: { auth: { mode: 'token' } } }", "gateway.auth.token: it is not set"),
        ("{ gateway: { auth: { mode: 'oauth' } } }", "`oauth` is not known here"),
        ("{ gateway: { port: 0, auth: { mode: 'none' } } }", "0 is no port"),
        ("{ gateway: { tls: { enabled: true }, auth: { mode: 'none' } } }", "speaks TLS"),
        ("{ gateway: { auth: { token: 'short' } } }", "shorter than 12"),
        ("{ gateway: { auth: { mode: 'trusted-proxy' } } }", "userHeader"),
    ] {
        let said = World::new(&[(".openclaw/openclaw.json", text)], &[]).read().unwrap_err().to_string();
        assert!(said.contains(message), "{text}: {said}");
    }
}

#[test]
fn the_places_are_the_gateway_s() {
    let at = |variables: &[(&'static str, &str)]| places(&World::new(&[], variables));
    assert_eq!(at(&[("OPENCLAW_CONFIG_PATH", "/a.json")]), [PathBuf::from("/a.json")]);
    assert_eq!(at(&[("OPENCLAW_STATE_DIR", "/state")]), [PathBuf::from("/state/openclaw.json")]);
}
