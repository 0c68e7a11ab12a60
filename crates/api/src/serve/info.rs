//! What a request knows of the connection that it came over.

use std::net::SocketAddr;
use std::sync::Arc;

/// The connection of a request; every request that came over a socket has one among its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The other end of the socket: the client, or the last proxy before us.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The client's certificate, if it showed one that our client authority signed.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// A client's certificate that was checked: its chain, its time, and that the client holds the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The first common name of the subject, if it has one.
    pub common_name: Option<String>,
    /// The SHA-256 of the certificate in DER, as 64 lower-case hexadecimal digits.
    pub fingerprint: String,
}
