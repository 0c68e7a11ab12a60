//! The audit log: who did what, when, and whether they were let.

use std::fmt;

use model::TenantId;
use platform::Timestamp;
use state::{Row, StateError, Statement, Value};

use crate::records::Actor;

/// Most entries on a page.
pub const AUDIT_PAGE_MAX: usize = 1_000;

/// Longest target and detail of an entry, in bytes; what is longer is cut.
const TEXT_BYTES_MAX: usize = 4_096;

/// What became of what somebody tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// They were not let.
    Refused,
}

impl Outcome {
    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An entry of the audit log. It is never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its identifier; they go up.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// Whose business it was.
    pub tenant: String,
    /// Who, as [`crate::Principal`] is displayed.
    pub actor: String,
    /// What people call them.
    pub actor_name: String,
    /// What they did, as `key.create`.
    pub action: String,
    /// To what: an identifier or a name.
    pub target: String,
    /// What became of it.
    pub outcome: Outcome,
    /// More, as JSON.
    pub detail: String,
    /// From where.
    pub address: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
}

/// An entry to be made.
#[derive(Clone, Debug)]
pub struct NewAuditEntry {
    /// Whose business it is.
    pub tenant: TenantId,
    /// What was done, as `key.create`: lower-case words and dots.
    pub action: &'static str,
    /// To what.
    pub target: String,
    /// What became of it.
    pub outcome: Outcome,
    /// More, a JSON object. It must hold no secrets.
    pub detail: serde_json::Value,
}

/// Which entries are asked for. The latest come first.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Of this tenant; `None` for all.
    pub tenant: Option<TenantId>,
    /// By this actor, exactly as it is displayed.
    pub actor: Option<String>,
    /// Of this action, exactly.
    pub action: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Those after this identifier in the order of the answer: [`AuditPage::next`] of the page before.
    pub cursor: Option<String>,
    /// How many at most, up to [`AUDIT_PAGE_MAX`]; zero is as many.
    pub entries_max: usize,
}

/// A page of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries, the latest first.
    pub entries: Vec<AuditEntry>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

pub(crate) fn insert(id: String, at: Timestamp, actor: &Actor, entry: NewAuditEntry) -> Statement {
    Statement::new(
        "INSERT INTO audit (id, at, tenant, actor, actor_name, action, target, outcome, detail, address, request_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        [
            id.into(),
            at.as_millis().into(),
            entry.tenant.as_str().into(),
            clean(actor.principal.to_string()).into(),
            clean(actor.principal.name.to_string()).into(),
            entry.action.into(),
            clean(entry.target).into(),
            entry.outcome.as_str().into(),
            clean(entry.detail.to_string()).into(),
            actor.address.map(|address| address.to_string()).into(),
            actor.request_id.as_ref().map(|id| clean(id.to_string())).into(),
        ],
    )
    .affecting(1)
}

/// Returns a text that PostgreSQL takes, and of a length that we take.
fn clean(mut text: String) -> String {
    if text.contains('\0') {
        text = text.replace('\0', "\u{FFFD}");
    }
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

/// Empty texts stand for "any": a null would have no type on PostgreSQL.
pub(crate) const SELECT: &str = "SELECT id, at, tenant, actor, actor_name, action, target, outcome, detail, address, request_id \
     FROM audit WHERE ($1 = '' OR tenant = $1) AND ($2 = '' OR actor = $2) AND ($3 = '' OR action = $3) \
     AND at >= $4 AND at < $5 AND ($6 = '' OR id < $6) ORDER BY id DESC LIMIT $7";

pub(crate) const DELETE_OLD: &str = "DELETE FROM audit WHERE at < $1";

/// Returns the values of [`SELECT`], which asks for one more than `entries_max`: it tells whether there is a next page.
pub(crate) fn select_values(query: &AuditQuery, entries_max: usize) -> Vec<Value> {
    let any = |text: Option<&str>| Value::from(clean(text.unwrap_or_default().to_owned()));
    vec![
        any(query.tenant.as_ref().map(TenantId::as_str)),
        any(query.actor.as_deref()),
        any(query.action.as_deref()),
        query.from.unwrap_or(Timestamp::MIN).as_millis().into(),
        query.until.unwrap_or(Timestamp::MAX).as_millis().into(),
        any(query.cursor.as_deref()),
        i64::try_from(entries_max).unwrap_or(i64::MAX - 1).saturating_add(1).into(),
    ]
}

pub(crate) fn entry(row: &Row) -> Result<AuditEntry, StateError> {
    let text = |column| row.text(column).map(str::to_owned);
    let optional = |column| row.optional_text(column).map(|text| text.map(str::to_owned));
    Ok(AuditEntry {
        id: text(0)?,
        at: Timestamp::from_millis(row.integer(1)?),
        tenant: text(2)?,
        actor: text(3)?,
        actor_name: text(4)?,
        action: text(5)?,
        target: text(6)?,
        outcome: if row.text(7)? == Outcome::Done.as_str() {
            Outcome::Done
        } else {
            Outcome::Refused
        },
        detail: text(8)?,
        address: optional(9)?,
        request_id: optional(10)?,
    })
}
