//! Scrape jobs as Prometheus' configuration spells them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use model::parse_duration_ms;
use platform::{Fs, FsError};
use serde::{Deserialize, Deserializer, de};

use crate::relabel::{Relabel, RelabelConfig, RelabelError};

/// The most that is read of a file with a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// One entry of `scrape_configs`. A key that is not listed here is not supported and is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrapeConfig {
    /// The value of the label `job`.
    pub job_name: String,
    /// How often; the default when absent.
    #[serde(default, deserialize_with = "optional_duration")]
    pub scrape_interval: Option<Duration>,
    /// How long a scrape may take; the default when absent.
    #[serde(default, deserialize_with = "optional_duration")]
    pub scrape_timeout: Option<Duration>,
    /// The path.
    #[serde(default = "default_path")]
    pub metrics_path: String,
    /// `http` or `https`.
    #[serde(default = "default_scheme")]
    pub scheme: String,
    /// Parameters of the URL.
    #[serde(default)]
    pub params: BTreeMap<String, Vec<String>>,
    /// Whether a scraped label wins over the target's.
    #[serde(default)]
    pub honor_labels: bool,
    /// Whether a scraped time is kept.
    #[serde(default = "yes")]
    pub honor_timestamps: bool,
    /// Targets that are listed here.
    #[serde(default)]
    pub static_configs: Vec<TargetGroup>,
    /// Files that list targets.
    #[serde(default)]
    pub file_sd_configs: Vec<FileDiscovery>,
    /// Rules for targets.
    #[serde(default)]
    pub relabel_configs: Vec<RelabelConfig>,
    /// Rules for scraped series.
    #[serde(default)]
    pub metric_relabel_configs: Vec<RelabelConfig>,
    /// Most samples of one scrape after the rules; 0 is no limit.
    #[serde(default)]
    pub sample_limit: usize,
    /// A user's name and password.
    pub basic_auth: Option<BasicAuth>,
    /// A token.
    pub authorization: Option<Authorization>,
}

/// Targets with common labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// Addresses: `host:port`.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Labels of all of them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Files that list targets, read again while the program runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDiscovery {
    /// Paths; the last component may hold `*`.
    pub files: Vec<PathBuf>,
    /// How often Prometheus would read them again; accepted and not needed, they are read every few seconds.
    #[serde(default, deserialize_with = "optional_duration")]
    pub refresh_interval: Option<Duration>,
}

/// A user's name and password.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Option<String>,
    /// A file that holds it.
    pub password_file: Option<PathBuf>,
}

/// A token.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// Its type.
    #[serde(rename = "type", default = "default_authorization")]
    pub scheme: String,
    /// The token.
    pub credentials: Option<String>,
    /// A file that holds it.
    pub credentials_file: Option<PathBuf>,
}

impl std::fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BasicAuth").field("username", &self.username).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorization").field("type", &self.scheme).finish_non_exhaustive()
    }
}

/// What jobs take when they say nothing.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeDefaults {
    /// How often.
    pub interval: Duration,
    /// How long a scrape may take.
    pub timeout: Duration,
    /// Most bytes of a response.
    pub body_bytes_max: u64,
}

/// A job that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeConfigError {
    /// Two jobs have the same name.
    #[error("job name '{job}' is used twice")]
    DuplicateJob {
        /// The name.
        job: String,
    },
    /// A value is not allowed.
    #[error("job '{job}': {key} {reason}")]
    Invalid {
        /// The job.
        job: String,
        /// The key.
        key: &'static str,
        /// What would be right.
        reason: &'static str,
    },
    /// A rule cannot work.
    #[error("job '{job}': {key}: {source}")]
    Relabel {
        /// The job.
        job: String,
        /// The key.
        key: &'static str,
        /// Why.
        source: RelabelError,
    },
    /// A secret cannot be read.
    #[error("job '{job}': {source}")]
    Secret {
        /// The job.
        job: String,
        /// Why.
        source: FsError,
    },
}

/// A job, checked.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) config: ScrapeConfig,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) body_bytes_max: u64,
    pub(super) relabel: Relabel,
    pub(super) metric_relabel: Relabel,
    /// The header, marked as sensitive.
    pub(super) authorization: Option<HeaderValue>,
}

impl Job {
    /// Returns the job of what this program says about itself: nothing is fetched, nothing relabelled.
    pub(super) fn own(job_name: &str) -> Self {
        let config = ScrapeConfig {
            job_name: job_name.to_owned(),
            scrape_interval: None,
            scrape_timeout: None,
            metrics_path: default_path(),
            scheme: default_scheme(),
            params: BTreeMap::new(),
            honor_labels: false,
            honor_timestamps: false,
            static_configs: Vec::new(),
            file_sd_configs: Vec::new(),
            relabel_configs: Vec::new(),
            metric_relabel_configs: Vec::new(),
            sample_limit: 0,
            basic_auth: None,
            authorization: None,
        };
        Self {
            config,
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            body_bytes_max: 0,
            relabel: Relabel::default(),
            metric_relabel: Relabel::default(),
            authorization: None,
        }
    }

    pub(super) fn check(
        config: ScrapeConfig,
        defaults: &ScrapeDefaults,
        fs: &dyn Fs,
    ) -> Result<Self, ScrapeConfigError> {
        let job = config.job_name.clone();
        let invalid = |key, reason| ScrapeConfigError::Invalid { job: job.clone(), key, reason };
        let interval = config.scrape_interval.unwrap_or(defaults.interval);
        let timeout = config.scrape_timeout.unwrap_or(defaults.timeout.min(interval));
        if job.is_empty() {
            return Err(invalid("job_name", "must not be empty"));
        }
        if interval.is_zero() || timeout.is_zero() {
            return Err(invalid("scrape_interval", "and scrape_timeout must be more than 0"));
        }
        if timeout > interval {
            return Err(invalid("scrape_timeout", "must not be longer than scrape_interval"));
        }
        if !["http", "https"].contains(&config.scheme.as_str()) {
            return Err(invalid("scheme", "must be http or https"));
        }
        let compile = |key, configs: &[RelabelConfig]| {
            Relabel::new(configs).map_err(|source| ScrapeConfigError::Relabel {
                job: job.clone(),
                key,
                source,
            })
        };
        Ok(Self {
            interval,
            timeout,
            body_bytes_max: defaults.body_bytes_max,
            relabel: compile("relabel_configs", &config.relabel_configs)?,
            metric_relabel: compile("metric_relabel_configs", &config.metric_relabel_configs)?,
            authorization: authorization(&config, fs)?,
            config,
        })
    }
}

fn authorization(
    config: &ScrapeConfig,
    fs: &dyn Fs,
) -> Result<Option<HeaderValue>, ScrapeConfigError> {
    let job = &config.job_name;
    let invalid = |key, reason| ScrapeConfigError::Invalid { job: job.clone(), key, reason };
    let secret = |key, inline: &Option<String>, file: &Option<PathBuf>| match (inline, file) {
        (Some(_), Some(_)) => Err(invalid(key, "has both a secret and a file with one")),
        (None, Some(file)) => read_secret(fs, file)
            .map_err(|source| ScrapeConfigError::Secret { job: job.clone(), source }),
        (inline, None) => Ok(inline.clone().unwrap_or_default()),
    };
    let text = match (&config.basic_auth, &config.authorization) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(invalid("basic_auth", "and authorization exclude each other"));
        }
        (Some(basic), None) => {
            let password = secret("basic_auth", &basic.password, &basic.password_file)?;
            format!("Basic {}", STANDARD.encode(format!("{}:{password}", basic.username)))
        }
        (None, Some(token)) => {
            let credentials = secret("authorization", &token.credentials, &token.credentials_file)?;
            format!("{} {credentials}", token.scheme)
        }
    };
    let mut header = HeaderValue::try_from(text)
        .map_err(|_| invalid("authorization", "has a character that a header cannot carry"))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn read_secret(fs: &dyn Fs, file: &Path) -> Result<String, FsError> {
    let bytes = fs.read(file, SECRET_BYTES_MAX)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn optional_duration<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(input)? else { return Ok(None) };
    match parse_duration_ms(&text) {
        Some(millis) => Ok(Some(Duration::from_millis(millis))),
        None => Err(de::Error::custom(format!("'{text}' is not a duration such as 30s"))),
    }
}

fn default_path() -> String {
    "/metrics".to_owned()
}

fn default_scheme() -> String {
    "http".to_owned()
}

fn default_authorization() -> String {
    "Bearer".to_owned()
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use platform::SimFs;

    use super::*;

    fn check(yaml: &str) -> Result<Job, String> {
        let config: ScrapeConfig =
            serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let defaults = ScrapeDefaults {
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            body_bytes_max: 1 << 20,
        };
        Job::check(config, &defaults, SimFs::new().as_ref()).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_prometheus() {
        let job = check("job_name: node").expect("valid");
        assert_eq!((job.interval, job.timeout), (Duration::from_secs(15), Duration::from_secs(10)));
        assert_eq!(job.config.metrics_path, "/metrics");
        assert!(job.config.honor_timestamps && !job.config.honor_labels);
        let quick = check("{job_name: node, scrape_interval: 5s}").expect("valid");
        assert_eq!(quick.timeout, Duration::from_secs(5), "never longer than the interval");
    }

    #[test]
    fn secrets_become_a_header_and_are_not_shown() {
        let job = check("{job_name: a, basic_auth: {username: me, password: top}}").expect("valid");
        let header = job.authorization.as_ref().expect("a header");
        assert_eq!(header.as_bytes(), b"Basic bWU6dG9w");
        assert!(!format!("{job:?}").contains("top"), "{job:?}");
    }

    #[test]
    fn mistakes_are_named() {
        for (yaml, message) in [
            ("{job_name: ''}", "job_name must not be empty"),
            ("{job_name: a, scrape_interval: 1s, scrape_timeout: 2s}", "must not be longer"),
            ("{job_name: a, scheme: ftp}", "scheme must be http or https"),
            ("{job_name: a, scrape_interval: soon}", "'soon' is not a duration"),
            ("{job_name: a, tls_config: {}}", "tls_config"),
            ("{job_name: a, relabel_configs: [{regex: '('}]}", "needs a target_label"),
        ] {
            let error = check(yaml).expect_err(yaml);
            assert!(error.contains(message), "{yaml}: {error}");
        }
    }
}
