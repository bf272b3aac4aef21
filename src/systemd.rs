//! The service manager, where there is one: readiness, status, watchdog, inherited sockets.
//!
//! All of it does nothing outside systemd (sd_notify(3), sd_listen_fds(3)).

use crate::config::ListenAddress;
use crate::platform::{self, Notice};
use listenfd::ListenFd;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// The process serves.
pub fn ready(status: &str) {
    platform::notify(Notice::Ready(status));
}

/// The configuration is read again; [`ready`] follows.
pub fn reloading() {
    platform::notify(Notice::Reloading);
}

/// The process is about to end, within this time.
pub fn stopping(within: Duration) {
    platform::notify(Notice::Stopping(within));
}

/// Tells the watchdog that the process is well, for as long as this is polled.
pub async fn watchdog() {
    // Half of what is granted leaves room for a slow machine.
    let Some(granted) = platform::watchdog_period() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval((granted / 2).max(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        platform::notify(Notice::Alive);
    }
}

/// Sockets that were bound before this process began.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
}

impl Inherited {
    /// Takes over what the service manager hands on.
    #[must_use]
    pub fn take() -> Self {
        let mut handed = ListenFd::from_env();
        let mut all = Self::default();
        for index in 0..handed.len() {
            // Asked for the wrong kind, it stays where it is.
            if let Ok(Some(listener)) = handed.take_tcp_listener(index) {
                all.tcp.push(listener);
            } else if let Ok(Some(listener)) = handed.take_unix_listener(index) {
                all.unix.push(listener);
            }
        }
        all
    }

    /// The TCP socket that is bound to this address.
    pub fn tcp(&mut self, address: &ListenAddress) -> Option<TcpListener> {
        let ListenAddress::Tcp(wanted) = address else { return None };
        let index = self.tcp.iter().position(|l| l.local_addr().is_ok_and(|a| a == *wanted))?;
        Some(self.tcp.swap_remove(index))
    }

    /// The unix socket that is bound to this path.
    pub fn unix(&mut self, address: &ListenAddress) -> Option<UnixListener> {
        let ListenAddress::Unix { path, .. } = address else { return None };
        let bound = |l: &UnixListener| l.local_addr().is_ok_and(|a| a.as_pathname() == Some(path));
        let index = self.unix.iter().position(bound)?;
        Some(self.unix.swap_remove(index))
    }

    /// The addresses of sockets that no listener of the configuration wanted.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<String> {
        let tcp = self.tcp.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.to_string());
        let unix = self.unix.iter().filter_map(|l| l.local_addr().ok()).map(|a| format!("{a:?}"));
        tcp.chain(unix).collect()
    }
}
