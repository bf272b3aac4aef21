//! Linux: systemd's protocol, `/proc`, and socket options that only this kernel has.

use super::Notice;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use socket2::SockRef;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Where tailscaled's packages put its socket.
pub const TAILSCALED_SOCKET: &str = "/run/tailscale/tailscaled.sock";

/// Tells systemd (sd_notify(3)). Does nothing outside of it.
pub fn notify(notice: Notice<'_>) {
    let sent = match notice {
        Notice::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
        Notice::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
            Err(_) => return,
        },
        Notice::Stopping(within) => {
            let longest = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
            let state =
                [NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(longest), NotifyState::Status("draining")];
            sd_notify::notify(&state)
        }
        Notice::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "the service manager was not reached");
    }
}

/// How often systemd wants to hear [`Notice::Alive`]; `None`: never.
#[must_use]
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Lifts the soft limit on descriptors to the hard one, as far as the system lets this process, and says what it is then.
/// `None`: there is none.
#[must_use]
pub fn raise_descriptor_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Some(hard);
    }
    Some(soft)
}

/// Has the kernel end a connection whose peer takes no bytes for this long.
pub fn drop_untaken(socket: &SockRef<'_>, after: Duration) {
    let _ = socket.set_tcp_user_timeout(Some(after));
}

/// `process_*`, by the names that every dashboard knows.
#[must_use]
pub fn process_metrics() -> Vec<prometheus::proto::MetricFamily> {
    use prometheus::core::Collector as _;
    prometheus::process_collector::ProcessCollector::for_self().collect()
}

/// The addresses of this network namespace on which a TCP port is listened on. Empty: none, or the kernel does not say.
pub async fn listening_addresses(port: u16) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = tokio::fs::read_to_string(table).await.unwrap_or_default();
        found.extend(listening(&text, port));
    }
    found
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
