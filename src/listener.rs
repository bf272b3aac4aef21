//! Where clients connect: bound before anything is served, accepted within limits, each connection
//! watched until it ends.
//!
//! Pingora's own listeners bind late, in a task that panics on a taken port, and know no deadline
//! for a request's head (`http_proxy` is made for accept loops such as this one). Here a bind that
//! fails fails the start, and [`Connections`] ends whatever overstays.

mod body_timeout;
mod client_socket;
mod connection;
mod connections;
mod handshake;
mod head;
mod lingering_close;
mod reauthorization_task;
mod shared_state;
mod stream;
mod timers;

pub use client_socket::ClientSocket;
pub use connection::{Connection, Ending, OpenRequest, UpgradeFuture};
pub use connections::Connections;
pub use reauthorization_task::LastCheck;
pub use stream::ClientStream;

use crate::config::{ListenAddress, ListenerIdentity};
use crate::systemd::Inherited;
use nix::sys::stat::Mode;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::rustls::ServerConfig;

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    name: String,
    identity: ListenerIdentity,
    tls: Option<Arc<ServerConfig>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// The file goes with the listener, unless the service manager made it.
    Unix {
        listener: UnixListener,
        _file: Option<Unlink>,
    },
}

/// Removes a unix socket's file when the listener goes.
#[derive(Debug)]
struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct BindError {
    address: String,
    cause: String,
}

impl BindError {
    /// Whether it is about a unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.address.starts_with("unix:")
    }
}

impl Listener {
    /// Binds an address.
    ///
    /// # Errors
    /// [`BindError`] with the address and the system's reason.
    pub fn bind(address: &ListenAddress) -> Result<Self, BindError> {
        let name = match address {
            ListenAddress::Tcp(address) => address.to_string(),
            ListenAddress::Unix { path, .. } => format!("unix:{}", path.display()),
        };
        let failed = |cause: String| BindError { address: name.clone(), cause };
        let socket = match address {
            ListenAddress::Tcp(address) => bind_tcp(*address).map_err(|e| failed(explain(&e)))?,
            ListenAddress::Unix { path, mode } => bind_unix(path, *mode).map_err(|e| failed(explain(&e)))?,
        };
        // A port of 0 was chosen by the kernel: say which.
        let name = match &socket {
            Socket::Tcp(listener) => listener.local_addr().map_or(name, |a| a.to_string()),
            Socket::Unix { .. } => name,
        };
        Ok(Self { socket, name, identity: ListenerIdentity::None, tls: None })
    }

    /// Takes over a socket that the service manager has bound to this address, or binds it.
    ///
    /// # Errors
    /// [`BindError`], as of [`Listener::bind`].
    pub fn inherit_or_bind(address: &ListenAddress, inherited: &mut Inherited) -> Result<Self, BindError> {
        let failed = |e: std::io::Error| BindError { address: format!("{address:?}"), cause: e.to_string() };
        if let Some(listener) = inherited.tcp(address) {
            listener.set_nonblocking(true).map_err(failed)?;
            let name = listener.local_addr().map(|a| a.to_string()).map_err(failed)?;
            let socket = Socket::Tcp(TcpListener::from_std(listener).map_err(failed)?);
            return Ok(Self { socket, name, identity: ListenerIdentity::None, tls: None });
        }
        if let (Some(listener), ListenAddress::Unix { path, .. }) = (inherited.unix(address), address) {
            listener.set_nonblocking(true).map_err(failed)?;
            let listener = UnixListener::from_std(listener).map_err(failed)?;
            return Ok(Self {
                socket: Socket::Unix { listener, _file: None },
                name: format!("unix:{}", path.display()),
                identity: ListenerIdentity::None,
                tls: None,
            });
        }
        Self::bind(address)
    }

    /// The same, on which callers without a credential are who this says.
    #[must_use]
    pub fn with_identity(self, identity: ListenerIdentity) -> Self {
        Self { identity, ..self }
    }

    /// The same, speaking TLS.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<ServerConfig>>) -> Self {
        Self { tls, ..self }
    }

    /// The address as bound.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bound TCP address, if it is one.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix { .. } => None,
        }
    }

    /// The next connection and the address of its peer.
    pub(crate) async fn accept(&self) -> std::io::Result<(ClientStream, Option<SocketAddr>)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                // Only begun here: no client waits for another client's handshake.
                let stream = match &self.tls {
                    Some(tls) => ClientStream::tls(stream, tls.clone()),
                    None => ClientStream::tcp(stream),
                };
                Ok((stream, Some(SocketAddr::new(peer.ip().to_canonical(), peer.port()))))
            }
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((ClientStream::unix(stream), None))
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` means IPv6 alone, so that `0.0.0.0` beside it is no conflict.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // The kernel caps this at net.core.somaxconn.
    socket.listen(4096)?;
    Ok(Socket::Tcp(TcpListener::from_std(socket.into())?))
}

fn bind_unix(path: &Path, mode: u32) -> std::io::Result<Socket> {
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            return Err(std::io::Error::other("the path exists and is not a socket"));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(std::io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    // No client may connect between bind and chmod.
    let before = nix::sys::stat::umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    nix::sys::stat::umask(before);
    let listener = bound?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(Socket::Unix { listener, _file: Some(Unlink(path.to_owned())) })
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another process listens there already".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            "permission denied (a port below 1024 needs CAP_NET_BIND_SERVICE)".to_owned()
        }
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}
