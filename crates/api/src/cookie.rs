//! Cookies that scripts cannot read and other sites cannot send.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};

/// A cookie of ours: never readable for scripts, for the whole site, for this host alone.
///
/// On an encrypted connection it carries the prefix `__Host-`: browsers then take it only from this very host over an
/// encrypted connection, so that nobody beside us can plant one. The other name does not count there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cookie {
    plain: &'static str,
    encrypted: &'static str,
    same_site: &'static str,
}

/// Holds a session. It comes with no request that another site causes: the page itself needs none to load.
pub(crate) const SESSION: Cookie =
    Cookie { plain: "tinyobs_session", encrypted: "__Host-tinyobs_session", same_site: "Strict" };

/// Binds a login at a provider to its browser. It must come back when the provider sends the browser here.
pub(crate) const LOGIN: Cookie =
    Cookie { plain: "tinyobs_login", encrypted: "__Host-tinyobs_login", same_site: "Lax" };

impl Cookie {
    const fn name(self, is_encrypted: bool) -> &'static str {
        if is_encrypted { self.encrypted } else { self.plain }
    }

    /// Returns the value that the browser sends; `None` if there is none, or more than one.
    pub(crate) fn read(self, headers: &HeaderMap, is_encrypted: bool) -> Option<&str> {
        let name = self.name(is_encrypted);
        // HTTP/2 may send one header for each cookie.
        let headers = headers.get_all(header::COOKIE).into_iter();
        let mut values = headers
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(candidate, _)| *candidate == name)
            .map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }

    /// Returns the header that sets the cookie for `max_age`; `None` if the value cannot be one.
    pub(crate) fn set(
        self,
        value: &SecretString,
        max_age: Duration,
        is_encrypted: bool,
    ) -> Option<HeaderValue> {
        let value = value.expose_secret();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !value.bytes().all(is_plain) {
            return None;
        }
        self.header(value, max_age, is_encrypted)
    }

    /// Returns the header that makes the browser forget the cookie.
    pub(crate) fn clear(self, is_encrypted: bool) -> Option<HeaderValue> {
        self.header("", Duration::ZERO, is_encrypted)
    }

    fn header(self, value: &str, max_age: Duration, is_encrypted: bool) -> Option<HeaderValue> {
        let (name, same_site, seconds) =
            (self.name(is_encrypted), self.same_site, max_age.as_secs());
        let secure = if is_encrypted { "; Secure" } else { "" };
        let text = format!(
            "{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}"
        );
        let mut header = HeaderValue::from_str(&text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_read_only_when_there_is_exactly_one_under_the_name_of_the_connection() {
        for (sent, is_encrypted, expected) in [
            (vec!["tinyobs_session=a"], false, Some("a")),
            (vec!["x=y; tinyobs_session=a;z=w"], false, Some("a")),
            (vec!["x=y", "tinyobs_session=a"], false, Some("a")),
            (vec!["tinyobs_session="], false, Some("")),
            (vec!["tinyobs_session=a=b"], false, Some("a=b")),
            (vec!["tinyobs_session=a; tinyobs_session=b"], false, None),
            (vec!["tinyobs_session=a", "tinyobs_session=a"], false, None),
            (vec!["tinyobs_session"], false, None),
            (vec!["Tinyobs_session=a"], false, None),
            (vec!["xtinyobs_session=a"], false, None),
            (vec![], false, None),
            (vec!["tinyobs_session=a"], true, None),
            (vec!["__Host-tinyobs_session=a; tinyobs_session=b"], true, Some("a")),
            (vec!["__Host-tinyobs_session=a"], false, None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &sent {
                headers.append(header::COOKIE, HeaderValue::from_static(value));
            }
            assert_eq!(SESSION.read(&headers, is_encrypted), expected, "{sent:?} {is_encrypted}");
        }
    }

    #[test]
    fn a_cookie_is_set_out_of_reach_of_scripts_and_other_sites() {
        let day = Duration::from_secs(86_400);
        let text = |header: Option<HeaderValue>| {
            let header = header.expect("a header");
            assert!(header.is_sensitive());
            header.to_str().expect("a text").to_owned()
        };
        assert_eq!(
            text(SESSION.set(&"a1".into(), day, true)),
            "__Host-tinyobs_session=a1; Path=/; Max-Age=86400; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            text(LOGIN.set(&"a-_".into(), day, false)),
            "tinyobs_login=a-_; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            text(SESSION.clear(false)),
            "tinyobs_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
        );
        for value in ["a;b", "a b", "a\r\nset-cookie: b", "ü", "a,b", "a\"b"] {
            assert!(SESSION.set(&value.into(), day, true).is_none(), "{value:?}");
        }
    }
}
