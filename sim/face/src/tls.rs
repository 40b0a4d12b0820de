//! The server's certificate, issued by an authority of its own, as `ca.crt` in Pods names it.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use ivory_core::Sensitive;
use ivory_core::crypto::pki::Root;
use jiff::Timestamp;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What clients reach it as. Not by its address: the authority issues for names.
const NAMES: [&str; 3] = ["localhost", "kubernetes.default.svc", "kubernetes"];

/// A certificate with its key, and the authority that issued it.
#[derive(Clone)]
pub struct Identity {
    /// The authority's certificate, PEM.
    pub authority: String,
    certificate: String,
    key: Sensitive,
}

impl Identity {
    /// Makes an authority and has it issue a certificate for `localhost` and the names of the Service `kubernetes`.
    ///
    /// # Errors
    /// If the machine gives no random bytes.
    pub fn fresh(now: Timestamp) -> anyhow::Result<Self> {
        let seed = || {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random bytes: {error}"))?;
            Ok::<_, anyhow::Error>(bytes)
        };
        let issued = Root::generate(&seed()?, now);
        let authority = issued.certificate.clone();
        let root = Root::read(&issued.certificate, &issued.key)
            .map_err(|why| anyhow!("the authority: {why:?}"))?;
        let names = NAMES.map(str::to_owned);
        let leaf = root
            .issue(&seed()?, "kube-apiserver", &names, now)
            .map_err(|why| anyhow!("the certificate: {why:?}"))?;
        Ok(Self { authority, certificate: leaf.certificate, key: leaf.key })
    }

    /// As rustls wants it.
    pub(crate) fn config(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .context("the certificate")?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose()).context("the key")?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
