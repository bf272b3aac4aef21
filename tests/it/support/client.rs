//! A client that sends exactly the bytes it is given.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Client(TcpStream);

/// One answer, taken apart.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| {
            let (n, v) = l.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| v.trim())
        })
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.0.write_all(bytes.as_ref());
        self
    }

    /// Sends a request head with these lines (and `Host`, where they have none), and a body if there is one.
    pub fn request(&mut self, line: &str, headers: &[&str], body: &str) -> &mut Self {
        let named = headers.iter().any(|h| h.to_ascii_lowercase().starts_with("host:"));
        let mut text = format!("{line} HTTP/1.1\r\n{}", if named { "" } else { "Host: 127.0.0.1\r\n" });
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.send(text)
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, line: &str, token: &str, headers: &[&str], body: &str) -> Answer {
        let authorization = format!("Authorization: Bearer {token}");
        let mut lines = headers.to_vec();
        if !token.is_empty() {
            lines.push(&authorization);
        }
        self.request(line, &lines, body);
        self.answer()
    }

    /// Reads one whole answer.
    pub fn answer(&mut self) -> Answer {
        let head = self.until(b"\r\n\r\n");
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let mut answer = Answer { status, head, body: String::new() };
        let body = if let Some(length) = answer.header("content-length").and_then(|l| l.parse::<usize>().ok()) {
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).unwrap();
            body
        } else if answer.header("transfer-encoding").is_some() {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
            body
        } else {
            Vec::new()
        };
        answer.body = String::from_utf8_lossy(&body).into_owned();
        answer
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> String {
        String::from_utf8_lossy(&self.until(b"\r\n\r\n")).into_owned()
    }

    /// Reads one chunk of a chunked body; `None` at its end or when the connection ends.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until(b"\r\n");
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).ok()?;
        let mut data = vec![0; size + 2];
        self.0.read_exact(&mut data).ok()?;
        data.truncate(size);
        (size > 0).then_some(data)
    }

    /// Everything until the other side closes, as bytes.
    pub fn rest_of_bytes(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.0.read_to_end(&mut all);
        all
    }

    /// What has come by now, or comes within a moment.
    pub fn some(&mut self) -> Vec<u8> {
        self.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut scratch = [0; 4096];
        let n = self.0.read(&mut scratch).unwrap_or(0);
        scratch[..n].to_vec()
    }

    /// Everything until the other side closes.
    pub fn rest(&mut self) -> String {
        let mut all = Vec::new();
        let _ = self.0.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Whether the other side closes within `patience`, whatever it sends before.
    pub fn closes_within(&mut self, patience: Duration) -> bool {
        let begun = std::time::Instant::now();
        self.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut scratch = [0; 4096];
        while begun.elapsed() < patience {
            match self.0.read(&mut scratch) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(_) => return true,
            }
        }
        false
    }

    fn until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(end) {
            match self.0.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                _ => break,
            }
        }
        bytes
    }
}
