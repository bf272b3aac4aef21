//! An issuer's web server: its JWKS and discovery document, and every way to answer badly.

use super::signer::{Signer, claims, claims_with, jwks};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How it answers.
#[derive(Debug, Clone, PartialEq)]
pub enum FailureMode {
    /// As it should.
    Well,
    /// Closes every connection without a word.
    Away,
    /// Accepts and says nothing.
    Silent,
    /// Begins to answer and goes on for ever, a byte at a time.
    Drips,
    /// Every answer has this status.
    Status(u16),
    /// Every answer has this body.
    Body(String),
    /// Sends the client elsewhere.
    Redirects(String),
}

struct State {
    mood: FailureMode,
    keys: String,
    headers: String,
    delay: Duration,
    asked: Vec<(String, Instant)>,
    /// What the discovery document says its issuer is, where that is not the truth.
    claims_to_be: Option<String>,
}

/// The server. It lives as long as the process.
pub struct Issuer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    /// An issuer with the public halves of these keys.
    pub fn start(signers: &[&Signer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            mood: FailureMode::Well,
            keys: jwks(signers),
            headers: String::new(),
            delay: Duration::ZERO,
            asked: Vec::new(),
            claims_to_be: None,
        }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, address, &shared));
            }
        });
        Self { address, state }
    }

    /// The `iss` of its tokens.
    pub fn iss(&self) -> String {
        format!("http://{}/realm", self.address)
    }

    /// An `[[issuer]]` table for it that finds the keys by their address, with these further lines.
    pub fn table(&self, more: &str) -> String {
        self.table_named("test", &format!("{{ url = \"http://{}/jwks\" }}", self.address), more)
    }

    /// The same by its discovery document.
    pub fn table_discovered(&self, name: &str, more: &str) -> String {
        self.table_named(name, "{ discovery = true }", more)
    }

    /// A table of this name that finds the keys so.
    pub fn table_named(&self, name: &str, keys: &str, more: &str) -> String {
        format!(
            "[[issuer]]\nname = \"{name}\"\nissuer = \"{}\"\naudiences = [\"openclaw\"]\nkeys = {keys}\n{more}\n",
            self.iss()
        )
    }

    /// Where its JWKS is.
    pub fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    /// An ordinary token's claims.
    pub fn claims(&self) -> Value {
        claims(&self.iss())
    }

    /// An ordinary token's claims with these changes.
    pub fn claims_with(&self, changes: Value) -> Value {
        claims_with(&self.iss(), changes)
    }

    /// How it answers from now on.
    pub fn mood(&self, mood: FailureMode) {
        self.state.lock().unwrap().mood = mood;
    }

    /// Its keys from now on.
    pub fn rotate(&self, signers: &[&Signer]) {
        self.serve_text(jwks(signers));
    }

    /// The text of its JWKS from now on.
    pub fn serve_text(&self, text: String) {
        self.state.lock().unwrap().keys = text;
    }

    /// Header lines of its answers, each with its end.
    pub fn headers(&self, lines: &str) {
        lines.clone_into(&mut self.state.lock().unwrap().headers);
    }

    /// How long it takes from now on.
    pub fn delay(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    /// What the discovery document says its issuer is.
    pub fn claims_to_be(&self, iss: &str) {
        self.state.lock().unwrap().claims_to_be = Some(iss.to_owned());
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.times().len()
    }

    /// When its keys were asked for.
    pub fn times(&self) -> Vec<Instant> {
        self.state.lock().unwrap().asked.iter().filter(|(path, _)| path == "/jwks").map(|(_, at)| *at).collect()
    }
}

fn serve(mut stream: TcpStream, address: SocketAddr, state: &Mutex<State>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mood, keys, headers, delay, claimed) = {
        let mut state = state.lock().unwrap();
        state.asked.push((path.clone(), Instant::now()));
        let claimed = state.claims_to_be.clone().unwrap_or_else(|| format!("http://{address}/realm"));
        (state.mood.clone(), state.keys.clone(), state.headers.clone(), state.delay, claimed)
    };
    std::thread::sleep(delay);
    let good = match path.as_str() {
        "/jwks" => keys,
        // Cloudflare Access has its keys at a path of its own.
        "/realm/cdn-cgi/access/certs" => keys,
        "/realm/.well-known/openid-configuration" => {
            json!({"issuer": claimed, "jwks_uri": format!("http://{address}/jwks"), "more": ["is", "there"]})
                .to_string()
        }
        _ => {
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            return;
        }
    };
    let (line, more, body) = match mood {
        FailureMode::Well => ("200 OK".to_owned(), headers, good),
        FailureMode::Away => return,
        FailureMode::Silent => {
            std::thread::sleep(Duration::from_secs(30));
            return;
        }
        FailureMode::Drips => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{\"keys\":[");
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
            return;
        }
        FailureMode::Status(status) => (format!("{status} Odd"), headers, good),
        FailureMode::Body(body) => ("200 OK".to_owned(), headers, body),
        FailureMode::Redirects(to) => ("302 Found".to_owned(), format!("Location: {to}\r\n"), String::new()),
    };
    let head = format!(
        "HTTP/1.1 {line}\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body.as_bytes());
}
