//! A gateway that does on each request exactly what a test says.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Scripted {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

/// A connection whose request's head was read.
pub struct Asked {
    stream: TcpStream,
    pub head: String,
}

impl Asked {
    /// Writes bytes; false when the other side is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Whether the other side hangs up, however much it sends before.
    pub fn hangs_up(&mut self) -> bool {
        let mut scratch = [0; 4096];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return e.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

impl Scripted {
    /// `act` gets each connection behind its first request, and ends it when it returns.
    pub fn start(act: impl Fn(Asked) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (kept, act) = (heads.clone(), Arc::new(act));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (kept, act) = (kept.clone(), act.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let Some(head) = head(&mut stream) else { return };
                    kept.lock().unwrap().push(head.clone());
                    act(Asked { stream, head });
                });
            }
        });
        Self { address, heads }
    }

    /// Answers every request with these bytes.
    pub fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::start(move |mut asked| while asked.send(&answer) && head(&mut asked.stream).is_some() {})
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads received so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Reads a request's head; `None` where the connection ends.
fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
