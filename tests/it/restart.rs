//! A gateway that restarts under load loses what was in flight and nothing else.

use crate::support::{APART, Client, SECRET, Shim, people};
use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A gateway that keeps connections open, takes its time, and dies with all of them.
struct Mortal {
    address: SocketAddr,
    dead: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Mortal {
    fn start(address: &str, seen: &Arc<Mutex<Vec<String>>>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let this = Self { address: listener.local_addr().unwrap(), dead: Arc::default(), streams: Arc::default() };
        let (dead, streams, seen) = (this.dead.clone(), this.streams.clone(), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if dead.load(Ordering::SeqCst) {
                    return;
                }
                streams.lock().unwrap().push(stream.try_clone().unwrap());
                let seen = seen.clone();
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        this
    }

    /// Stops listening, then closes every connection.
    fn kill(self) {
        self.dead.store(true, Ordering::SeqCst);
        while TcpStream::connect(self.address).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..n]);
        // Bodies are two bytes and come with their head, or right behind it.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if head.starts_with("POST") && body.len() < 2 {
            continue;
        }
        let id = head.lines().find_map(|l| l.strip_prefix("x-request-id: ").or(l.strip_prefix("X-Request-Id: ")));
        seen.lock().unwrap().push(id.unwrap_or(head).to_owned());
        bytes.clear();
        std::thread::sleep(Duration::from_millis(15));
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").is_err() {
            return;
        }
    }
}

#[test]
fn only_what_was_in_flight_is_lost() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let gateway = Mortal::start(APART, &seen);
    let at = gateway.address.to_string();
    let shim = Shim::start(gateway.address, &people());
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let failed: Arc<Mutex<Vec<(Instant, Instant, String)>>> = Arc::default();
    let proxy = shim.address();
    let clients: Vec<_> = (0..12)
        .map(|n| {
            let (over, done, failed) = (over.clone(), done.clone(), failed.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(proxy);
                for turn in 0.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let begun = Instant::now();
                    let id = format!("x-request-id: c{n}-{turn}");
                    let answer = if n % 2 == 0 {
                        client.ask("GET /v1/models", SECRET, &[&id], "")
                    } else {
                        client.ask("POST /v1/chat/completions", SECRET, &[&id], "{}")
                    };
                    done.fetch_add(1, Ordering::SeqCst);
                    if answer.status != 200 {
                        failed.lock().unwrap().push((begun, Instant::now(), format!("{answer:?}")));
                        client = Client::connect(proxy);
                    }
                }
            })
        })
        .collect();
    let mut gateway = Some(gateway);
    let mut deaths = Vec::new();
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(500));
        let begun = Instant::now();
        gateway.take().unwrap().kill();
        deaths.push((begun, Instant::now()));
        std::thread::sleep(Duration::from_millis(600));
        gateway = Some(Mortal::start(&at, &seen));
    }
    std::thread::sleep(Duration::from_millis(500));
    over.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }

    let failed = failed.lock().unwrap();
    for (begun, ended, answer) in failed.iter() {
        let in_flight = deaths.iter().any(|(killed, dead)| begun <= dead && ended >= killed);
        assert!(in_flight, "it was not in flight when the gateway died: {answer}");
        assert!(answer.contains("gateway_broken"), "{answer}");
    }
    assert!(failed.len() <= 24, "at most one of each client's, each time: {}", failed.len());
    assert!(done.load(Ordering::SeqCst) > failed.len() + 24, "{done:?} requests are no load");
    // Law 8: nothing arrived twice.
    let posts: Vec<String> = seen.lock().unwrap().iter().filter(|id| is_post(id)).cloned().collect();
    let different: HashSet<&String> = posts.iter().collect();
    assert_eq!(posts.len(), different.len());
}

fn is_post(id: &str) -> bool {
    let client = id.strip_prefix('c').and_then(|c| c.split('-').next());
    client.and_then(|c| c.parse::<u32>().ok()).is_some_and(|n| n % 2 == 1)
}
