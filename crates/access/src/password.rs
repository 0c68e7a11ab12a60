//! Passwords of local users: argon2id, never more of it at once than memory allows.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::PasswordVerifier as _;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, Version};
use platform::Rng;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Fewest characters of a new password that any configuration may ask for.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// Most characters of a password.
pub const PASSWORD_CHARS_MAX: usize = 256;

/// Requests that may wait for each one that is at work; further ones are refused.
const WAITING_PER_WORKER: usize = 16;

/// Bytes of random salt in each hash.
const SALT_BYTES: usize = 16;

/// The cost of one hash: 19 MiB, two passes, one lane.
///
/// The recommended minimum of the [OWASP password storage cheat sheet][owasp] for argon2id.
///
/// [owasp]: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
const COST: Params = match Params::new(19 * 1024, 2, 1, None) {
    Ok(cost) => cost,
    Err(_) => panic!("the cost is within the bounds of argon2"),
};

/// The highest cost that a stored hash may ask for: one that was tampered with does not take all memory.
const STORED_MEMORY_KIB_MAX: u32 = 256 * 1024;
const STORED_PASSES_MAX: u32 = 16;
const STORED_LANES_MAX: u32 = 16;

/// Why a password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// A new password is too short.
    #[error("the password must have at least {min} characters")]
    TooShort {
        /// The fewest characters.
        min: usize,
    },
    /// A new password is too long.
    #[error("the password must have at most {max} characters", max = PASSWORD_CHARS_MAX)]
    TooLong,
    /// Too many passwords are being checked; the request may be sent again.
    #[error("too many passwords are being checked, try again in a second")]
    Busy,
    /// The stored hash is none of ours.
    #[error("the stored password hash cannot be used, set a new password: {reason}")]
    StoredHash {
        /// What is wrong with it.
        reason: String,
    },
    /// The work did not come to its end.
    #[error("the password was not hashed: {reason}")]
    Interrupted {
        /// What happened.
        reason: String,
    },
}

impl PasswordError {
    /// Returns whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy)
    }
}

/// What checking a password found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// It is not the password, or there is no such user.
    Wrong,
    /// It is the password.
    Right,
    /// It is the password, but its hash has another cost than hashes have today: hash it again and store that.
    RightButOutdated,
}

/// Hashes and checks passwords on blocking threads.
///
/// A hash is a PHC string such as `$argon2id$v=19$m=19456,t=2,p=1$…$…`. Each hash or check takes 19 MiB and some tens
/// of milliseconds, so only a few are at work at the same time, a few more wait, and the rest is refused.
pub struct PasswordHasher {
    rng: Arc<dyn Rng>,
    /// One permit per request at work or waiting.
    entrance: Arc<Semaphore>,
    /// One permit per request at work.
    workers: Arc<Semaphore>,
    chars_min: usize,
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHasher").field("chars_min", &self.chars_min).finish_non_exhaustive()
    }
}

impl PasswordHasher {
    /// Returns a hasher that does at most `concurrent_max` (at least one) hashes at the same time, for passwords of
    /// at least [`PASSWORD_CHARS_MIN`] characters.
    #[must_use]
    pub fn new(rng: Arc<dyn Rng>, concurrent_max: usize) -> Self {
        let concurrent_max = concurrent_max.max(1);
        Self {
            rng,
            entrance: Arc::new(Semaphore::new(concurrent_max * (1 + WAITING_PER_WORKER))),
            workers: Arc::new(Semaphore::new(concurrent_max)),
            chars_min: PASSWORD_CHARS_MIN,
        }
    }

    /// Returns this hasher for new passwords of at least `chars_min` characters, a number between
    /// [`PASSWORD_CHARS_MIN`] and [`PASSWORD_CHARS_MAX`]; what lies outside is moved to the nearest of both.
    #[must_use]
    pub fn with_chars_min(mut self, chars_min: usize) -> Self {
        self.chars_min = chars_min.clamp(PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX);
        self
    }

    /// Hashes a new password.
    ///
    /// Dropping the future leaves the work to end on its own; it keeps its place until then.
    ///
    /// # Errors
    ///
    /// The length is not allowed, or too many others wait.
    pub async fn hash(&self, password: &SecretString) -> Result<String, PasswordError> {
        let chars = password.expose_secret().chars().count();
        if chars < self.chars_min {
            return Err(PasswordError::TooShort { min: self.chars_min });
        }
        if chars > PASSWORD_CHARS_MAX {
            return Err(PasswordError::TooLong);
        }
        let mut salt = [0; SALT_BYTES];
        self.rng.fill(&mut salt);
        let password = password.clone();
        self.work(move || hash(&password, &salt)).await?
    }

    /// Checks a password against the stored hash of a user, or for `None`, when there is no such user, takes the
    /// same time to say that it is wrong.
    ///
    /// The bytes must be equal: texts that only look the same are different passwords.
    ///
    /// # Errors
    ///
    /// The stored hash is damaged, or too many others wait.
    pub async fn verify(
        &self,
        password: &SecretString,
        stored: Option<&str>,
    ) -> Result<PasswordCheck, PasswordError> {
        if password.expose_secret().chars().count() > PASSWORD_CHARS_MAX {
            return Ok(PasswordCheck::Wrong);
        }
        let password = password.clone();
        let stored = stored.map(str::to_owned);
        self.work(move || match stored {
            Some(stored) => verify(&password, &stored),
            None => hash(&password, &[0; SALT_BYTES]).map(|_| PasswordCheck::Wrong),
        })
        .await?
    }

    async fn work<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let closed = |_| PasswordError::Busy;
        let place = Arc::clone(&self.entrance).try_acquire_owned().map_err(closed)?;
        let worker =
            Arc::clone(&self.workers).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let permits: [OwnedSemaphorePermit; 2] = [place, worker];
        // The permits go with the work: it cannot be stopped when the caller goes away.
        let done = tokio::task::spawn_blocking(move || {
            let result = task();
            drop(permits);
            result
        });
        done.await.map_err(|error| PasswordError::Interrupted { reason: error.to_string() })
    }
}

fn hash(password: &SecretString, salt: &[u8]) -> Result<String, PasswordError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, COST);
    let hash = argon2
        .hash_password_with_salt(password.expose_secret().as_bytes(), salt)
        .map_err(|error| PasswordError::Interrupted { reason: error.to_string() })?;
    Ok(hash.to_string())
}

fn verify(password: &SecretString, stored: &str) -> Result<PasswordCheck, PasswordError> {
    let unusable = |reason: String| PasswordError::StoredHash { reason };
    let hash = PasswordHash::new(stored).map_err(|error| unusable(error.to_string()))?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(unusable("it is cut off".to_owned()));
    }
    let cost = Params::try_from(&hash).map_err(|error| unusable(error.to_string()))?;
    let too_expensive = cost.m_cost() > STORED_MEMORY_KIB_MAX
        || cost.t_cost() > STORED_PASSES_MAX
        || cost.p_cost() > STORED_LANES_MAX;
    if too_expensive {
        return Err(unusable("its cost is higher than any that is used here".to_owned()));
    }
    match Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash) {
        Ok(()) if is_current(&hash, &cost) => Ok(PasswordCheck::Right),
        Ok(()) => Ok(PasswordCheck::RightButOutdated),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(PasswordCheck::Wrong),
        Err(error) => Err(unusable(error.to_string())),
    }
}

fn is_current(hash: &PasswordHash, cost: &Params) -> bool {
    let parts = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
    hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into())
        && parts(cost) == parts(&COST)
}

#[cfg(test)]
mod tests {
    use platform::SimRng;

    use super::*;

    fn hasher() -> PasswordHasher {
        PasswordHasher::new(SimRng::new(1), 2)
    }

    fn secret(text: impl Into<String>) -> SecretString {
        text.into().into()
    }

    /// Returns a valid hash of `password` at a cost of ours to choose.
    fn hash_at(memory_kib: u32, algorithm: Algorithm, version: Version, password: &str) -> String {
        let params = Params::new(memory_kib, 1, 1, None).expect("valid parameters");
        Argon2::new(algorithm, version, params)
            .hash_password_with_salt(password.as_bytes(), b"salt of a test")
            .expect("a hash")
            .to_string()
    }

    #[tokio::test]
    async fn a_password_is_right_against_its_own_hash_only() {
        let hasher = hasher();
        let hash = hasher.hash(&secret("correct horse")).await.expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let other = hasher.hash(&secret("correct horse")).await.expect("a hash");
        assert_ne!(hash, other, "each hash has a salt of its own");
        for (password, expected) in [
            ("correct horse", PasswordCheck::Right),
            ("correct horsf", PasswordCheck::Wrong),
            ("correct horse ", PasswordCheck::Wrong),
            ("", PasswordCheck::Wrong),
        ] {
            let found = hasher.verify(&secret(password), Some(&hash)).await.expect("an answer");
            assert_eq!(found, expected, "{password:?}");
        }
        let unknown = hasher.verify(&secret("correct horse"), None).await.expect("an answer");
        assert_eq!(unknown, PasswordCheck::Wrong);
    }

    #[tokio::test]
    async fn the_length_of_a_new_password_is_bounded_in_characters() {
        let table = [
            (8, "p".repeat(7), false),
            (8, "p".repeat(8), true),
            (8, "ü".repeat(256), true),
            (8, "p".repeat(257), false),
            (12, "p".repeat(11), false),
            (12, "p".repeat(12), true),
            (0, "p".repeat(7), false),
        ];
        for (chars_min, password, allowed) in table {
            let hasher = hasher().with_chars_min(chars_min);
            let result = hasher.hash(&secret(password.clone())).await;
            assert_eq!(result.is_ok(), allowed, "{chars_min} {} {result:?}", password.len());
        }
        let long = secret("p".repeat(257));
        let found = hasher().verify(&long, Some("not even looked at")).await.expect("an answer");
        assert_eq!(found, PasswordCheck::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_right_but_outdated() {
        for stored in [
            hash_at(8 * 1024, Algorithm::Argon2id, Version::V0x13, "secret"),
            hash_at(19 * 1024, Algorithm::Argon2i, Version::V0x13, "secret"),
            hash_at(19 * 1024, Algorithm::Argon2id, Version::V0x10, "secret"),
        ] {
            let right = hasher().verify(&secret("secret"), Some(&stored)).await;
            assert_eq!(right.expect("an answer"), PasswordCheck::RightButOutdated, "{stored}");
            let wrong = hasher().verify(&secret("Secret"), Some(&stored)).await;
            assert_eq!(wrong.expect("an answer"), PasswordCheck::Wrong, "{stored}");
        }
    }

    #[tokio::test]
    async fn a_stored_hash_that_is_damaged_or_too_expensive_is_an_error() {
        for stored in [
            "",
            "secret",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdCBvZiBhIHRlc3Q",
            "$argon2id$v=19$m=262145,t=2,p=1$c2FsdCBvZiBhIHRlc3Q$c2FsdCBvZiBhIHRlc3Q",
            "$argon2id$v=19$m=19456,t=17,p=1$c2FsdCBvZiBhIHRlc3Q$c2FsdCBvZiBhIHRlc3Q",
            "$argon2id$v=19$m=19456,t=2,p=17$c2FsdCBvZiBhIHRlc3Q$c2FsdCBvZiBhIHRlc3Q",
            "$scrypt$ln=17,r=8,p=1$c2FsdCBvZiBhIHRlc3Q$c2FsdCBvZiBhIHRlc3Q",
        ] {
            let found = hasher().verify(&secret("secret"), Some(stored)).await;
            assert!(matches!(found, Err(PasswordError::StoredHash { .. })), "{stored}: {found:?}");
        }
    }

    #[tokio::test]
    async fn requests_beyond_the_waiting_ones_are_refused() {
        let hasher = PasswordHasher::new(SimRng::new(1), 1);
        let everybody = Arc::clone(&hasher.entrance)
            .try_acquire_many_owned(1 + WAITING_PER_WORKER as u32)
            .expect("nobody is there yet");
        let refused = hasher.verify(&secret("secret"), None).await.expect_err("no place is left");
        assert!(refused.is_retryable(), "{refused}");
        drop(everybody);
        hasher.verify(&secret("secret"), None).await.expect("there is a place again");
        assert_eq!(hasher.entrance.available_permits(), 1 + WAITING_PER_WORKER);
    }

    #[tokio::test]
    async fn an_abandoned_check_keeps_its_place_until_it_ends() {
        let hasher = PasswordHasher::new(SimRng::new(1), 1);
        let (release, released) = std::sync::mpsc::channel::<()>();
        {
            let work = hasher.work(move || released.recv());
            tokio::pin!(work);
            tokio::select! {
                biased;
                _ = &mut work => panic!("the work waits"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(hasher.workers.available_permits(), 0);
        release.send(()).expect("the work still waits");
        hasher.work(|| ()).await.expect("a place becomes free");
    }
}
