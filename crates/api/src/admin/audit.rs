//! The audit log.

use access::{AUDIT_PAGE_MAX, Actor, AuditEntry, AuditQuery};
use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{MANAGE, about, object, private, read_time, time};
use crate::body::json_of;
use crate::caller::Caller;
use crate::endpoint::{Endpoint, Verb};
use crate::failure::{Failure, NativeFailure};
use crate::openapi::Kind;
use crate::params::Params;

/// Entries where nothing is said.
const ENTRIES: usize = 100;

/// What somebody did, or tried.
#[derive(Serialize, ToSchema)]
struct Entry {
    id: String,
    at: String,
    tenant: String,
    /// Such as `user 0195…`.
    actor: String,
    /// What people call them.
    actor_name: String,
    /// Such as `key.create`.
    action: String,
    /// To what.
    target: String,
    /// `done` or `refused`.
    outcome: &'static str,
    address: Option<String>,
    request_id: Option<String>,
    /// More.
    #[schema(value_type = Object)]
    detail: Value,
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
struct Entries {
    /// The latest first.
    entries: Vec<Entry>,
    /// The cursor of the next page; `null` at the end.
    next: Option<String>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(Verb::Get, "/v1/audit", MANAGE, list).describe(
            about("List what was done in the tenant, and what was refused")
                .query("since", Kind::Text, "Not before this time, RFC 3339.")
                .query("until", Kind::Text, "Before this time, RFC 3339.")
                .query("actor", Kind::Text, "By whom, exactly, such as `user 0195…`.")
                .query("action", Kind::Text, "What, exactly, such as `key.create`.")
                .query("limit", Kind::Integer, "Entries of this page, 1 to 1000; 100 by default.")
                .query("cursor", Kind::Text, "`next` of the page before.")
                .answers::<Entries>("The entries."),
        ),
    ]
}

async fn list(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let params = Params::of(&caller.app, request).await?;
    let time_of = |name: &str| params.get(name).map(|text| read_time(name, text)).transpose();
    let limit = match params.get("limit") {
        None => ENTRIES,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=AUDIT_PAGE_MAX).contains(limit))
            .ok_or_else(|| Failure::parameter("limit", "say a number from 1 to 1000"))?,
    };
    let query = AuditQuery {
        tenant: Some(caller.tenant.id.clone()),
        actor: params.get("actor").map(str::to_owned),
        action: params.get("action").map(str::to_owned),
        from: time_of("since")?,
        until: time_of("until")?,
        cursor: params.get("cursor").map(str::to_owned),
        entries_max: limit,
    };
    let page = caller.app.access.audit(&actor, &query).await?;
    let entries = page.entries.into_iter().map(Entry::of).collect();
    Ok(private(json_of(StatusCode::OK, &Entries { entries, next: page.next })))
}

impl Entry {
    fn of(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: time(entry.at),
            tenant: entry.tenant,
            actor: entry.actor,
            actor_name: entry.actor_name,
            action: entry.action,
            target: entry.target,
            outcome: entry.outcome.as_str(),
            address: entry.address,
            request_id: entry.request_id,
            detail: object(&entry.detail),
        }
    }
}
