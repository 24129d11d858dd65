//! Whom to trust: the system's authorities and those of `ca_file`, and why a certificate does not hold, in words.
//!
//! There is no switch to trust anyone. `wire` uses the configuration for its handshake.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::reply::Fault;

/// The system's authorities and those in `ca_file`.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    if roots.is_empty() {
        return Err(Fault::Settings(
            String::from("this machine has no certificate authorities to check the mail server against"),
            String::from("install the package ca-certificates, or name the authority's PEM file as ca_file in [smtp]"),
        ));
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::Handshake(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), Fault> {
    let wrong = |why: String| {
        let hint = String::from("ca_file in [smtp] must be a readable PEM file with the authority's certificate");
        Fault::Settings(format!("the authority's file {} can't be used: {why}", path.display()), hint)
    };
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        found = true;
    }
    if found { Ok(()) } else { Err(wrong(String::from("it holds no certificate"))) }
}

/// The fault behind an error of the handshake with `host`.
pub(super) fn explain(error: &rustls::Error, host: &str) -> Fault {
    match error {
        rustls::Error::InvalidCertificate(why) => {
            let (why, hint) = certificate(why, host);
            Fault::Certificate(why, hint)
        }
        rustls::Error::InvalidMessage(_) => Fault::Handshake(format!(
            "{error}; what answers there does not speak TLS at this point (security \"tls\" belongs to port 465, \"starttls\" to 587)"
        )),
        other => Fault::Handshake(other.to_string()),
    }
}

fn certificate(error: &CertificateError, host: &str) -> (String, String) {
    let authority = "if the server is yours, name its authority's PEM file as ca_file in [smtp]";
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            (String::from("it has expired"), format!("renew the certificate on {host}, or set this machine's clock"))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (String::from("it is not valid yet"), format!("set the clock of this machine or of {host}"))
        }
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("it is made out to {}, not to {host}", names(presented)),
            format!("set host in [smtp] to a name that the certificate carries, or get one for {host}"),
        ),
        CertificateError::NotValidForName => {
            (format!("it is not made out to {host}"), String::from("set host in [smtp] to a name that the certificate carries"))
        }
        CertificateError::UnknownIssuer => {
            (String::from("it is self-signed, or its authority is not known on this machine"), String::from(authority))
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
            String::from("it is an authority's own certificate, which can't stand for a server"),
            format!("give {host} a certificate with CA:FALSE (openssl req -addext basicConstraints=CA:FALSE)"),
        ),
        other => (other.to_string(), String::from(authority)),
    }
}

/// `DnsName("a.example")` as rustls presents it, in plain words.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return String::from("no name at all");
    }
    let plain = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    presented.iter().take(5).map(plain).collect::<Vec<_>>().join(", ")
}
