//! How many connections an address may have.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

use super::stats::{Event, ServeStats};

/// Counts the connections of each address. As many addresses as there are connections.
#[derive(Debug)]
pub(super) struct Places {
    per_address_max: usize,
    stats: Arc<ServeStats>,
    /// Never held across an await.
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection, given back once it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    client: IpAddr,
}

impl Places {
    pub(super) fn new(per_address_max: usize, stats: Arc<ServeStats>) -> Arc<Self> {
        Arc::new(Self { per_address_max, stats, taken: Mutex::default() })
    }

    /// Takes a place for a connection from `address`, unless it has too many.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Place>> {
        self.stats.accepted();
        let client = client(address);
        let mut taken = self.taken.lock();
        let count = taken.entry(client).or_default();
        // An entry at its limit is not new, unless the limit is zero: then nobody gets in anyway.
        if *count >= self.per_address_max {
            self.stats.record(Event::RefusedAddress);
            return None;
        }
        *count += 1;
        self.stats.opened();
        Some(Arc::new(Place { places: Arc::clone(self), client }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.stats.closed();
        let mut taken = self.places.taken.lock();
        if let Some(count) = taken.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.client);
            }
        }
    }
}

/// Returns what stands for one client: an IPv4 address, or the /64 network of IPv6 that one customer usually has.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(per_address_max: usize) -> Arc<Places> {
        Places::new(per_address_max, Arc::default())
    }

    #[test]
    fn an_address_has_as_many_places_as_allowed_and_gets_them_back() {
        let places = places(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().expect("address"));
        let first = places.take(one).expect("a place");
        let _second = places.take(one).expect("a place");
        assert!(places.take(one).is_none());
        assert!(places.take(other).is_some());
        drop(first);
        assert!(places.take(one).is_some());
        let counts = places.stats.counts();
        assert_eq!((counts.connections_accepted, counts.connections_refused_address), (5, 1));
        assert_eq!(counts.connections_open, 1);
        assert_eq!(places.taken.lock().len(), 1, "nothing is remembered of who is gone");
    }

    #[test]
    fn one_client_is_an_ipv4_address_or_an_ipv6_network() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("::1", "::2", false),
        ] {
            let [left, right] = [one, other].map(|text| client(text.parse().expect("address")));
            assert_eq!(left == right, same, "{one} {other}");
        }
    }
}
