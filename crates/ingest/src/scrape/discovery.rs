//! Which targets there are: those that are listed, and those that files list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use platform::Fs;

use super::config::{FileDiscovery, Job, TargetGroup};
use super::target::{TargetId, targets_of};

/// The most that is read of one file with targets.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Most targets of one job.
pub(super) const TARGETS_MAX: usize = 10_000;

/// What the files of a job said when they could last be read.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    files: BTreeMap<PathBuf, Vec<TargetGroup>>,
}

impl Discovery {
    /// Returns the targets of a job, each once, ascending.
    ///
    /// A file that cannot be read keeps the targets that it had; one that is gone loses them.
    pub(super) fn targets(&mut self, job: &Job, fs: &dyn Fs) -> Vec<TargetId> {
        self.read_files(job, fs);
        let listed = job.config.static_configs.iter();
        let mut targets = Vec::new();
        for group in listed.chain(self.files.values().flatten()) {
            for target in targets_of(job, group) {
                match target {
                    Ok(target) => targets.push(target),
                    Err(error) => {
                        tracing::warn!(job = job.config.job_name, error = %error, "target is left out");
                    }
                }
            }
        }
        targets.sort_unstable();
        targets.dedup();
        if targets.len() > TARGETS_MAX {
            tracing::warn!(
                job = job.config.job_name,
                targets = targets.len(),
                limit = TARGETS_MAX,
                "too many targets, the rest is left out"
            );
            targets.truncate(TARGETS_MAX);
        }
        targets
    }

    fn read_files(&mut self, job: &Job, fs: &dyn Fs) {
        let paths: Vec<PathBuf> =
            job.config.file_sd_configs.iter().flat_map(|sd| matching_files(sd, fs)).collect();
        self.files.retain(|path, _| paths.contains(path));
        for path in paths {
            match read_groups(&path, fs) {
                Ok(groups) => {
                    self.files.insert(path, groups);
                }
                Err(reason) => {
                    let path = path.display();
                    tracing::warn!(path = %path, reason, "file with targets is not usable");
                }
            }
        }
    }
}

fn matching_files(discovery: &FileDiscovery, fs: &dyn Fs) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pattern in &discovery.files {
        let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if !name.contains('*') {
            if fs.exists(pattern).unwrap_or(true) {
                found.push(pattern.clone());
            }
            continue;
        }
        let folder = match pattern.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let entries = fs.list(folder).unwrap_or_default();
        let matching = entries.iter().filter(|entry| !entry.is_dir && matches(name, &entry.name));
        found.extend(matching.map(|entry| folder.join(&entry.name)));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Returns whether `name` is `pattern` with each `*` standing for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or("");
    }
    rest.is_empty()
}

fn read_groups(path: &Path, fs: &dyn Fs) -> Result<Vec<TargetGroup>, String> {
    let bytes = fs.read(path, FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "not UTF-8".to_owned())?;
    // JSON is YAML.
    let mut groups: Vec<TargetGroup> =
        serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    for group in &mut groups {
        let path = path.display().to_string();
        group.labels.insert("__meta_filepath".to_owned(), path);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use platform::SimFs;

    use super::super::config::ScrapeDefaults;
    use super::*;

    fn job(yaml: &str) -> Job {
        let defaults = ScrapeDefaults {
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            body_bytes_max: 1 << 20,
        };
        let config = serde_saphyr::from_str(yaml).expect("a job");
        Job::check(config, &defaults, SimFs::new().as_ref()).expect("a valid job")
    }

    fn write(fs: &SimFs, path: &str, text: &str) {
        fs.create(Path::new(path)).expect("create").append(text.as_bytes()).expect("write");
    }

    fn urls(discovery: &mut Discovery, job: &Job, fs: &SimFs) -> Vec<String> {
        discovery.targets(job, fs).into_iter().map(|target| target.url).collect()
    }

    #[test]
    fn listed_targets_are_found_once_with_their_labels() {
        let job = job(
            "job_name: node\nstatic_configs: [{targets: ['b:1', 'a:1', 'b:1'], labels: {zone: x}}]",
        );
        let targets = Discovery::default().targets(&job, SimFs::new().as_ref());
        let shown: Vec<String> =
            targets.iter().map(|target| format!("{} {}", target.url, target.labels)).collect();
        assert_eq!(
            shown,
            [
                r#"http://a:1/metrics {instance="a:1", job="node", zone="x"}"#,
                r#"http://b:1/metrics {instance="b:1", job="node", zone="x"}"#,
            ]
        );
    }

    #[test]
    fn rules_and_parameters_shape_the_url() {
        let job = job("job_name: probe\nmetrics_path: /probe\nparams: {module: [http]}\n\
             static_configs: [{targets: ['https://x/y', 'drop:1']}]\n\
             relabel_configs:\n\
             - {source_labels: [__address__], regex: 'drop.*', action: drop}\n\
             - {source_labels: [__address__], target_label: __param_target}\n\
             - {source_labels: [__param_target], target_label: instance}\n\
             - {target_label: __address__, replacement: 'prober:9115'}\n");
        let targets = Discovery::default().targets(&job, SimFs::new().as_ref());
        assert_eq!(targets.len(), 1);
        assert_eq!(
            targets[0].url,
            "http://prober:9115/probe?module=http&target=https%3A%2F%2Fx%2Fy"
        );
        assert_eq!(targets[0].labels.get("instance"), Some("https://x/y"));
    }

    #[test]
    fn files_are_followed_and_a_broken_one_keeps_its_targets() {
        let fs = SimFs::new();
        fs.create_dir_all(Path::new("/sd")).expect("folder");
        write(&fs, "/sd/a.json", r#"[{"targets": ["one:1"], "labels": {"k": "v"}}]"#);
        write(&fs, "/sd/b.yml", "- targets: ['two:1']\n");
        write(&fs, "/sd/c.txt", "- targets: ['three:1']\n");
        let job = job("job_name: sd\nfile_sd_configs: [{files: ['/sd/*.json', '/sd/*.yml']}]");
        let mut discovery = Discovery::default();
        assert_eq!(
            urls(&mut discovery, &job, &fs),
            ["http://one:1/metrics", "http://two:1/metrics"]
        );

        fs.remove_file(Path::new("/sd/a.json")).expect("remove");
        write(&fs, "/sd/a.json", "[{broken");
        fs.remove_file(Path::new("/sd/b.yml")).expect("remove");
        assert_eq!(urls(&mut discovery, &job, &fs), ["http://one:1/metrics"]);
    }

    #[test]
    fn stars_match_any_characters() {
        assert!(matches("*.yml", "a.yml") && matches("a*b*c", "a-b-b-c") && matches("*", "x"));
        assert!(!matches("*.yml", "a.yaml") && !matches("a*b", "ab-") && !matches("a*a", "a"));
    }
}
