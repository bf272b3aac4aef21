//! Connections to the gateway without `IP_BIND_ADDRESS_NO_PORT`.
//!
//! Pingora 0.9.1 sets this option on every socket and takes its absence for a failure (`inner_connect_with` in
//! `protocols/l4/ext.rs`). Linux has it since 4.2; the kernels of older NAS and qemu's user emulation do not. It says when
//! a local port is chosen for a bound address, and nothing is bound here.

use async_trait::async_trait;
use nix::errno::Errno;
use pingora::connectors::L4Connect;
use pingora::prelude::Error;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::{BError, ErrorType};
use std::io::ErrorKind;
use tokio::net::TcpStream;

/// Whether a connection failed for nothing but that option.
pub(super) fn is_needed(error: &Error) -> bool {
    let unknown = Some(Errno::ENOPROTOOPT as i32);
    *error.root_etype() == ErrorType::SocketError
        && error.root_cause().downcast_ref::<std::io::Error>().is_some_and(|cause| cause.raw_os_error() == unknown)
}

/// Connects with what every kernel has. The timeout of the whole, `total_connection_timeout`, is Pingora's still.
#[derive(Debug)]
pub(super) struct PlainConnector;

#[async_trait]
impl L4Connect for PlainConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream, BError> {
        let SocketAddr::Inet(address) = address else {
            return Error::e_explain(ErrorType::InternalError, "the gateway has no TCP address");
        };
        let failed = |error: std::io::Error| {
            let kind = match error.kind() {
                ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => ErrorType::ConnectNoRoute,
                _ => ErrorType::ConnectError,
            };
            Error::because(kind, format!("Fail to connect to {address}"), error)
        };
        Ok(TcpStream::connect(address).await.map_err(failed)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorType::{ConnectRefused, InternalError, SocketError};

    /// Whether it is needed after an error as Pingora reports it: the failed call, in what it was to set, in
    /// what it was for.
    fn is_needed_after(kind: ErrorType, error: Errno) -> bool {
        let cause = Error::because(kind, "failed to set socket opts", std::io::Error::from(error));
        is_needed(&Error::because(InternalError, "Fail to connect", cause))
    }

    #[test]
    fn an_option_that_the_kernel_lacks_is_told_from_other_failures() {
        assert!(is_needed_after(SocketError, Errno::ENOPROTOOPT));
        // No descriptor is left, or nobody listens.
        assert!(!is_needed_after(SocketError, Errno::EMFILE));
        assert!(!is_needed_after(ConnectRefused, Errno::ENOPROTOOPT));
        assert!(!is_needed(&Error::explain(SocketError, "without a cause")));
    }

    #[tokio::test]
    async fn it_connects_and_says_when_nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = SocketAddr::Inet(listener.local_addr().unwrap());
        assert!(PlainConnector.connect(&address).await.is_ok());
        drop(listener);
        let error = PlainConnector.connect(&address).await.unwrap_err();
        assert_eq!(*error.etype(), ConnectRefused);
    }
}
