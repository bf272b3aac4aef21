//! TLS on a listener, with a certificate that can be replaced while connections go on, and towards issuers.

use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, ServerConfig};

/// A certificate with its chain and its key.
#[derive(Clone)]
pub struct Certificate(Arc<CertifiedKey>);

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("chain", &self.0.cert.len()).finish_non_exhaustive()
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// No certificate stands in the file.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// No key stands in the file.
    #[error("holds no private key in PEM")]
    NoKey,
    /// The two do not belong together.
    #[error("is not the key of that certificate")]
    Mismatch,
    /// The library does not take them.
    #[error("cannot be used: {0}")]
    Unusable(String),
}

impl Certificate {
    /// A certificate, its chain behind it, and its key, in PEM.
    ///
    /// # Errors
    /// [`CertificateFault`]; nothing of the key is in it.
    pub fn parse(chain: &str, key: &str) -> Result<Self, CertificateFault> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain = chain.ok().filter(|c| !c.is_empty()).ok_or(CertificateFault::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| CertificateFault::NoKey)?;
        match CertifiedKey::from_der(chain, key, &provider()) {
            Ok(certified) => Ok(Self(Arc::new(certified))),
            Err(Error::InconsistentKeys(_)) => Err(CertificateFault::Mismatch),
            Err(error) => Err(CertificateFault::Unusable(error.to_string())),
        }
    }
}

/// More than one provider may be linked in, so none is the default.
fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// The certificate of one listener, as it is now.
#[derive(Debug)]
pub struct CertificateResolver(ArcSwap<CertifiedKey>);

impl CertificateResolver {
    /// This one, until it is replaced.
    #[must_use]
    pub fn new(certificate: Certificate) -> Self {
        Self(ArcSwap::new(certificate.0))
    }

    /// From now on, connections that begin are shown this one.
    pub fn replace(&self, certificate: Certificate) {
        self.0.store(certificate.0);
    }
}

/// Why no client for an issuer can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// `ca_file` holds no certificate that can be used.
    #[error("the certificate in `ca_file` cannot be used: {0}")]
    Certificate(reqwest::Error),
    /// The proxy's address or the client as a whole.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(reqwest::Error),
}

/// A client for an issuer's keys: its own authority beside the system's, no redirects, since the
/// address is part of the configuration, and no connection kept, since keys are fetched once an hour.
///
/// # Errors
/// [`ClientFault`].
pub fn issuer_client(ca: Option<&str>, proxy: Option<&str>, timeout: Duration) -> Result<reqwest::Client, ClientFault> {
    let mut builder = reqwest::Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .user_agent(concat!("scopeshim/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = ca {
        let authority = reqwest::Certificate::from_pem(pem.as_bytes()).map_err(ClientFault::Certificate)?;
        builder = builder.tls_certs_merge([authority]);
    }
    if let Some(proxy) = proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(ClientFault::Client)?);
    }
    // A certificate that is no certificate shows only here.
    builder.build().map_err(if ca.is_some() { ClientFault::Certificate } else { ClientFault::Client })
}

#[cfg(test)]
impl CertificateResolver {
    pub(crate) fn first_in_chain(&self) -> Vec<u8> {
        self.0.load().cert.first().map(|c| c.to_vec()).unwrap_or_default()
    }
}

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// The terms of a listener that shows this certificate: TLS 1.2 and 1.3, HTTP/1.1.
///
/// # Errors
/// The library's, if it knows no protocol version.
pub fn server_config(present: Arc<CertificateResolver>) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(present);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
