//! A WebSocket client on a codec that is not the proxy's own.

use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

pub struct WsClient(pub WebSocket<TcpStream>, Option<String>);

/// What came back.
#[derive(Debug, PartialEq)]
pub enum Came {
    Text(String),
    Closed(u16, String),
    Ended,
}

impl Came {
    pub fn json(&self) -> Value {
        match self {
            Self::Text(text) => serde_json::from_str(text).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    pub fn code(&self) -> u16 {
        match self {
            Self::Closed(code, _) => *code,
            other => panic!("not closed: {other:?}"),
        }
    }
}

impl WsClient {
    /// Upgrades; the status where that is refused.
    pub fn upgrade(address: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, u16> {
        Self::open_with(address, "/", &address.to_string(), headers)
    }

    /// Upgrades with this `Host`.
    pub fn upgrade_as(address: SocketAddr, host: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        Self::open_with(address, "/", host, headers)
    }

    /// Upgrades at this path.
    pub fn upgrade_at(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        Self::open_with(address, path, &address.to_string(), headers)
    }

    fn open_with(address: SocketAddr, path: &str, host: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        request.headers_mut().insert("host", HeaderValue::from_str(host).unwrap());
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        let config = WebSocketConfig::default().max_frame_size(None);
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, answer)) => {
                let protocol = answer.headers().get("sec-websocket-protocol");
                Ok(Self(socket, protocol.map(|p| p.to_str().unwrap().to_owned())))
            }
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// The subprotocol that was chosen.
    pub fn protocol(&self) -> Option<&str> {
        self.1.as_deref()
    }

    pub fn open(address: SocketAddr) -> Self {
        Self::upgrade(address, &[]).unwrap()
    }

    /// Waits for the challenge and sends `connect` with these parameters; gives the answer.
    #[expect(clippy::needless_pass_by_value, reason = "a literal at every call")]
    pub fn connect(&mut self, params: Value) -> Value {
        assert_eq!(self.next().json()["event"], "connect.challenge");
        let mut all = json!({ "minProtocol": 3, "maxProtocol": 4,
            "client": { "id": "gateway-client", "mode": "ui", "version": "1", "platform": "test" } });
        for (name, value) in params.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.send(&json!({ "type": "req", "id": "1", "method": "connect", "params": all }).to_string());
        self.next().json()
    }

    /// Connected, with this token; the tick behind the hello was seen.
    pub fn connected(address: SocketAddr, token: &str) -> Self {
        let mut client = Self::open(address);
        let hello = client.connect(json!({ "auth": { "token": token }, "scopes": ["operator.admin"] }));
        assert_eq!(hello["ok"], true, "{hello}");
        assert_eq!(client.next().json()["event"], "tick");
        client
    }

    pub fn send(&mut self, text: &str) {
        let _ = self.0.send(Message::text(text));
    }

    pub fn next(&mut self) -> Came {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Came::Text(text.to_string()),
                Ok(Message::Close(frame)) => {
                    let _ = self.0.flush();
                    return frame.map_or(Came::Closed(1005, String::new()), |f| {
                        Came::Closed(f.code.into(), f.reason.to_string())
                    });
                }
                Ok(_) => {}
                Err(_) => return Came::Ended,
            }
        }
    }

    pub fn echoes(&mut self, text: &str) -> bool {
        self.send(text);
        self.next() == Came::Text(text.to_owned())
    }
}
