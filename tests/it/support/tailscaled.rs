//! A fake of tailscaled's LocalAPI, for answers that a real one cannot be made to give.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

pub struct Tailscaled {
    state: Arc<Mutex<State>>,
    dir: TempDir,
}

struct State {
    answer: Value,
    pause: Duration,
    hangs: bool,
    asked: Vec<String>,
    /// Connections that are never answered.
    held: Vec<UnixStream>,
}

impl Tailscaled {
    /// Gives this answer to every whois: a body, or `{"status": …, "body": "…"}`.
    pub fn answering(answer: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("tailscaled.sock")).unwrap();
        let state = State { answer, pause: Duration::ZERO, hangs: false, asked: Vec::new(), held: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { state, dir }
    }

    pub fn socket(&self) -> String {
        self.dir.path().join("tailscaled.sock").display().to_string()
    }

    /// Takes connections and answers none.
    pub fn hang(&self, hangs: bool) {
        self.state.lock().unwrap().hangs = hangs;
    }

    /// Takes this long for each answer.
    pub fn pause(&self, pause: Duration) {
        self.state.lock().unwrap().pause = pause;
    }

    /// The targets asked for.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How often whois was asked.
    pub fn whois(&self) -> usize {
        self.asked().iter().filter(|a| a.contains("/whois")).count()
    }
}

fn serve(mut stream: UnixStream, state: &Mutex<State>) {
    let head: Vec<String> =
        BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let Some(target) = head.first().and_then(|line| line.split(' ').nth(1)).map(ToOwned::to_owned) else { return };
    assert!(head.iter().any(|line| line == "host: local-tailscaled.sock"), "{head:?}");
    let (answer, pause) = {
        let mut state = state.lock().unwrap();
        state.asked.push(target.clone());
        if state.hangs {
            state.held.push(stream);
            return;
        }
        (state.answer.clone(), state.pause)
    };
    std::thread::sleep(pause);
    let (status, body) = if target.contains("/status") {
        (200, r#"{"BackendState":"Running","Self":{"DNSName":"gateway.tailnet.test."}}"#.to_owned())
    } else if let Some(status) = answer["status"].as_u64() {
        (status, answer["body"].as_str().unwrap().to_owned())
    } else {
        (200, answer.to_string())
    };
    let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}
