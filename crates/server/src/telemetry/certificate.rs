//! The server's certificate.

use std::fmt;
use std::sync::Arc;

use api::Tls;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Metric, Writer};

const DAYS_LEFT: Metric =
    Metric::new("tls_certificate_days_left", "Whole days until the certificate expires.");

/// Reads until when the certificate is valid; without TLS there is none.
#[derive(Debug)]
pub(crate) struct CertificateCollector {
    tls: Option<Arc<Tls>>,
}

impl CertificateCollector {
    pub(crate) const fn new(tls: Option<Arc<Tls>>) -> Self {
        Self { tls }
    }
}

impl Collector for CertificateCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let days_left = self.tls.iter().map(|tls| ([], tls.status().days_left));
        Writer::new(encoder).gauges(DAYS_LEFT, days_left)
    }
}
