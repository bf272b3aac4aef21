//! What differs between the systems that scopeshim runs on: Linux, and macOS. Everything else in the crate is the same on
//! both, except where a library's own types differ (Pingora's keep-alive in `proxy`).

#[cfg(not(target_os = "linux"))]
#[path = "platform/macos.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "platform/linux.rs"]
mod system;

pub use system::{
    TAILSCALED_SOCKET, drop_untaken, listening_addresses, notify, process_metrics, raise_descriptor_limit,
    watchdog_period,
};

use std::time::Duration;

/// What the service manager is told.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// The process serves.
    Ready(&'a str),
    /// The configuration is read again; [`Notice::Ready`] follows.
    Reloading,
    /// The process is about to end, within this time.
    Stopping(Duration),
    /// The process is well.
    Alive,
}
