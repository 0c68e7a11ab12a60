//! Which pulls are asked for.

use model::Timestamp;
use pulls::{PodFilter, PullFilter, PullQuery, PullState};

use crate::failure::Failure;
use crate::openapi::{Description, Kind};
use crate::params::Params;
use crate::time::parse_rfc3339;

/// Pulls of a page where nothing is said.
const LIMIT: usize = 100;
/// Most pulls of a page.
const LIMIT_MAX: usize = 1_000;

/// Describes the parameters of [`of`].
pub(super) fn describe(description: Description) -> Description {
    description
        .query("cluster", Kind::Text, "Of this cluster, exactly.")
        .query("node", Kind::Text, "On this node, exactly.")
        .query("image", Kind::Text, "Of images with this in a name or the digest, in any case.")
        .query("namespace", Kind::Text, "That a pod of this namespace waits for, exactly.")
        .query("pod", Kind::Text, "That a pod with this in its name waits for, in any case.")
        .query(
            "state",
            Kind::Texts,
            "In one of these states: queued, resolving, downloading, unpacking, completed, failed, unknown; repeated \
             or with commas.",
        )
        .query("id", Kind::Text, "This pull, exactly.")
}

/// Returns which pulls are asked for.
pub(super) fn of(params: &Params) -> Result<PullFilter, Failure> {
    let states = params.all("state").flat_map(|value| value.split(','));
    let states = states.filter(|word| !word.is_empty()).map(state);
    let mut states = states.collect::<Result<Vec<_>, _>>()?;
    states.sort_unstable();
    states.dedup();
    Ok(PullFilter {
        cluster: text(params, "cluster"),
        node: text(params, "node"),
        image: text(params, "image"),
        namespace: text(params, "namespace"),
        pod: text(params, "pod"),
        states,
        id: text(params, "id"),
    })
}

/// Returns which page of pulls is asked for.
pub(super) fn page(params: &Params) -> Result<PullQuery, Failure> {
    let limit = match params.get("limit") {
        None => LIMIT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| Failure::parameter("limit", "say a number from 1 to 1000"))?,
    };
    let cursor = params.get("cursor").map(str::parse).transpose();
    Ok(PullQuery {
        filter: of(params)?,
        since: time(params, "since")?,
        until: time(params, "until")?,
        limit,
        cursor: cursor.map_err(|error| Failure::parameter("cursor", error))?,
    })
}

/// Returns which pods are asked for.
pub(super) fn pods(params: &Params) -> PodFilter {
    PodFilter {
        cluster: text(params, "cluster"),
        node: text(params, "node"),
        namespace: text(params, "namespace"),
        pod: text(params, "pod"),
        image: text(params, "image"),
    }
}

/// Returns whether something is asked for that is not by default.
pub(super) fn flag(params: &Params, name: &str) -> Result<bool, Failure> {
    match params.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Failure::parameter(name, "say true or false")),
    }
}

fn text(params: &Params, name: &str) -> Option<String> {
    params.get(name).map(str::to_owned)
}

fn time(params: &Params, name: &str) -> Result<Option<Timestamp>, Failure> {
    let read = |text| {
        let invalid = || Failure::parameter(name, "say a time as RFC 3339 has them");
        parse_rfc3339(text).ok_or_else(invalid)
    };
    params.get(name).map(read).transpose()
}

fn state(word: &str) -> Result<PullState, Failure> {
    word.parse().map_err(|_| {
        let words: Vec<_> = PullState::ALL.iter().map(|state| state.as_str()).collect();
        Failure::parameter("state", format_args!("say one of {}", words.join(", ")))
    })
}
