//! A gateway that keeps every byte it is sent, and gives one answer to all.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Capture {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Capture {
    /// Answers every request with `{}` and 200, or 404 where the path says `/wrong`.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (kept, kept_heads) = (seen.clone(), heads.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, heads) = (kept.clone(), kept_heads.clone());
                std::thread::spawn(move || serve(stream, &kept, &heads));
            }
        });
        Self { address, seen, heads }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything received so far, one entry a connection.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// The header lines, lower-cased names, of the last head received.
    pub fn last(&self) -> Vec<(String, String)> {
        let head = self.heads.lock().unwrap().last().cloned().unwrap_or_default();
        head.lines()
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
            .collect()
    }

    /// The values under a name in the last head.
    pub fn values(&self, name: &str) -> Vec<String> {
        self.last().into_iter().filter(|(n, _)| n == name).map(|(_, v)| v).collect()
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<String>>, all_heads: &Mutex<Vec<String>>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let index = {
        let mut kept = kept.lock().unwrap();
        kept.push(String::new());
        kept.len() - 1
    };
    let mut all = Vec::new();
    let mut answered = 0;
    let mut begins = 0;
    let mut buffer = [0; 8192];
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 {
            return;
        }
        all.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&all).into_owned();
        let heads = text.matches("\r\n\r\n").count();
        kept.lock().unwrap()[index] = text;
        if heads > answered {
            answered = heads;
            // One request at a time: what came since the last answer is this one.
            let request = String::from_utf8_lossy(&all[begins..]).into_owned();
            begins = all.len();
            let line = request.lines().next().unwrap_or_default();
            let status = if line.contains("/wrong") { "404 Not Found" } else { "200 OK" };
            all_heads.lock().unwrap().push(request.split("\r\n\r\n").next().unwrap_or_default().to_owned());
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}");
            let _ = stream.write_all(head.as_bytes());
        }
    }
}
