//! macOS, and what is common to other Unix systems: launchd needs no word of readiness, and there is no `/proc`.

use super::Notice;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use std::net::IpAddr;
use std::time::Duration;

/// Where the open-source tailscaled puts its socket; the app from the store has none.
#[cfg(target_os = "macos")]
pub const TAILSCALED_SOCKET: &str = "/var/run/tailscaled.socket";
/// Where tailscaled puts its socket on other systems.
#[cfg(not(target_os = "macos"))]
pub const TAILSCALED_SOCKET: &str = "/var/run/tailscale/tailscaled.sock";

/// `OPEN_MAX` of macOS: more descriptors it refuses to give by setrlimit(2), even where the hard limit is none.
const OPEN_MAX: u64 = 10_240;

/// Nobody wants to know: launchd has no such protocol.
pub fn notify(_notice: Notice<'_>) {}

/// No service manager here has a watchdog.
#[must_use]
pub fn watchdog_period() -> Option<Duration> {
    None
}

/// Lifts the soft limit on descriptors as far as the system lets this process, and says what it is then. `None`: there is
/// none. launchd begins with 256.
#[must_use]
pub fn raise_descriptor_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let mut wanted = [hard, hard.min(OPEN_MAX)].into_iter().filter(|limit| soft < *limit);
    let given = wanted.find(|limit| setrlimit(Resource::RLIMIT_NOFILE, *limit, hard).is_ok());
    Some(given.unwrap_or(soft))
}

/// No such option: keep-alive alone finds peers that are gone.
pub fn drop_untaken(_socket: &SockRef<'_>, _after: Duration) {}

/// `process_*` comes from `/proc`, which only Linux has.
#[must_use]
pub fn process_metrics() -> Vec<prometheus::proto::MetricFamily> {
    Vec::new()
}

/// Empty: the system keeps no table that can be read as a file.
#[expect(clippy::unused_async, reason = "on Linux a file is read")]
pub async fn listening_addresses(_port: u16) -> Vec<IpAddr> {
    Vec::new()
}
