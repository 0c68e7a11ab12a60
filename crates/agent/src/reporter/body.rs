//! The body of a report, no longer than a server reads.

use report::{
    LAYERS_PER_PULL_MAX, LAYERS_PER_REPORT_MAX, LayerReport, PULLS_PER_REPORT_MAX, PullPhase,
    PullReport, Report,
};

/// The most that Pulltrace's server reads of a report, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// The least that a server is taken to read, in bytes.
pub(crate) const BODY_BYTES_MIN: usize = 64 << 10;

/// Returns the JSON of the report and the ended pulls that are in it, by their identifiers.
///
/// What is too long says less: first the layers of pulls are taken together, those of the most layers first, which leaves
/// all sums as they are; then pulls are left out, first those that ended, which can wait, from the last one on.
pub(super) fn write(mut report: Report, bytes_max: usize) -> (Vec<u8>, Vec<String>) {
    drop_ended(&mut report.pulls, PULLS_PER_REPORT_MAX);
    for pull in report.pulls.iter_mut().filter(|pull| pull.layers.len() > LAYERS_PER_PULL_MAX) {
        fold(pull);
    }
    let mut json = report.to_json();
    while json.len() > bytes_max || layers(&report) > LAYERS_PER_REPORT_MAX {
        let largest = report.pulls.iter_mut().max_by_key(|pull| pull.layers.len());
        match largest {
            Some(pull) if pull.layers.len() > 1 => fold_half(&mut report),
            Some(_) => {
                let fewer = report.pulls.len() / 2;
                drop_ended(&mut report.pulls, fewer);
            }
            None => break,
        }
        json = report.to_json();
    }
    let ended = report.pulls.into_iter().filter(has_ended).map(|pull| pull.id).collect();
    (json, ended)
}

fn has_ended(pull: &PullReport) -> bool {
    matches!(pull.phase, Some(PullPhase::Completed | PullPhase::Failed)) && !pull.id.is_empty()
}

fn layers(report: &Report) -> usize {
    report.pulls.iter().map(|pull| pull.layers.len()).sum()
}

/// Leaves `count` pulls, those that run before those that ended, in their order.
fn drop_ended(pulls: &mut Vec<PullReport>, count: usize) {
    let running = pulls.iter().filter(|pull| !has_ended(pull)).count();
    let mut left = (count.min(running), count.saturating_sub(running));
    pulls.retain(|pull| {
        let left = if has_ended(pull) { &mut left.1 } else { &mut left.0 };
        let stays = *left > 0;
        *left -= usize::from(stays);
        stays
    });
}

/// Takes the layers together of that half of the pulls with the most.
fn fold_half(report: &mut Report) {
    let mut several: Vec<&mut PullReport> =
        report.pulls.iter_mut().filter(|pull| pull.layers.len() > 1).collect();
    several.sort_by_key(|pull| std::cmp::Reverse(pull.layers.len()));
    let half = several.len().div_ceil(2);
    several.into_iter().take(half).for_each(fold);
}

/// Takes all layers of a pull together as one.
fn fold(pull: &mut PullReport) {
    let mut all = LayerReport { total_known: true, ..LayerReport::default() };
    for layer in pull.layers.drain(..) {
        all.total_bytes = all.total_bytes.saturating_add(layer.total_bytes);
        all.downloaded_bytes = all.downloaded_bytes.saturating_add(layer.downloaded_bytes);
        all.resumed_bytes = all.resumed_bytes.saturating_add(layer.resumed_bytes);
        all.total_known &= layer.total_known;
        if all.digest.is_empty() {
            all.digest = layer.digest;
        }
    }
    pull.layers.push(all);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(total_bytes: i64, downloaded_bytes: i64) -> LayerReport {
        LayerReport {
            digest: format!("sha256:{}", "a".repeat(64)),
            total_bytes,
            downloaded_bytes,
            total_known: true,
            ..LayerReport::default()
        }
    }

    fn pull(id: usize, phase: PullPhase, layers: usize) -> PullReport {
        PullReport {
            id: format!("lease-{id}"),
            image_ref: format!("docker.io/library/image-{id}:1"),
            phase: Some(phase),
            layers: vec![layer(100, 40); layers],
            total_known: true,
            ..PullReport::default()
        }
    }

    fn sent(pulls: Vec<PullReport>, bytes_max: usize) -> (Report, Vec<String>, usize) {
        let report = Report { node_name: "n".to_owned(), pulls, ..Report::default() };
        let (json, ended) = write(report, bytes_max);
        (Report::from_json(&json).expect("within all limits"), ended, json.len())
    }

    #[test]
    fn a_report_that_fits_is_not_changed_and_its_ended_pulls_are_told() {
        let pulls = vec![
            pull(1, PullPhase::Downloading, 8),
            pull(2, PullPhase::Completed, 8),
            pull(3, PullPhase::Failed, 0),
        ];
        let (report, ended, _) = sent(pulls.clone(), BODY_BYTES_MAX);
        assert_eq!(report.pulls, pulls);
        assert_eq!(ended, ["lease-2", "lease-3"]);
    }

    #[test]
    fn too_long_a_report_has_fewer_layers_and_the_same_sums() {
        let pulls: Vec<_> = (0..100).map(|id| pull(id, PullPhase::Downloading, id)).collect();
        let (report, _, bytes) = sent(pulls.clone(), 200_000);
        assert!(bytes <= 200_000, "{bytes}");
        let sum = |pulls: &[PullReport]| -> i64 {
            pulls.iter().flat_map(|pull| &pull.layers).map(|layer| layer.downloaded_bytes).sum()
        };
        assert_eq!(sum(&report.pulls), sum(&pulls));
        assert_eq!(report.pulls.len(), 100);
        assert_eq!(report.pulls[2].layers.len(), 2, "small ones are left alone");
        assert_eq!(report.pulls[99].layers.len(), 1);
    }

    #[test]
    fn what_ended_waits_where_there_is_no_room_for_it() {
        let pulls: Vec<_> = (0..1_500)
            .map(|id| pull(id, [PullPhase::Completed, PullPhase::Resolving][id % 2], 1))
            .collect();
        let (report, ended, _) = sent(pulls.clone(), BODY_BYTES_MAX);
        let running = |pull: &&PullReport| !has_ended(pull);
        assert_eq!(report.pulls.len(), 1_000);
        assert_eq!(report.pulls.iter().filter(running).count(), 750);
        assert_eq!(ended.len(), 250);
        let (report, ended, bytes) = sent(pulls, BODY_BYTES_MIN);
        assert!(bytes <= BODY_BYTES_MIN, "{bytes}");
        assert!(ended.is_empty() && !report.pulls.is_empty());
    }

    #[test]
    fn no_number_of_layers_is_too_large() {
        let pulls: Vec<_> = (0..30).map(|id| pull(id, PullPhase::Downloading, 1_000)).collect();
        let (report, _, _) = sent(pulls, usize::MAX);
        assert!(layers(&report) <= LAYERS_PER_REPORT_MAX);
        let (report, _, _) = sent(vec![pull(1, PullPhase::Downloading, 1_001)], usize::MAX);
        assert_eq!(report.pulls[0].layers.len(), 1);
        assert_eq!(report.pulls[0].layers[0].downloaded_bytes, 40_040);
    }
}
