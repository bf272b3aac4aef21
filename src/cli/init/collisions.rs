//! Whether the address for clients is free: of the gateway, and of any other listener.

use crate::openclaw_config::{OpenClaw, ports};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// What is wrong with listening at `listen`, and what to do.
pub(super) fn of(listen: &str, gateway: &OpenClaw) -> Vec<String> {
    let Ok(address) = listen.parse::<SocketAddr>() else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(met) = ports::collision(address.port(), gateway.port, &gateway.other_ports) {
        let what =
            if met.required { "the gateway does not start while it is taken" } else { "that part of it may fail" };
        found.push(format!(
            "port {} is the gateway's, for {}: {what}; choose another with --listen, for example 127.0.0.1:18780",
            address.port(),
            met.purpose
        ));
    }
    // Port 0 is never taken.
    if let Err(error) = TcpListener::bind(address)
        && error.kind() == ErrorKind::AddrInUse
    {
        found.push(format!(
            "something listens on {address} already, perhaps this proxy itself: `scopeshim run` will not start while it \
             does; stop it, or choose another address with --listen"
        ));
    }
    found
}
