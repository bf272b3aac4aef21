//! [`File`] to [`Config`]: every value checked, every problem noted.

mod app_users;
mod client_routes;
mod cors;
mod dynamic;
mod gateway;
mod grants;
mod headers;
mod issuers;
mod limits;
mod policy_tests;
mod principal_limits;
mod routes;
mod sessions;
mod tailscale;
mod tls;
mod token_headers;
mod tokens;
mod values;
mod websocket;

use super::diagnostic::{Problems, Source};
use super::environment::{Environment, default_admin_socket, default_state_dir};
use super::file::{self, At, File};
use super::{Admin, BootstrapConfig, Config, DynamicConfig, Listen, ListenAddress, Log, LogFormat};
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use values::{choice, count, duration};

/// Checks a file. `None` where something is missing that nothing can stand in for.
pub(super) fn validate(
    file: &File,
    source: &Source,
    around: &dyn Environment,
    problems: &mut Problems,
) -> Option<Config> {
    let fixed = fixed(file, around, problems);
    let auth = gateway::auth(file, source, around, problems);
    let certificates = file.listen.iter().map(|l| tls::certificate(l, source, around, problems)).collect();
    let live = dynamic::live(file, source, around, auth, problems);
    Some(Config { fixed: fixed?, live: DynamicConfig { certificates, ..live? } })
}

fn fixed(file: &File, around: &dyn Environment, problems: &mut Problems) -> Option<BootstrapConfig> {
    if file.listen.is_empty() {
        problems.error(
            "no-listener",
            None,
            "missing `[[listen]]`",
            "add `[[listen]]` with `address = \"127.0.0.1:18780\"`",
        );
    }
    let listeners: Vec<Listen> = file.listen.iter().filter_map(|l| listener(l, problems)).collect();
    let server = &file.server;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let state_dir = server.state_dir.as_ref().map_or_else(|| default_state_dir(around), |dir| absolute(dir, problems));
    let fixed = BootstrapConfig {
        admin: admin(&file.admin, &state_dir, around, problems),
        state_dir,
        threads: count(server.threads.as_ref(), processors.min(4), 1, 256, problems),
        drain: duration(server.drain.as_ref(), Duration::from_secs(30), Duration::ZERO, problems),
        limits: limits::limits(file, problems),
        log: log(&file.log, problems),
        tailscaled: tailscale::socket(&file.tailscale, problems),
        gateway: gateway::address(file, problems)?,
        listeners,
    };
    Some(fixed)
}

fn listener(listen: &At<file::Listen>, problems: &mut Problems) -> Option<Listen> {
    let address = listen_address(listen, problems)?;
    let identity = tailscale::identity(listen.get().identity.as_ref(), &address, problems);
    Some(Listen { address, identity, tls: listen.get().tls.is_some() })
}

fn listen_address(listen: &At<file::Listen>, problems: &mut Problems) -> Option<ListenAddress> {
    let address = &listen.get().address;
    let mode = listen.get().mode.as_ref().and_then(|m| file_mode(m, problems));
    if let Some(path) = address.get().strip_prefix("unix:") {
        if !path.starts_with('/') {
            problems.error(
                "listen-address",
                address.span(),
                "a unix socket needs an absolute path",
                "for example `unix:/run/scopeshim/proxy.sock`",
            );
            return None;
        }
        return Some(ListenAddress::Unix { path: PathBuf::from(path), mode: mode.unwrap_or(0o660) });
    }
    if let Some(mode) = &listen.get().mode {
        problems.error(
            "mode",
            mode.span(),
            "only a unix socket has a mode",
            "remove `mode`, or listen on `unix:/path`",
        );
    }
    let resolved = address.get().to_socket_addrs().ok().and_then(|mut all| all.next());
    if resolved.is_none() {
        problems.error(
            "listen-address",
            address.span(),
            format!("`{}` is not an address to listen on", address.get()),
            "write `host:port`, for example `127.0.0.1:18780`, or `unix:/path/to/socket`",
        );
    }
    resolved.map(ListenAddress::Tcp)
}

fn file_mode(mode: &At<String>, problems: &mut Problems) -> Option<u32> {
    let parsed = u32::from_str_radix(mode.get(), 8).ok().filter(|m| *m <= 0o777);
    if parsed.is_none() {
        problems.error("mode", mode.span(), "a file mode is octal text", "for example `mode = \"0660\"`");
    }
    parsed
}

fn admin(table: &file::Admin, state_dir: &Path, around: &dyn Environment, problems: &mut Problems) -> Admin {
    let address = table.address.as_ref().and_then(|at| {
        let address = at.get().to_socket_addrs().ok().and_then(|mut all| all.next());
        if !address.is_some_and(|a| a.ip().is_loopback()) {
            problems.error(
                "admin-address",
                at.span(),
                format!("`{}` is not a loopback address", at.get()),
                "for example `127.0.0.1:18781`; from elsewhere, reach it by a tunnel",
            );
        }
        address
    });
    let metrics = table.metrics_address.as_ref().and_then(|at| {
        let address = at.get().to_socket_addrs().ok().and_then(|mut all| all.next());
        if address.is_none() {
            problems.error(
                "metrics-address",
                at.span(),
                format!("`{}` is not an address to listen on", at.get()),
                "for example `0.0.0.0:18781`",
            );
        }
        address
    });
    Admin {
        socket: table
            .socket
            .as_ref()
            .map_or_else(|| default_admin_socket(around, state_dir), |s| absolute(s, problems)),
        mode: table.socket_mode.as_ref().and_then(|m| file_mode(m, problems)).unwrap_or(0o600),
        address,
        metrics,
    }
}

fn log(log: &file::Log, problems: &mut Problems) -> Log {
    use tracing::level_filters::LevelFilter as L;
    let levels = [("error", L::ERROR), ("warn", L::WARN), ("info", L::INFO), ("debug", L::DEBUG), ("trace", L::TRACE)];
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    Log {
        level: choice(log.level.as_ref(), L::INFO, &levels, "log-level", problems),
        format: choice(log.format.as_ref(), LogFormat::Auto, &formats, "log-format", problems),
    }
}

fn absolute(path: &At<String>, problems: &mut Problems) -> PathBuf {
    if !path.get().starts_with('/') {
        problems.error("path", path.span(), "this must be an absolute path", "begin it with `/`");
    }
    PathBuf::from(path.get())
}
