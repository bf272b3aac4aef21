//! No way around this proxy: the gateway listens on this machine alone.

use super::Outcome;
use super::context::Chain;
use crate::gateway_probe::{Advice, Severity, Side};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, UdpSocket};

/// For a connection to an address of this machine.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Can another machine reach the gateway?
pub(super) async fn around(chain: &Chain) -> Outcome {
    let gateway = &chain.fixed.gateway;
    let resolved = tokio::net::lookup_host((gateway.host.as_str(), gateway.port)).await;
    let local = resolved.is_ok_and(|mut all| all.all(|a| a.ip().to_canonical().is_loopback()));
    if !local {
        return Outcome::NotTested(format!(
            "{} is not on this machine's loopback: make sure that only this proxy can reach it",
            gateway.authority()
        ));
    }
    let mut open = crate::platform::listening_addresses(gateway.port).await;
    open.retain(|ip| !ip.to_canonical().is_loopback());
    // Where the system keeps no such table, or the gateway is in another namespace.
    if open.is_empty()
        && let Some(address) = own_address().await
    {
        let connected = tokio::time::timeout(TIMEOUT, TcpStream::connect(SocketAddr::new(address, gateway.port))).await;
        if matches!(connected, Ok(Ok(_))) {
            open.push(address);
        }
    }
    if open.is_empty() {
        return Outcome::Good(format!("the gateway's port {} is open on loopback only", gateway.port));
    }
    let addresses: Vec<String> = open.iter().map(ToString::to_string).collect();
    Outcome::found(Advice::new(
        "gateway-open",
        Severity::Error,
        Side::Gateway,
        format!("the gateway's port {} is open beyond this machine, on {}", gateway.port, addresses.join(", ")),
        "every client that reaches it and has its secret bypasses this proxy",
        "openclaw config set gateway.bind loopback, then restart the gateway; in a container: do not publish its port",
    ))
}

/// An address of this machine that others could use. Nothing is sent: only a route is looked up.
async fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").await.ok()?;
    socket.connect("192.0.2.1:9").await.ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
