//! Where a request comes from, when proxies stand before us.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// A client as a limiter knows it: an IPv4 address, or the first 64 bits of an IPv6 address, for these are what one
/// customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKey {
    /// An IPv4 address, also one that is written as an IPv6 address.
    V4(u32),
    /// A network of IPv6.
    V6(u64),
}

impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments().map(u64::from);
                Self::V6(a << 48 | b << 32 | c << 16 | d)
            }
        }
    }
}

/// The headers in which the proxies say who asked.
///
/// It has to be said which: a proxy that writes one of them passes on the other as the client wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwardedFor,
    /// `Forwarded` ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)).
    Forwarded,
}

/// How a client reached the first proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without encryption.
    Http,
    /// Over TLS.
    Https,
}

/// Who asked. Borrows from the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// The address, an IPv4 address always as such.
    pub address: IpAddr,
    /// How the client reached the first proxy; `None` when no trusted proxy says so.
    pub scheme: Option<Scheme>,
    /// The host that the client asked the first proxy for, with its port if it said one; `None` when no trusted proxy
    /// says so. Not checked.
    pub host: Option<&'a str>,
}

/// The proxies that are believed.
///
/// Only what a believed proxy says counts. The list of addresses that it sends is read from its end, where it wrote
/// itself, to the first address that is none of the proxies: what stands before that one, anybody may have written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

/// Why a list of networks cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustedProxiesError {
    /// One of them is none.
    #[error("'{text}' is neither an address nor a network; write 10.0.0.0/8 or 2001:db8::1")]
    Invalid {
        /// What was written.
        text: String,
    },
    /// There are too many; every request is compared with all of them.
    #[error("at most {} networks can be trusted; name larger ones", TrustedProxies::NETWORKS_MAX)]
    TooMany,
}

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED: &str = "forwarded";
const X_FORWARDED_HOST: &str = "x-forwarded-host";

impl TrustedProxies {
    /// Most networks that can be named.
    pub const NETWORKS_MAX: usize = 256;
    /// Most proxies between a client and us; further ones are not believed.
    pub const HOPS_MAX: usize = 16;

    /// Returns the proxies in `networks`: addresses, or networks as in `10.0.0.0/8`. They write `header`.
    ///
    /// # Errors
    ///
    /// A text is no network, or there are too many.
    pub fn new<T: AsRef<str>>(
        networks: impl IntoIterator<Item = T>,
        header: ForwardedHeader,
    ) -> Result<Self, TrustedProxiesError> {
        let parse = |text: T| {
            let text = text.as_ref().trim();
            let address =
                || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            text.parse::<IpNet>()
                .or_else(|_| address())
                .map_err(|_| TrustedProxiesError::Invalid { text: text.to_owned() })
        };
        let networks = networks.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if networks.len() > Self::NETWORKS_MAX {
            return Err(TrustedProxiesError::TooMany);
        }
        Ok(Self { networks, header })
    }

    /// Returns whether a proxy at this address is believed. Compares with every network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Returns who asked, when the connection comes from `peer`. Allocates nothing.
    #[must_use]
    pub fn client<'a>(&self, peer: IpAddr, headers: &'a HeaderMap) -> Client<'a> {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return Client { address: peer, scheme: None, host: None };
        }
        match self.header {
            ForwardedHeader::XForwardedFor => self.by_x_forwarded_for(peer, headers),
            ForwardedHeader::Forwarded => self.by_forwarded(peer, headers),
        }
    }

    fn by_x_forwarded_for<'a>(&self, peer: IpAddr, headers: &'a HeaderMap) -> Client<'a> {
        let mut address = peer;
        for text in from_the_end(headers, X_FORWARDED_FOR).take(Self::HOPS_MAX) {
            let Some(before) = text.and_then(node_address) else { break };
            address = before;
            if !self.contains(address) {
                break;
            }
        }
        let last = |name| from_the_end(headers, name).next().flatten();
        Client {
            address,
            scheme: last(X_FORWARDED_PROTO).and_then(scheme),
            host: last(X_FORWARDED_HOST).filter(|host| !host.is_empty()),
        }
    }

    fn by_forwarded<'a>(&self, peer: IpAddr, headers: &'a HeaderMap) -> Client<'a> {
        let mut client = Client { address: peer, scheme: None, host: None };
        for text in from_the_end(headers, FORWARDED).take(Self::HOPS_MAX) {
            // An element is the word of the proxy that received it from there: believed, for we came here over it.
            let Some(element) = text.and_then(Element::parse) else { break };
            client.scheme = element.proto.and_then(scheme);
            client.host = element.host.filter(|host| !host.is_empty());
            let Some(before) = element.node.and_then(node_address) else { break };
            client.address = before;
            if !self.contains(before) {
                break;
            }
        }
        client
    }
}

/// Iterates over the elements of a list that may stand in several headers, the last one first; `None` for those that
/// are no text.
fn from_the_end<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> impl Iterator<Item = Option<&'a str>> {
    headers.get_all(name).iter().rev().flat_map(|line| {
        let text = line.to_str().ok();
        let mut rest = text;
        let elements = std::iter::from_fn(move || {
            let (before, last) = split_last(rest?, ',');
            rest = before;
            Some(Some(last.trim()))
        });
        let unreadable = text.is_none().then_some(None);
        elements.chain(unreadable)
    })
}

/// Splits at the last separator that is not in quotes. It is looked for from the end, so that a quote that a client
/// left open swallows nothing of what the proxies appended.
fn split_last(text: &str, separator: char) -> (Option<&str>, &str) {
    let mut quoted = false;
    for (position, found) in text.char_indices().rev() {
        if found == '"' {
            quoted = !quoted;
        } else if found == separator && !quoted {
            let (before, after) = text.split_at(position);
            return (Some(before), after.get(found.len_utf8()..).unwrap_or_default());
        }
    }
    (None, text)
}

/// What one proxy says in `Forwarded`.
#[derive(Default)]
struct Element<'a> {
    node: Option<&'a str>,
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

impl<'a> Element<'a> {
    /// Returns `None` when it cannot be read, or says something twice.
    fn parse(text: &'a str) -> Option<Self> {
        let mut element = Self::default();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let (before, pair) = split_last(text, ';');
            rest = before;
            let pair = pair.trim();
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=')?;
            let value = unquoted(value.trim())?;
            let places = [
                ("for", &mut element.node),
                ("proto", &mut element.proto),
                ("host", &mut element.host),
            ];
            let place =
                places.into_iter().find(|(known, _)| name.trim().eq_ignore_ascii_case(known));
            if place.is_some_and(|(_, place)| place.replace(value).is_some()) {
                return None;
            }
        }
        Some(element)
    }
}

/// Returns a value without its quotes. None that we read needs a backslash.
fn unquoted(value: &str) -> Option<&str> {
    let inner = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value,
    };
    (!inner.contains(['"', '\\'])).then_some(inner)
}

/// Returns the address of a node, written with or without port and brackets. `unknown` and made-up names have none.
fn node_address(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            is_port.then(|| address.parse().map(IpAddr::V6).ok())?
        }
        None => text.parse::<IpAddr>().ok().or_else(|| {
            let (address, port) = text.split_once(':')?;
            is_port(port).then(|| address.parse().map(IpAddr::V4).ok())?
        }),
    };
    address.map(|address| address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn scheme(text: &str) -> Option<Scheme> {
    let known = [("https", Scheme::Https), ("http", Scheme::Http)];
    known.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, scheme)| scheme)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn proxies(header: ForwardedHeader) -> TrustedProxies {
        let networks = ["10.0.0.0/8", "192.168.1.1", "fd00::/8"];
        TrustedProxies::new(networks, header).expect("networks")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    /// Checks who asked, by `X-Forwarded-For` in several lines.
    fn check(peer: &str, lines: &[&str], expected: &str) {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        let headers = headers(&lines);
        let client = proxies(ForwardedHeader::XForwardedFor).client(address(peer), &headers);
        assert_eq!(client.address, address(expected), "{peer} {lines:?}");
    }

    #[test]
    fn strangers_are_not_believed() {
        check("203.0.113.7", &["1.2.3.4"], "203.0.113.7");
        check("192.168.1.2", &["1.2.3.4"], "192.168.1.2");
        check("::ffff:203.0.113.7", &["1.2.3.4"], "203.0.113.7");
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        check("10.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("10.0.0.1", &["203.0.113.7, 10.0.0.2, 192.168.1.1"], "203.0.113.7");
        check("10.0.0.1", &["203.0.113.7", "10.0.0.2"], "203.0.113.7");
        check("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("fd00::1", &["2001:db8::7"], "2001:db8::7");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
    }

    #[test]
    fn what_a_client_writes_before_is_not_believed() {
        check("10.0.0.1", &["1.2.3.4, 203.0.113.7"], "203.0.113.7");
        check("10.0.0.1", &["1.2.3.4", "203.0.113.7"], "203.0.113.7");
        check("10.0.0.1", &["10.0.0.9, 203.0.113.7"], "203.0.113.7");
        check("10.0.0.1", &["127.0.0.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7");
        check("10.0.0.1", &["1.2.3.4, nonsense"], "10.0.0.1");
        check("10.0.0.1", &["1.2.3.4, nonsense, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &["1.2.3.4,"], "10.0.0.1");
        check("10.0.0.1", &["\"1.2.3.4, 203.0.113.7"], "203.0.113.7");
    }

    #[test]
    fn nobody_is_believed_over_too_many_proxies() {
        let chain = |proxies| format!("203.0.113.7{}", ", 10.0.0.2".repeat(proxies));
        check("10.0.0.1", &[&chain(TrustedProxies::HOPS_MAX - 1)], "203.0.113.7");
        check("10.0.0.1", &[&chain(TrustedProxies::HOPS_MAX)], "10.0.0.2");
    }

    #[test]
    fn a_line_that_is_no_text_ends_what_is_believed() {
        let mut headers = HeaderMap::new();
        for line in [&b"1.2.3.4"[..], b"\xff", b"10.0.0.2"] {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line).expect("a value"));
        }
        let client = proxies(ForwardedHeader::XForwardedFor).client(address("10.0.0.1"), &headers);
        assert_eq!(client.address, address("10.0.0.2"));
    }

    #[test]
    fn nodes_may_have_ports_and_brackets() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[2001:db8::1]443", None),
            ("[192.0.2.1]", None),
            ("192.0.2.1:http", None),
            ("192.0.2.1:99999", None),
            ("192.0.2", None),
            ("0300.0.2.1", None),
            ("fe80::1%eth0", None),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
        ] {
            assert_eq!(node_address(text), expected.map(address), "{text}");
        }
    }

    #[test]
    fn schemes_and_hosts_are_those_that_a_trusted_proxy_says() {
        let trusting = proxies(ForwardedHeader::XForwardedFor);
        let lines =
            [("x-forwarded-proto", "http, HTTPS"), ("x-forwarded-host", "obs.example:8443")];
        let headers = headers(&lines);
        let client = trusting.client(address("10.0.0.1"), &headers);
        assert_eq!((client.scheme, client.host), (Some(Scheme::Https), Some("obs.example:8443")));
        let stranger = trusting.client(address("203.0.113.7"), &headers);
        assert_eq!((stranger.scheme, stranger.host), (None, None));
        let other = proxies(ForwardedHeader::Forwarded).client(address("10.0.0.1"), &headers);
        assert_eq!((other.scheme, other.host), (None, None));
    }

    #[test]
    fn forwarded_is_read_from_its_end() {
        for (lines, expected) in [
            (&["for=203.0.113.7"][..], ("203.0.113.7", None, None)),
            (
                &["For=\"[2001:db8::7]:4711\";PROTO=https"],
                ("2001:db8::7", Some(Scheme::Https), None),
            ),
            (
                &[
                    "for=203.0.113.7;proto=https;host=\"a.example:1\";by=10.0.0.2, for=10.0.0.2;proto=http",
                ],
                ("203.0.113.7", Some(Scheme::Https), Some("a.example:1")),
            ),
            (
                &["for=1.2.3.4;proto=https", "for=203.0.113.7;proto=http"],
                ("203.0.113.7", Some(Scheme::Http), None),
            ),
            (&["for=\"1.2.3.4, for=203.0.113.7"], ("203.0.113.7", None, None)),
            (&["for=1.2.3.4, for=unknown;proto=https"], ("10.0.0.1", Some(Scheme::Https), None)),
            (&["for=1.2.3.4, proto=https"], ("10.0.0.1", Some(Scheme::Https), None)),
            (&["for=1.2.3.4, garbage"], ("10.0.0.1", None, None)),
            (&["for=1.2.3.4;for=203.0.113.7"], ("10.0.0.1", None, None)),
            (&["for=\"1.2.3.\\4\""], ("10.0.0.1", None, None)),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
            let headers = headers(&lines);
            let client = proxies(ForwardedHeader::Forwarded).client(address("10.0.0.1"), &headers);
            let found = (client.address, client.scheme, client.host);
            assert_eq!(found, (address(expected.0), expected.1, expected.2), "{lines:?}");
        }
    }

    #[test]
    fn only_the_header_that_the_proxies_write_counts() {
        let headers = headers(&[("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "203.0.113.7")]);
        for (header, expected) in [
            (ForwardedHeader::XForwardedFor, "203.0.113.7"),
            (ForwardedHeader::Forwarded, "1.2.3.4"),
        ] {
            let client = proxies(header).client(address("10.0.0.1"), &headers);
            assert_eq!(client.address, address(expected), "{header:?}");
        }
    }

    #[test]
    fn networks_are_checked() {
        let new = |networks: Vec<String>| TrustedProxies::new(networks, ForwardedHeader::default());
        let error = new(vec!["10.0.0.0/33".into()]).expect_err("no network");
        assert!(error.to_string().starts_with("'10.0.0.0/33' is neither"), "{error}");
        let many = |count| new(vec!["10.0.0.0/8".into(); count]);
        assert!(many(TrustedProxies::NETWORKS_MAX).is_ok());
        assert_eq!(many(TrustedProxies::NETWORKS_MAX + 1), Err(TrustedProxiesError::TooMany));
    }

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        for (one, other, same) in [
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ] {
            let keys = [one, other].map(|text| ClientKey::from(address(text)));
            assert_eq!(keys[0] == keys[1], same, "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_writes_changes_who_it_is(written in "[ -~]{0,60}") {
            for (header, name, own) in [
                (ForwardedHeader::XForwardedFor, "x-forwarded-for", "203.0.113.7"),
                (ForwardedHeader::Forwarded, "forwarded", "for=203.0.113.7;proto=http"),
            ] {
                let line = format!("{written}, {own}, {}", own.replace("203.0.113.7", "10.0.0.2"));
                let headers = headers(&[(name, &line)]);
                let client = proxies(header).client(address("10.0.0.1"), &headers);
                prop_assert_eq!(client.address, address("203.0.113.7"));
            }
        }
    }
}
