//! [`File`] to [`Config`]: every value judged, every problem noted.

mod grants;
mod headers;
mod issuers;
mod live;
mod routes;
mod tokens;
mod trials;
mod values;
mod websocket;

use super::diagnostic::{Problems, Source};
use super::file::{self, At, File};
use super::surroundings::{Surroundings, default_admin_socket, default_state_dir};
use super::{Admin, Config, Fixed, GatewayAddress, GatewayAuth, ListenAddress, Log, LogFormat};
use crate::secret::Secret;
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use values::{choice, count, duration};

/// Judges a file. `None` where something is missing that nothing can stand in for.
pub(super) fn validate(
    file: &File,
    source: &Source,
    around: &dyn Surroundings,
    problems: &mut Problems,
) -> Option<Config> {
    let fixed = fixed(file, around, problems);
    let auth = gateway_auth(file, source, around, problems);
    let live = live::live(file, source, around, auth, problems);
    Some(Config { fixed: fixed?, live: live? })
}

fn fixed(file: &File, around: &dyn Surroundings, problems: &mut Problems) -> Option<Fixed> {
    if file.listen.is_empty() {
        problems.error(
            "no-listener",
            None,
            "no `[[listen]]` is there",
            "add `[[listen]]` with `address = \"127.0.0.1:18790\"`",
        );
    }
    let listeners: Vec<ListenAddress> = file.listen.iter().filter_map(|l| listener(l, problems)).collect();
    let server = &file.server;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let state_dir = server.state_dir.as_ref().map_or_else(|| default_state_dir(around), |dir| absolute(dir, problems));
    let fixed = Fixed {
        admin: admin(&file.admin, &state_dir, around, problems),
        state_dir,
        threads: count(server.threads.as_ref(), processors.min(4), 1, 256, problems),
        drain: duration(server.drain.as_ref(), Duration::from_secs(30), Duration::ZERO, problems),
        max_connections: count(server.max_connections.as_ref(), 10_000, 1, 1_000_000, problems),
        head_timeout: duration(
            server.head_timeout.as_ref(),
            Duration::from_secs(30),
            Duration::from_millis(100),
            problems,
        ),
        keepalive: duration(server.keepalive.as_ref(), Duration::from_secs(60), Duration::from_secs(1), problems),
        log: log(&file.log, problems),
        gateway: gateway(file, problems)?,
        listeners,
    };
    Some(fixed)
}

fn listener(listen: &At<file::Listen>, problems: &mut Problems) -> Option<ListenAddress> {
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
            "write `host:port`, for example `127.0.0.1:18790`, or `unix:/path/to/socket`",
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

fn admin(table: &file::Admin, state_dir: &Path, around: &dyn Surroundings, problems: &mut Problems) -> Admin {
    let address = table.address.as_ref().and_then(|at| {
        let address = at.get().to_socket_addrs().ok().and_then(|mut all| all.next());
        if !address.is_some_and(|a| a.ip().is_loopback()) {
            problems.error(
                "admin-address",
                at.span(),
                format!("`{}` is not a loopback address", at.get()),
                "for example `127.0.0.1:18791`; from elsewhere, reach it by a tunnel",
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
    }
}

fn gateway(file: &File, problems: &mut Problems) -> Option<GatewayAddress> {
    let Some(gateway) = &file.gateway else {
        problems.error(
            "no-gateway",
            None,
            "no `[gateway]` is there",
            "add `[gateway]` with `url = \"http://127.0.0.1:18789\"` and `auth = { kind = \"token\", file = \"…\" }`",
        );
        return None;
    };
    let gateway = gateway.get();
    let connect_timeout =
        duration(gateway.connect_timeout.as_ref(), Duration::from_secs(2), Duration::from_millis(1), problems);
    let retry_for = duration(gateway.retry_for.as_ref(), Duration::from_secs(3), Duration::ZERO, problems);
    let url = &gateway.url;
    let bad = |problems: &mut Problems, message: &str| {
        problems.error("gateway-url", url.span(), message, "for example `url = \"http://127.0.0.1:18789\"`");
        None
    };
    let Ok(uri) = url.get().parse::<http::Uri>() else {
        return bad(problems, "this is not a URL");
    };
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return bad(
                problems,
                "the gateway is reached in the clear: put this proxy beside it, on the same machine or in the same pod",
            );
        }
        _ => return bad(problems, "the URL must begin with `http://`"),
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return bad(problems, "the URL may not have a path or a query");
    }
    let Some(host) = uri.host().filter(|h| !h.is_empty()) else {
        return bad(problems, "the URL has no host");
    };
    if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return bad(problems, "the URL may not hold a user name or a password");
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(GatewayAddress { host, port: uri.port_u16().unwrap_or(80), connect_timeout, retry_for })
}

fn gateway_auth(
    file: &File,
    source: &Source,
    around: &dyn Surroundings,
    problems: &mut Problems,
) -> Option<GatewayAuth> {
    let auth = &file.gateway.as_ref()?.get().auth;
    let kind = &auth.get().kind;
    let has_secret =
        choice(Some(kind), false, &[("token", true), ("password", true), ("none", false)], "gateway-auth", problems);
    let sources = [&auth.get().file, &auth.get().env, &auth.get().credential];
    let given = sources.iter().filter(|s| s.is_some()).count();
    if !has_secret {
        if given > 0 && kind.get() == "none" {
            problems.error(
                "gateway-auth",
                auth.span(),
                "mode `none` has no secret",
                "remove the secret, or write `kind = \"token\"`",
            );
        }
        return Some(GatewayAuth::None);
    }
    if given != 1 {
        problems.error(
            "gateway-auth",
            auth.span(),
            format!("mode `{}` needs its secret from one place, {given} are given", kind.get()),
            "write one of `file = \"/path\"`, `env = \"NAME\"`, `credential = \"name\"`",
        );
        return None;
    }
    let secret = read_secret(auth.get(), source, around, problems)?;
    Some(if kind.get() == "password" { GatewayAuth::Password(secret) } else { GatewayAuth::Token(secret) })
}

fn read_secret(
    auth: &file::GatewayAuth,
    source: &Source,
    around: &dyn Surroundings,
    problems: &mut Problems,
) -> Option<Secret> {
    let (at, path) = if let Some(file) = &auth.file {
        // A relative path is meant from the file it stands in, wherever the process was started.
        let base = Path::new(&source.name).parent().unwrap_or(Path::new(""));
        (file, base.join(file.get()))
    } else if let Some(name) = &auth.credential {
        let Some(dir) = around.variable("CREDENTIALS_DIRECTORY") else {
            problems.error(
                "secret",
                name.span(),
                "there are no systemd credentials here: CREDENTIALS_DIRECTORY is not set",
                "start by systemd with `LoadCredential=`, or use `file`",
            );
            return None;
        };
        if name.get().contains('/') {
            problems.error(
                "secret",
                name.span(),
                "a credential's name has no slash",
                "write the name given to `LoadCredential=`",
            );
            return None;
        }
        (name, Path::new(&dir).join(name.get()))
    } else {
        let name = auth.env.as_ref()?;
        let Some(value) = around.variable(name.get()) else {
            problems.error(
                "secret",
                name.span(),
                format!("the environment variable {} is not set", name.get()),
                "set it, or use `file`",
            );
            return None;
        };
        return fit(&value, name, problems);
    };
    match around.secret_file(&path) {
        Ok(text) => fit(&text, at, problems),
        Err(fault) => {
            problems.error(
                "secret",
                at.span(),
                format!("{} {fault}", path.display()),
                "write the gateway's secret into it and `chmod 0600` it (or 0640 with the service's group)",
            );
            None
        }
    }
}

fn fit(text: &str, at: &At<String>, problems: &mut Problems) -> Option<Secret> {
    match Secret::parse(text) {
        Ok(secret) => Some(secret),
        Err(fault) => {
            problems.error(
                "secret",
                at.span(),
                fault.to_string(),
                "put the gateway's own token or password there: `openclaw config get gateway.auth.token`",
            );
            None
        }
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
