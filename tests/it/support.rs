//! Builders: a proxy process, gateways to put behind it, a client that sends raw bytes.

mod capture;
mod client;
mod issuer;
mod judge;
mod oracle;
mod scripted;
mod shim;
pub mod signer;
mod tailscaled;
mod wsclient;
mod wsgateway;

pub use capture::Capture;
pub use client::{Answer, Client};
pub use issuer::{FailureMode, Issuer};
pub use judge::{ISS, Judge};
pub use oracle::Oracle;
pub use scripted::Scripted;
pub use shim::{Shim, program, scopeshim, write_private};
pub use tailscaled::Tailscaled;
pub use wsclient::{Came, WsClient};
pub use wsgateway::{Release, WsGateway};

use scopeshim::fake_gateway::FakeGateway;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Where a gateway listens that gives its port up for a while and takes it again: on an address of its
/// own, so that no other test is given the port meanwhile.
pub const APART: &str = if cfg!(target_os = "linux") { "127.0.0.7:0" } else { "127.0.0.1:0" };

/// The gateway's own secret in every test.
pub const SECRET: &str = "the-gateway-s-own-secret-0123456789";
/// A token with operator.read.
pub const READER: &str = "token-of-the-reader-0123456789abcdef";
/// A token with operator.read and operator.write.
pub const WRITER: &str = "token-of-the-writer-0123456789abcdef";

/// The runtime on which fakes live.
pub static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// A fake gateway with this pace.
pub fn fake_gateway(pause: Duration) -> (Arc<FakeGateway>, SocketAddr) {
    let gateway = FakeGateway::new(SECRET, pause);
    let address = RUNTIME.block_on(gateway.start()).unwrap();
    (gateway, address)
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(token: &str) -> String {
    scopeshim::secret::TokenHash::of(token.as_bytes()).to_hex()
}

/// The live tables that most tests use.
pub fn people() -> String {
    format!(
        "[gateway_secret]\n\n[[token]]\nname = \"reader\"\nsha256 = \"{}\"\nscopes = [\"operator.read\"]\n\n\
         [[token]]\nname = \"writer\"\nsha256 = \"{}\"\nscopes = [\"operator.read\", \"operator.write\"]\n",
        sha256(READER),
        sha256(WRITER)
    )
}

/// Waits until something holds; fails after ten seconds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
