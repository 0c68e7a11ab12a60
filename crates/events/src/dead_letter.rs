//! What could not be processed.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{TenantId, Timestamp};

use crate::{LogError, Offset};

/// Identifies a dead letter; ascending in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(pub u64);

/// What is given up on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// Whose it is.
    pub tenant: TenantId,
    /// Who gave up: a consumer, or `gateway`.
    pub consumer: String,
    /// What it would be published to, as in `events.shop.screen.view`.
    pub subject: String,
    /// What came with it.
    pub headers: BTreeMap<String, String>,
    /// Where it is in the log, if it is there.
    pub offset: Option<Offset>,
    /// All of it: a binary `causality.v1.EventEnvelope`, unless that is what is wrong with it.
    pub bytes: Bytes,
    /// Why it was given up.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// What was given up on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Identifies it.
    pub id: DeadLetterId,
    /// When it was given up.
    pub at: Timestamp,
    /// Whether it waits or is on its way back.
    pub state: DeadLetterState,
    /// What it is.
    pub letter: NewDeadLetter,
}

/// What happens to a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterState {
    /// Somebody has to decide.
    Waiting,
    /// The consumer that gave it up will get it again.
    Replaying,
}

/// Which dead letters to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Of which consumer; `None` for all.
    pub consumer: Option<String>,
    /// Only older ones than this.
    pub before: Option<DeadLetterId>,
    /// Most that are returned.
    pub limit: usize,
}

/// Some dead letters, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// The newest first.
    pub letters: Vec<DeadLetter>,
    /// Whether there are older ones.
    pub more: bool,
}

/// How many dead letters there are, of one tenant and one consumer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetterDepth {
    /// Whose.
    pub tenant: TenantId,
    /// Who gave them up.
    pub consumer: String,
    /// How many.
    pub count: u64,
}

/// Keeps what could not be processed until somebody decides, or until it is too old.
pub trait DeadLetters: Send + Sync + fmt::Debug {
    /// Keeps one, durably.
    ///
    /// # Errors
    ///
    /// [`LogError`]; it is not kept then.
    fn put(&self, letter: NewDeadLetter) -> BoxFuture<'_, Result<DeadLetterId, LogError>>;

    /// Lists some.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn list(&self, query: DeadLetterQuery) -> BoxFuture<'_, Result<DeadLetterPage, LogError>>;

    /// Returns one of a tenant.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn get(
        &self,
        tenant: TenantId,
        id: DeadLetterId,
    ) -> BoxFuture<'_, Result<Option<DeadLetter>, LogError>>;

    /// Removes one of a tenant, durably; returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn discard(&self, tenant: TenantId, id: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>>;

    /// Hands one of a tenant back to the consumer that gave it up, durably; returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn replay(&self, tenant: TenantId, id: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>>;

    /// Returns what is to be processed again by a consumer, the oldest first. What was processed is
    /// [discarded](DeadLetters::discard) by the consumer, what failed again goes [back](DeadLetters::give_back).
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn replaying(
        &self,
        consumer: &str,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DeadLetter>, LogError>>;

    /// Lets one wait for a decision again, with one more attempt and a new reason.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn give_back(&self, id: DeadLetterId, error: String) -> BoxFuture<'_, Result<(), LogError>>;

    /// Returns how many there are, from memory, ascending.
    fn depths(&self) -> Vec<DeadLetterDepth>;
}
