//! What this crate has to know of an event's bytes.

use events::Lane;
use model::TenantId;
use schema::Limits;

/// Longest subject, in bytes. A server closes the connection on a line of more than four kilobytes, and an application
/// may give its own events names of any length.
const SUBJECT_BYTES_MAX: usize = 512;

/// What a valid envelope says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    event: schema::Event<'a>,
}

impl<'a> Facts<'a> {
    /// Reads an envelope.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn read(envelope: &'a [u8]) -> Result<Self, String> {
        let event = schema::inspect(envelope, &Limits::NONE).map_err(|error| error.to_string())?;
        Ok(Self { event })
    }

    pub(crate) fn id(&self) -> &'a str {
        self.event.id
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.event.fingerprint
    }

    /// Returns what it is published to.
    pub(crate) fn subject(&self) -> String {
        let event = &self.event;
        let mut subject = schema::subject(event.app_id, event.category(), event.event_type);
        let mut end = subject.len().min(SUBJECT_BYTES_MAX);
        while !subject.is_char_boundary(end) {
            end -= 1;
        }
        subject.truncate(end);
        subject
    }

    /// Returns what it keeps its order with where no gateway of ours has said so.
    pub(crate) fn lane(&self, tenant: &TenantId) -> Lane {
        Lane::of(tenant, self.event.app_id, self.event.device_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::envelope;

    #[test]
    fn a_subject_is_never_longer_than_a_line_may_be() {
        let custom = |name: &str| {
            let payload = [&[0x0a], length(name.len()).as_slice(), name.as_bytes()].concat();
            let mut event = envelope("id", "shop", "d", None);
            event.extend([&[0xa2, 0x38], length(payload.len()).as_slice(), &payload].concat());
            Facts::read(&event).expect("an event").subject()
        };
        assert_eq!(custom("Sign Up.2"), "events.shop.custom.sign_up_2");
        let long = custom(&"\u{e9}".repeat(4_000));
        assert!(long.len() <= SUBJECT_BYTES_MAX && long.starts_with("events.shop.custom.\u{e9}"));
    }

    #[test]
    fn devices_apps_and_tenants_have_lanes_of_their_own() {
        let lane = |tenant: &str, app: &str, device: &str| {
            let tenant = TenantId::new(tenant).expect("a tenant");
            let event = envelope("id", app, device, Some(1));
            Facts::read(&event).expect("an event").lane(&tenant)
        };
        assert_eq!(lane("t", "a", "d"), lane("t", "a", "d"));
        let lanes =
            [lane("t", "a", "d"), lane("ta", "d", "x"), lane("t", "ad", "x"), lane("t", "a", "e")];
        for (index, one) in lanes.iter().enumerate() {
            assert!(!lanes[..index].contains(one));
        }
    }

    /// A length as protobuf writes it.
    fn length(length: usize) -> Vec<u8> {
        let byte =
            |shift: usize, more: u8| u8::try_from(length >> shift & 0x7f).expect("7 bits") | more;
        if length < 0x80 { vec![byte(0, 0)] } else { vec![byte(0, 0x80), byte(7, 0)] }
    }
}
