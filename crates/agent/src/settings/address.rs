//! The address of the server.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

/// The path of reports, below that of the server.
const REPORT_PATH: &str = "/api/v1/report";

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Scheme, host, port and path, without a slash at the end.
    base: String,
    encrypted: bool,
    near: bool,
}

/// Why an address is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has no scheme or host, or cannot be read.
    #[error("must look like https://tinyobs.example:8080")]
    Form,
    /// It is neither HTTP nor HTTPS.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// It has a name or password.
    #[error("must not have a name or password in it: use a token")]
    Credentials,
    /// It has a query.
    #[error("must not have a query")]
    Query,
}

impl ServerAddress {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.contains('#') {
            return Err(AddressError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| AddressError::Form)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(AddressError::Form);
        };
        let encrypted = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(AddressError::Scheme),
        };
        if authority.as_str().contains('@') {
            return Err(AddressError::Credentials);
        }
        if uri.query().is_some() {
            return Err(AddressError::Query);
        }
        if authority.host().is_empty() {
            return Err(AddressError::Form);
        }
        let path = uri.path().trim_end_matches('/');
        let near = is_near(authority.host());
        Ok(Self { base: format!("{scheme}://{authority}{path}"), encrypted, near })
    }

    /// Returns where reports are posted.
    #[must_use]
    pub fn report_url(&self) -> String {
        format!("{}{REPORT_PATH}", self.base)
    }

    /// Returns whether what is sent there is encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Returns whether what is sent there stays on the machine or in the cluster, as far as the name tells.
    #[must_use]
    pub const fn is_near(&self) -> bool {
        self.near
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

fn is_near(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    !name.contains('.') || name.ends_with(".svc") || name.ends_with(".svc.cluster.local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_go_below_the_path_of_the_server() {
        let check = |text: &str, expected: &str| {
            let address =
                ServerAddress::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.report_url(), expected, "{text}");
        };
        check("http://server:8080", "http://server:8080/api/v1/report");
        check("http://server:8080/", "http://server:8080/api/v1/report");
        check("https://example.com/obs//", "https://example.com/obs/api/v1/report");
        check("HTTPS://example.com", "https://example.com/api/v1/report");
        check("http://[::1]:8080", "http://[::1]:8080/api/v1/report");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let check = |text: &str, expected| {
            assert_eq!(ServerAddress::parse(text).expect_err(text), expected, "{text}");
        };
        check("", AddressError::Form);
        check("server:8080", AddressError::Form);
        check("/api", AddressError::Form);
        check("http://", AddressError::Form);
        check("http://a b", AddressError::Form);
        check("ftp://server", AddressError::Scheme);
        check("http://name:word@server", AddressError::Credentials);
        check("http://server/?a=b", AddressError::Query);
        check("http://server/#a", AddressError::Query);
    }

    #[test]
    fn near_is_the_machine_and_the_cluster() {
        let check = |host: &str, near| {
            let address = ServerAddress::parse(&format!("http://{host}:1")).expect(host);
            assert_eq!(address.is_near(), near, "{host}");
        };
        for host in [
            "127.0.0.1",
            "127.8.8.8",
            "[::1]",
            "localhost",
            "tinyobs",
            "tinyobs.observability.svc",
            "tinyobs.observability.SVC.cluster.local",
            "tinyobs.observability.svc.cluster.local.",
        ] {
            check(host, true);
        }
        for host in [
            "10.0.0.1",
            "192.168.1.1",
            "[fe80::1]",
            "example.com",
            "svc.example.com",
            "xsvc.com",
            "a.svc.cluster.local.evil",
        ] {
            check(host, false);
        }
    }
}
