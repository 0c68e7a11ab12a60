//! Looks at containerd: one pass over ingests and leases, then whatever the tracker asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use platform::Timestamp;

use super::document::{DOCUMENT_BYTES_MAX, Document};
use super::observation::{Answers, Blob, ImageRecord, Ingest, Lease, Observation, Question};
use super::tracker::Tracker;
use crate::containerd::{Containerd, ContainerdError, proto, timestamp};

/// How often it is asked again what follows from the answers: lease, index, manifest, configuration, snapshots.
const ROUNDS_MAX: usize = 8;
/// How many questions are asked in a round; the others wait for the next look.
const QUESTIONS_MAX: usize = 2_048;
/// How many leases are looked at; the youngest.
const LEASES_MAX: usize = 256;
/// How many ingests are looked at.
const INGESTS_MAX: usize = 8_192;
/// How much of a lease is looked at.
const RESOURCES_MAX: usize = 8_192;

/// Looks, and fills in what an observation does not have yet.
pub(super) async fn look(
    containerd: &Containerd,
    tracker: &Tracker,
    seen: &mut Observation,
) -> Result<(), ContainerdError> {
    // The ingests first: what is committed meanwhile is then found among the blobs.
    let mut ingests = containerd.statuses().await?;
    ingests.truncate(INGESTS_MAX);
    seen.ingests = ingests.into_iter().map(ingest).collect();
    seen.leases = leases(containerd).await?;
    for _round in 0..ROUNDS_MAX {
        let questions = tracker.questions(seen);
        if questions.is_empty() {
            break;
        }
        for question in questions.into_iter().take(QUESTIONS_MAX) {
            ask(containerd, question, &mut seen.answers).await?;
        }
    }
    Ok(())
}

async fn leases(containerd: &Containerd) -> Result<Vec<Lease>, ContainerdError> {
    let mut listed = containerd.leases().await?;
    listed.sort_by_key(|lease| std::cmp::Reverse(timestamp(lease.created_at.as_ref())));
    let mut leases = Vec::new();
    for lease in listed.into_iter().take(LEASES_MAX) {
        // It may have ended since.
        let Some(resources) = containerd.resources(&lease.id).await? else { continue };
        leases.push(with_resources(lease, resources));
    }
    Ok(leases)
}

fn with_resources(lease: proto::leases::Lease, resources: Vec<proto::leases::Resource>) -> Lease {
    let created_at = timestamp(lease.created_at.as_ref()).unwrap_or_default();
    let mut with = Lease { id: lease.id, created_at, ..Lease::default() };
    for resource in resources.into_iter().take(RESOURCES_MAX) {
        match resource.r#type.as_str() {
            "content" => with.contents.push(resource.id),
            "ingests" => with.ingests.push(resource.id),
            other => {
                if let Some(snapshotter) = other.strip_prefix("snapshots/") {
                    with.snapshots.push((snapshotter.to_owned(), resource.id));
                }
            }
        }
    }
    with
}

async fn ask(
    containerd: &Containerd,
    question: Question,
    answers: &mut Answers,
) -> Result<(), ContainerdError> {
    match question {
        Question::Blob(digest) => {
            let info = containerd.info(&digest).await?;
            answers.blobs.insert(digest, info.map(blob));
        }
        Question::Document(digest) => {
            let bytes = containerd.read(&digest, DOCUMENT_BYTES_MAX).await?;
            let document = bytes.map(|bytes| Arc::new(Document::parse(&bytes)));
            answers.documents.insert(digest, document);
        }
        Question::Snapshot { snapshotter, key } => {
            let info = match containerd.snapshot(&snapshotter, &key).await {
                // It may be one that this containerd does not have.
                Err(ContainerdError::Refused { .. }) => None,
                answer => answer?,
            };
            let made = info.and_then(|info| timestamp(info.created_at.as_ref()));
            answers.snapshots.insert((snapshotter, key), made);
        }
        Question::NamesOf(digest) => {
            let filters = vec![format!("target.digest=={}", quoted(&digest))];
            let names = match containerd.images(filters).await {
                Err(error) if error.is_missing() => None,
                answer => Some(answer?.into_iter().filter_map(record).collect()),
            };
            answers.names_of.insert(digest, names);
        }
        Question::Name(name) => {
            let filters = vec![format!("name=={}", quoted(&name))];
            let found = match containerd.images(filters).await {
                Err(error) if error.is_missing() => None,
                answer => answer?.into_iter().filter_map(record).find(|record| record.name == name),
            };
            answers.names.insert(name, found);
        }
    }
    Ok(())
}

/// Returns a value as containerd's filters want it.
pub(super) fn quoted(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

fn ingest(status: proto::content::Status) -> Ingest {
    Ingest {
        offset: status.offset,
        total: status.total,
        started_at: timestamp(status.started_at.as_ref()),
        updated_at: timestamp(status.updated_at.as_ref()),
        reference: status.r#ref,
    }
}

fn blob(info: proto::content::Info) -> Blob {
    let created_at = timestamp(info.created_at.as_ref()).unwrap_or_default();
    Blob {
        created_at,
        updated_at: timestamp(info.updated_at.as_ref()).unwrap_or(created_at),
        labels: info.labels.into_iter().collect::<BTreeMap<_, _>>(),
    }
}

fn record(image: proto::images::Image) -> Option<ImageRecord> {
    let made = |time| timestamp(time).unwrap_or(Timestamp::MIN);
    Some(ImageRecord {
        name: image.name,
        digest: image.target?.digest,
        updated_at: made(image.updated_at.as_ref()).max(made(image.created_at.as_ref())),
    })
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn values_cannot_leave_their_quotes() {
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
    }
}
