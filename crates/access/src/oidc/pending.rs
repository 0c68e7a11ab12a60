//! Logins that have begun: what must come back from the provider, in the same browser, once.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use platform::Rng;
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};

use super::url::ReturnPath;

/// Most logins under way. One more pushes out the oldest: who floods us must do so faster than people log in.
const PENDING_MAX: usize = 4_096;

/// How long a login may take at the provider.
pub(super) const PENDING_TIMEOUT: Duration = Duration::from_secs(600);

/// Random bytes in each secret: 43 characters, as PKCE wants them at least.
const SECRET_BYTES: usize = 32;

/// A login under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) state: SecretString,
    /// Comes back inside the ID token.
    pub(super) nonce: SecretString,
    /// The PKCE verifier: only who began the login can redeem its code.
    pub(super) verifier: SecretString,
    pub(super) return_to: ReturnPath,
    /// SHA-256 of the cookie of the browser that began.
    browser: Vec<u8>,
    /// When it is too late, in monotonic time.
    deadline: Duration,
}

impl Pending {
    /// Returns a new login and the cookie that binds it to its browser.
    pub(super) fn begin(
        rng: &dyn Rng,
        return_to: ReturnPath,
        now: Duration,
    ) -> (Self, SecretString) {
        let browser = random(rng);
        let pending = Self {
            state: random(rng),
            nonce: random(rng),
            verifier: random(rng),
            return_to,
            browser: hash(browser.expose_secret()),
            deadline: now.saturating_add(PENDING_TIMEOUT),
        };
        (pending, browser)
    }

    /// Returns the PKCE challenge ([RFC 7636, 4.2](https://www.rfc-editor.org/rfc/rfc7636#section-4.2), `S256`).
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(hash(self.verifier.expose_secret()))
    }
}

fn random(rng: &dyn Rng) -> SecretString {
    let mut bytes = [0; SECRET_BYTES];
    rng.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes).into()
}

fn hash(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

/// All logins under way, in memory: a restart means to begin again.
#[derive(Debug, Default)]
pub(super) struct PendingLogins {
    /// The oldest first; they all have the same time, so their deadlines are in order.
    entries: Mutex<VecDeque<Pending>>,
}

impl PendingLogins {
    pub(super) fn insert(&self, pending: Pending, now: Duration) {
        let mut entries = self.entries.lock();
        while entries.front().is_some_and(|oldest| oldest.deadline <= now)
            || entries.len() >= PENDING_MAX
        {
            entries.pop_front();
        }
        entries.push_back(pending);
    }

    /// Removes the login with this `state`, and returns it if it is in time and comes from the browser that began.
    pub(super) fn take(
        &self,
        state: &str,
        browser: Option<&str>,
        now: Duration,
    ) -> Option<Pending> {
        let pending = {
            let mut entries = self.entries.lock();
            let index = entries.iter().position(|entry| entry.state.expose_secret() == state)?;
            entries.remove(index)?
        };
        let is_same_browser = browser.is_some_and(|cookie| hash(cookie) == pending.browser);
        (is_same_browser && now < pending.deadline).then_some(pending)
    }
}

#[cfg(test)]
mod tests {
    use platform::SimRng;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn begin(logins: &PendingLogins, rng: &SimRng, now: Duration) -> (String, String) {
        let (pending, browser) = Pending::begin(rng, ReturnPath::default(), now);
        let state = pending.state.expose_secret().to_owned();
        logins.insert(pending, now);
        (state, browser.expose_secret().to_owned())
    }

    #[test]
    fn the_challenge_is_that_of_the_example_in_the_standard() {
        let (mut pending, _) = Pending::begin(&*SimRng::new(1), ReturnPath::default(), NOW);
        pending.verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into();
        assert_eq!(pending.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_login_comes_back_once_in_time_in_its_own_browser() {
        let (logins, rng) = (PendingLogins::default(), SimRng::new(1));
        let late = NOW + PENDING_TIMEOUT;
        let in_time = late - Duration::from_nanos(1);
        let (_, other_browser) = begin(&logins, &rng, NOW);
        for (browser, now, expected) in [
            (Some("own"), NOW, true),
            (Some("own"), in_time, true),
            (Some("own"), late, false),
            (Some(other_browser.as_str()), NOW, false),
            (Some(""), NOW, false),
            (None, NOW, false),
        ] {
            let (state, own) = begin(&logins, &rng, NOW);
            let sent = if browser == Some("own") { Some(own.as_str()) } else { browser };
            assert_eq!(logins.take(&state, sent, now).is_some(), expected, "{browser:?} {now:?}");
            assert!(logins.take(&state, Some(&own), NOW).is_none(), "used once, right or wrong");
        }
        assert!(logins.take("", Some(&other_browser), NOW).is_none());
    }

    #[test]
    fn the_oldest_login_gives_way_to_one_too_many_and_late_ones_are_forgotten() {
        let (logins, rng) = (PendingLogins::default(), SimRng::new(1));
        let (first, first_browser) = begin(&logins, &rng, NOW);
        let (second, second_browser) = begin(&logins, &rng, NOW);
        for _ in 2..=PENDING_MAX {
            begin(&logins, &rng, NOW);
        }
        assert_eq!(logins.entries.lock().len(), PENDING_MAX);
        assert!(logins.take(&first, Some(&first_browser), NOW).is_none());
        assert!(logins.take(&second, Some(&second_browser), NOW).is_some());
        begin(&logins, &rng, NOW + PENDING_TIMEOUT);
        assert_eq!(logins.entries.lock().len(), 1);
    }
}
