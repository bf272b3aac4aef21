//! No way around this proxy: the gateway listens on this machine alone.

use super::Outcome;
use super::context::Chain;
use crate::gateway_probe::{Advice, Severity, Side};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
        return Outcome::Skipped(format!(
            "{} is not on this machine's loopback: make sure that only this proxy can reach it",
            gateway.authority()
        ));
    }
    let mut open: Vec<IpAddr> = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = tokio::fs::read_to_string(table).await.unwrap_or_default();
        open.extend(listening(&text, gateway.port).into_iter().filter(|ip| !ip.to_canonical().is_loopback()));
    }
    // Where there is no such table, or the gateway is in another namespace.
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

/// The addresses on which a port is listened on, of a table as Linux has it (proc(5), `/proc/net/tcp`).
fn listening(table: &str, port: u16) -> Vec<IpAddr> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
            let (address, at) = local.split_once(':')?;
            let fits = state == LISTEN && u16::from_str_radix(at, 16).ok()? == port;
            if fits { address_of(address) } else { None }
        })
        .collect()
}

/// An address in hexadecimal, each word of 32 bits in the machine's own order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?)))
        }
        _ => None,
    }
}

/// An address of this machine that others could use. Nothing is sent: only a route is looked up.
async fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").await.ok()?;
    socket.connect("192.0.2.1:9").await.ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_found_in_the_kernel_s_table() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
             0: 0100007F:4965 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000\n\
             1: 00000000:4965 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000\n\
             2: 0200A8C0:4965 0100A8C0:9999 01 00000000:00000000 00:00000000 00000000  1000\n\
             3: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000\n\
             4: short\n";
        let found: Vec<String> = listening(table, 0x4965).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.1", "0.0.0.0"]);
        let table = "header\n 0: 00000000000000000000000001000000:4965 00000000000000000000000000000000:0000 0A x\n\
             1: 00000000000000000000000000000000:4965 00000000000000000000000000000000:0000 0A x\n\
             2: B80D0120000000000000000001000000:4965 00000000000000000000000000000000:0000 0A x\n";
        let found: Vec<String> = listening(table, 0x4965).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["::1", "::", "2001:db8::1"]);
        assert!(listening("", 1).is_empty());
    }
}
