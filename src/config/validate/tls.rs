//! The certificate a listener shows.

use crate::config::diagnostic::{Problems, Source};
use crate::config::environment::Environment;
use crate::config::file::{self, At};
use crate::tls::{Certificate, CertificateFault};
use std::path::Path;

pub(super) fn certificate(
    listen: &At<file::Listen>,
    source: &Source,
    around: &dyn Environment,
    problems: &mut Problems,
) -> Option<Certificate> {
    let tls = listen.get().tls.as_ref()?.get();
    if listen.get().address.get().starts_with("unix:") {
        problems.error(
            "tls",
            listen.get().tls.as_ref().map(At::span),
            "a unix socket has no use for TLS",
            "remove `tls`: the file's mode says who may connect",
        );
        return None;
    }
    // A relative path is meant from the file it stands in.
    let beside = |at: &At<String>| Path::new(&source.name).parent().unwrap_or(Path::new("")).join(at.get());
    let (chain_at, key_at) = (beside(&tls.certificate), beside(&tls.key));
    let chain = around.text_file(&chain_at).map_err(|error| {
        problems.error(
            "tls",
            tls.certificate.span(),
            format!("{} cannot be read: {error}", chain_at.display()),
            "check the path; it is relative to the configuration file",
        );
    });
    let key = around.secret_file(&key_at).map_err(|fault| {
        problems.error(
            "tls",
            tls.key.span(),
            format!("{} {fault}", key_at.display()),
            "let this program read it, and `chmod 0640` it with the service's group",
        );
    });
    match Certificate::parse(&chain.ok()?, &key.ok()?) {
        Ok(certificate) => Some(certificate),
        Err(fault) => {
            let (path, span) = match fault {
                CertificateFault::NoCertificate => (chain_at, tls.certificate.span()),
                _ => (key_at, tls.key.span()),
            };
            problems.error(
                "tls",
                span,
                format!("{} {fault}", path.display()),
                "the certificate and its chain in one PEM file, its private key in another",
            );
            None
        }
    }
}
