//! Addresses that secrets may be sent to, and paths that a browser may be sent to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

/// Most bytes of an address or path.
const URL_BYTES_MAX: usize = 2_048;

/// Why a text is no [`SecureUrl`] or [`Issuer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no absolute address in the form that every reader understands alike.
    #[error(
        "must be an absolute URL such as https://login.example/path, without user and fragment"
    )]
    Malformed,
    /// It is not encrypted.
    #[error("must begin with https://; http:// is only possible for addresses of this machine")]
    Plain,
    /// An issuer has a query.
    #[error("must not have a query: an issuer is compared as a whole")]
    Query,
}

/// An absolute address: `https`, or `http` to a loopback address.
///
/// It is printable ASCII without user information, fragment or backslash, and at most 2,048 bytes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecureUrl {
    text: String,
    is_https: bool,
}

impl SecureUrl {
    /// Returns the address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether it is encrypted; otherwise it stays on this machine.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.is_https
    }
}

impl FromStr for SecureUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\');
        if URL_BYTES_MAX < text.len() || !text.bytes().all(is_plain) {
            return Err(UrlError::Malformed);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let authority = uri.authority().ok_or(UrlError::Malformed)?;
        let host = authority.host();
        let has_port = authority.as_str().len() > host.len();
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(UrlError::Malformed);
        }
        if has_port && authority.port_u16().is_none() {
            return Err(UrlError::Malformed);
        }
        match uri.scheme_str() {
            Some("https") => Ok(Self { text: text.to_owned(), is_https: true }),
            Some("http") if is_loopback(host) => {
                Ok(Self { text: text.to_owned(), is_https: false })
            }
            Some("http") => Err(UrlError::Plain),
            _ => Err(UrlError::Malformed),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The name of an OpenID Connect provider: an address that is compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(SecureUrl);

impl Issuer {
    /// Returns the name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns where the provider describes itself
    /// ([OpenID Connect Discovery, 4.1](https://openid.net/specs/openid-connect-discovery-1_0.html)).
    pub(super) fn discovery_url(&self) -> String {
        let issuer = self.as_str();
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        format!("{base}/.well-known/openid-configuration")
    }

    /// Returns the endpoint `text` of this provider: encrypted, unless the provider itself is on this machine.
    pub(super) fn endpoint(&self, text: &str) -> Result<SecureUrl, UrlError> {
        let url: SecureUrl = text.parse()?;
        if self.0.is_https() && !url.is_https() { Err(UrlError::Plain) } else { Ok(url) }
    }
}

impl FromStr for Issuer {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url: SecureUrl = text.parse()?;
        if text.contains('?') { Err(UrlError::Query) } else { Ok(Self(url)) }
    }
}

/// A text that is no path of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a path of this server such as /dashboards?range=1h")]
pub struct ReturnPathError;

/// Where a browser goes after login: a path on this server, never another host.
///
/// Browsers take `//host`, `/\host` and paths with control characters in between for another host; none of them gets
/// through. At most 2,048 bytes of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPath(String);

impl ReturnPath {
    /// Returns the path, with its query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ReturnPath {
    /// The page's first view.
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl FromStr for ReturnPath {
    type Err = ReturnPathError;

    fn from_str(text: &str) -> Result<Self, ReturnPathError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        let stays_here = text.starts_with('/') && !text.starts_with("//");
        if stays_here && text.len() <= URL_BYTES_MAX && text.bytes().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReturnPathError)
        }
    }
}

impl fmt::Display for ReturnPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encrypted_addresses_and_those_of_this_machine_are_taken() {
        let long = format!("https://login.example/{}", "a".repeat(URL_BYTES_MAX));
        for (text, expected) in [
            ("https://login.example", Ok(())),
            ("https://login.example:8443/realms/a?b=c", Ok(())),
            ("https://[2001:db8::1]/", Ok(())),
            ("http://localhost:8080/a", Ok(())),
            ("http://127.0.0.1", Ok(())),
            ("http://127.8.9.1:1/", Ok(())),
            ("http://[::1]:8080/", Ok(())),
            ("http://login.example/", Err(UrlError::Plain)),
            ("http://localhost.example/", Err(UrlError::Plain)),
            ("http://10.0.0.1/", Err(UrlError::Plain)),
            ("http://[::2]/", Err(UrlError::Plain)),
            ("https://user@login.example/", Err(UrlError::Malformed)),
            ("https://user:secret@login.example/", Err(UrlError::Malformed)),
            ("http://localhost@login.example/", Err(UrlError::Malformed)),
            ("https://login.example/#part", Err(UrlError::Malformed)),
            ("https://login.example\\@evil.example/", Err(UrlError::Malformed)),
            ("https://login.example/a b", Err(UrlError::Malformed)),
            ("https://login.example/\n", Err(UrlError::Malformed)),
            ("https://lögin.example/", Err(UrlError::Malformed)),
            ("https:///path", Err(UrlError::Malformed)),
            ("https://login.example:/", Err(UrlError::Malformed)),
            ("https://login.example:99999/", Err(UrlError::Malformed)),
            ("https://", Err(UrlError::Malformed)),
            ("ftp://login.example/", Err(UrlError::Malformed)),
            ("file:///etc/passwd", Err(UrlError::Malformed)),
            ("//login.example/", Err(UrlError::Malformed)),
            ("login.example", Err(UrlError::Malformed)),
            ("", Err(UrlError::Malformed)),
            (&long, Err(UrlError::Malformed)),
        ] {
            assert_eq!(text.parse::<SecureUrl>().map(drop), expected, "{text:?}");
        }
    }

    #[test]
    fn an_issuer_says_where_it_describes_itself_and_what_its_endpoints_may_be() {
        let discovery = |text: &str| text.parse().map(|issuer: Issuer| issuer.discovery_url());
        let expected = Ok("https://a.example/.well-known/openid-configuration".to_owned());
        assert_eq!(discovery("https://a.example"), expected);
        assert_eq!(discovery("https://a.example/"), expected);
        let expected = Ok("https://a.example/t/v2/.well-known/openid-configuration".to_owned());
        assert_eq!(discovery("https://a.example/t/v2"), expected);
        assert_eq!(discovery("https://a.example/?tenant=b"), Err(UrlError::Query));

        let remote: Issuer = "https://a.example".parse().expect("an issuer");
        remote.endpoint("https://b.example/token").expect("another host of the same provider");
        assert_eq!(remote.endpoint("http://127.0.0.1/token"), Err(UrlError::Plain));
        let local: Issuer = "http://localhost:9000".parse().expect("an issuer");
        local.endpoint("http://127.0.0.1/token").expect("it stays on this machine");
        assert_eq!(local.endpoint("http://a.example/token"), Err(UrlError::Plain));
    }

    #[test]
    fn a_return_path_never_leaves_this_server() {
        let long = format!("/{}", "a".repeat(URL_BYTES_MAX));
        for (text, allowed) in [
            ("/", true),
            ("/dashboards/node?range=1h&x=https://evil.example", true),
            ("/a//b", true),
            ("/%2f%2fevil.example", true),
            ("/?", true),
            ("", false),
            ("//evil.example", false),
            ("///evil.example", false),
            ("/\\evil.example", false),
            ("\\\\evil.example", false),
            ("/\t/evil.example", false),
            ("/\n/evil.example", false),
            ("\t//evil.example", false),
            ("/ /evil.example", false),
            (" /", false),
            ("https://evil.example", false),
            ("https:evil.example", false),
            ("javascript:alert(1)", false),
            ("evil.example", false),
            ("@evil.example", false),
            (".evil.example", false),
            ("./a", false),
            ("?a=b", false),
            ("/a\r\nset-cookie: a=b", false),
            ("/\u{0}", false),
            ("/ü", false),
            ("／／evil.example", false),
            (&long, false),
        ] {
            assert_eq!(text.parse::<ReturnPath>().is_ok(), allowed, "{text:?}");
        }
    }
}
