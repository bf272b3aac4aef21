//! Peers that vanish without a word. A tunnel has no other timeout.

use crate::listener::ClientSocket;
use crate::platform::drop_untaken;
use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;
use tokio::net::TcpStream;

/// The silence after which a peer is asked for a sign of life.
const IDLE: Duration = Duration::from_secs(60);
/// The pause between two such questions.
const INTERVAL: Duration = Duration::from_secs(15);
/// Questions without an answer.
const COUNT: u32 = 4;
/// How long bytes may wait for a peer that does not take them.
const UNTAKEN: Duration = Duration::from_secs(300);

/// Has the kernel watch both peers. Where it cannot, they are not watched.
pub(super) fn watch(client: &ClientSocket, gateway: &TcpStream) {
    if let Some(client) = client.tcp() {
        set(&SockRef::from(client));
    }
    set(&SockRef::from(gateway));
}

fn set(socket: &SockRef<'_>) {
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(COUNT);
    let _ = socket.set_tcp_keepalive(&keepalive);
    drop_untaken(socket, UNTAKEN);
}
