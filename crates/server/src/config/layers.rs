//! Layers of settings: defaults, file, environment, command line.
//!
//! The merge is our own because the kept crates for it fold the case of keys and forget where a value came from,
//! and every mistake must name its path and its layer.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::str::FromStr;

use model::parse_duration_ms;
use platform::Fs;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::units::parse_bytes;
use super::{ConfigError, DEFAULTS, Mistake};

/// Longest file of a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The prefix of our environment variables.
const PREFIX: &str = "TINYOBS_";

/// Variables of the originals that mean a key of ours; see `docs/configuration.md`.
const ALIASES: [(&str, &str); 21] = [
    ("TINYOBS_MAX_CARDINALITY", "metrics.limits.series"),
    ("TINYOBS_MAX_STORAGE_GB", "metrics.storage_bytes_max"),
    ("TINYOBS_MAX_MEMORY_MB", "metrics.head_bytes_max"),
    ("DEDUP_WINDOW", "events.deduplication.window"),
    ("MAX_BATCH_EVENTS", "events.limits.batch_events"),
    ("NATS_CLIENT_NAME", "nats.client_name"),
    ("NATS_STREAM_DLQ_MAX_AGE", "events.dead_letters.retention"),
    ("NATS_STREAM_DLQ_STREAM_NAME", "nats.stream.dead_letters_name"),
    ("NATS_STREAM_MAX_AGE", "events.log.retention"),
    ("NATS_STREAM_MAX_BYTES", "events.log.bytes_max"),
    ("NATS_STREAM_NAME", "nats.stream.name"),
    ("NATS_STREAM_REPLICAS", "nats.stream.replicas"),
    ("NATS_STREAM_STORAGE", "nats.stream.storage"),
    ("NATS_TIMEOUT", "nats.timeout"),
    ("NATS_URL", "nats.url"),
    ("PULLTRACE_AGENT_TOKEN", "pulls.agents.token"),
    ("PULLTRACE_HISTORY_TTL", "pulls.history.shown"),
    ("PULLTRACE_HTTP_ADDR", "server.listen"),
    ("PULLTRACE_LOG_LEVEL", "log.level"),
    ("PULLTRACE_WATCH_NAMESPACES", "pulls.kubernetes.namespaces"),
    ("RATE_LIMIT_PER_KEY_RPS", "limits.key.requests_per_second"),
];

/// Variables with our prefix that are no settings: other programs and `tinyobs query` read them.
const NOT_OURS: [&str; 3] =
    ["TINYOBS_ENDPOINT", crate::client::KEY_VARIABLE, crate::client::URL_VARIABLE];

/// The process's environment, as far as it is passed in.
pub(crate) type Environment = Vec<(String, String)>;

/// One `key=value` of the command line.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) path: String,
    pub(crate) value: String,
    /// The flag that said it.
    pub(crate) flag: &'static str,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) =
            text.split_once('=').ok_or_else(|| format!("'{text}' is not of the form key=value"))?;
        Ok(Self { path: path.trim().to_owned(), value: value.to_owned(), flag: "--set" })
    }
}

/// What is laid over the defaults, the weakest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// The name and text of the configuration file.
    pub(crate) file: Option<(String, String)>,
    pub(crate) environment: Environment,
    pub(crate) settings: Vec<Setting>,
}

impl Layers {
    pub(super) fn merge(self, fs: &dyn Fs) -> Reader<'_> {
        let defaults = parse_yaml(DEFAULTS).expect("the committed defaults are valid");
        let mut reader = Reader {
            tree: defaults,
            origins: BTreeMap::new(),
            mistakes: Vec::new(),
            secrets: BTreeSet::new(),
            fs,
        };
        if let Some((name, text)) = self.file {
            match parse_yaml(&text) {
                Ok(Value::Null) => {}
                Ok(tree) => reader.lay_over(tree, &name),
                Err(message) => reader.push(String::new(), name, message),
            }
        }
        for (name, value) in self.environment {
            reader.lay_over_variable(&name, value);
        }
        for setting in self.settings {
            reader.set(&setting.path, setting.value, setting.flag);
        }
        reader
    }
}

fn parse_yaml(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

/// The merged tree, read key by key; mistakes are collected.
pub(super) struct Reader<'a> {
    tree: Value,
    origins: BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
    /// The paths whose values are never shown.
    secrets: BTreeSet<String>,
    /// Where the files of secrets are.
    fs: &'a dyn Fs,
}

/// A key with its value, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) path: String,
    /// As text; `None` for a secret, given or not.
    pub(crate) value: Option<String>,
    /// Tells whether a secret has changed, without telling the secret. Never shown.
    digest: u64,
    /// The layer that said it.
    pub(crate) origin: String,
}

impl InForce {
    /// Returns whether the key says the same in both.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.path == other.path && self.digest == other.digest
    }
}

impl Reader<'_> {
    /// Returns every key with its value and origin, ascending by path.
    pub(super) fn in_force(&self) -> Vec<InForce> {
        let mut leaves = Vec::new();
        collect_leaves(&self.tree, "", &mut leaves);
        leaves
            .into_iter()
            .map(|(path, value)| {
                let origin = self.origins.get(&path).map_or("default", String::as_str).to_owned();
                let digest = digest(&value);
                let value = (!self.secrets.contains(&path)).then_some(value);
                InForce { path, value, digest, origin }
            })
            .collect()
    }

    /// Returns a secret: from the key itself, or from the file that the key with `_file` at its end names.
    pub(super) fn secret(&mut self, path: &str) -> Option<SecretString> {
        self.secrets.insert(path.to_owned());
        let file_path = format!("{path}_file");
        let (text, file) = (self.text(path), self.text(&file_path));
        if !text.is_empty() && self.origins.get(path).is_some_and(|origin| origin == "--set") {
            self.mistake(path, "must not be on the command line, which others can see");
            return None;
        }
        match (text.is_empty(), file.is_empty()) {
            (true, true) => None,
            (false, true) => Some(text.into()),
            (false, false) => {
                let message = format!("is given here and by {file_path}; remove one of them");
                self.mistake(path, &message);
                None
            }
            (true, false) => self.secret_file(&file_path, &file),
        }
    }

    fn secret_file(&mut self, path: &str, file: &str) -> Option<SecretString> {
        let bytes = match self.fs.read(Path::new(file), SECRET_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.mistake(path, &error.to_string());
                return None;
            }
        };
        // Editors and `echo` end a file with a newline, which is no part of the secret.
        match String::from_utf8(bytes).ok().map(|text| text.trim_end().to_owned()) {
            Some(text) if !text.is_empty() => Some(text.into()),
            _ => {
                self.mistake(path, "names a file that is empty or no text");
                None
            }
        }
    }

    /// Fails with all mistakes met so far.
    pub(super) fn finish(mut self) -> Result<(), ConfigError> {
        if self.mistakes.is_empty() {
            return Ok(());
        }
        self.mistakes.sort_by(|left, right| left.path.cmp(&right.path));
        Err(ConfigError(self.mistakes))
    }

    pub(super) fn mistake(&mut self, path: &str, message: &str) {
        let origin = self.origins.get(path).map_or("default", String::as_str).to_owned();
        self.push(path.to_owned(), origin, message.to_owned());
    }

    fn push(&mut self, path: String, origin: String, message: String) {
        self.mistakes.push(Mistake { path, origin, message });
    }

    fn lay_over(&mut self, layer: Value, origin: &str) {
        let Value::Object(layer) = layer else {
            let message = "must be a mapping of keys".to_owned();
            return self.push(String::new(), origin.to_owned(), message);
        };
        let mut tree = std::mem::take(&mut self.tree);
        self.lay_over_object(&mut tree, layer, "", origin);
        self.tree = tree;
    }

    fn lay_over_object(
        &mut self,
        tree: &mut Value,
        layer: Map<String, Value>,
        prefix: &str,
        origin: &str,
    ) {
        for (key, value) in layer {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match (tree.get_mut(&key), value) {
                (None, _) => {
                    let message = unknown_key(tree, &key);
                    self.push(path, origin.to_owned(), message);
                }
                (Some(below @ Value::Object(_)), Value::Object(layer)) => {
                    self.lay_over_object(below, layer, &path, origin);
                }
                (Some(Value::Object(_)), Value::Null) => {}
                (Some(Value::Object(_)), _) => {
                    self.push(path, origin.to_owned(), "must be a mapping of keys".to_owned());
                }
                (Some(present), value) => {
                    *present = value;
                    self.origins.insert(path, origin.to_owned());
                }
            }
        }
    }

    fn lay_over_variable(&mut self, name: &str, value: String) {
        if name == "PORT" {
            let listen = format!("127.0.0.1:{value}");
            return self.set("server.listen", listen, "environment PORT");
        }
        if let Some((_, path)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
            let value = match name {
                "TINYOBS_MAX_STORAGE_GB" => format!("{value}GiB"),
                "TINYOBS_MAX_MEMORY_MB" => format!("{value}MiB"),
                // Go's way to say all addresses.
                "PULLTRACE_HTTP_ADDR" if value.starts_with(':') => format!("0.0.0.0{value}"),
                "PULLTRACE_WATCH_NAMESPACES" => {
                    Value::from_iter(value.split(',').map(str::trim)).to_string()
                }
                _ => value,
            };
            return self.set(path, value, &format!("environment {name}"));
        }
        if let Some(key) = name.strip_prefix(PREFIX)
            && !NOT_OURS.contains(&name)
        {
            let path = key.to_ascii_lowercase().replace("__", ".");
            self.set(&path, value, &format!("environment {name}"));
        }
    }

    /// Sets one leaf from text.
    fn set(&mut self, path: &str, value: String, origin: &str) {
        let mut node = &mut self.tree;
        for key in path.split('.') {
            if node.get(key).is_none() {
                let message = unknown_key(node, key);
                return self.push(path.to_owned(), origin.to_owned(), message);
            }
            node = &mut node[key];
        }
        if node.is_object() {
            let message = "is a group of keys, set one of them".to_owned();
            return self.push(path.to_owned(), origin.to_owned(), message);
        }
        *node = if node.is_array() {
            match parse_yaml(&value) {
                Ok(list @ Value::Array(_)) => list,
                _ => {
                    let message = "must be a list, such as [] or [{job_name: x}]".to_owned();
                    return self.push(path.to_owned(), origin.to_owned(), message);
                }
            }
        } else {
            Value::String(value)
        };
        self.origins.insert(path.to_owned(), origin.to_owned());
    }

    fn node(&self, path: &str) -> &Value {
        path.split('.').fold(&self.tree, |node, key| &node[key])
    }

    /// Returns the entries of a list, each read by its own rules.
    pub(super) fn list<T: DeserializeOwned>(&mut self, path: &str) -> Vec<T> {
        let Value::Array(entries) = self.node(path).clone() else {
            self.mistake(path, "must be a list");
            return Vec::new();
        };
        let mut read = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            match T::deserialize(entry) {
                Ok(entry) => read.push(entry),
                Err(error) => {
                    let origin = self.origins.get(path).cloned().unwrap_or_default();
                    self.push(format!("{path}[{index}]"), origin, error.to_string());
                }
            }
        }
        read
    }

    /// Returns a leaf as text: numbers and booleans as they would be written.
    pub(super) fn text(&mut self, path: &str) -> String {
        match self.node(path) {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(boolean) => boolean.to_string(),
            _ => {
                self.mistake(path, "must be a single value");
                String::new()
            }
        }
    }

    fn interpreted<T>(
        &mut self,
        path: &str,
        expected: &str,
        interpret: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let mistakes = self.mistakes.len();
        let text = self.text(path);
        let value = interpret(text.trim());
        if value.is_none() && self.mistakes.len() == mistakes {
            self.mistake(path, &format!("'{text}' is not {expected}"));
        }
        value
    }

    pub(super) fn parsed<T: FromStr>(&mut self, path: &str, expected: &str) -> Option<T> {
        self.interpreted(path, expected, |text| text.parse().ok())
    }

    pub(super) fn choice<T: Copy>(&mut self, path: &str, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let expected = format!("one of {}", names.join(", "));
        self.interpreted(path, &expected, |text| {
            choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
        })
    }

    pub(super) fn boolean(&mut self, path: &str) -> bool {
        self.choice(path, &[("true", true), ("false", false)]).unwrap_or_default()
    }

    pub(super) fn number(&mut self, path: &str) -> u64 {
        self.parsed(path, "a whole number").unwrap_or_default()
    }

    pub(super) fn count(&mut self, path: &str) -> usize {
        self.parsed(path, "a whole number").unwrap_or_default()
    }

    pub(super) fn bytes(&mut self, path: &str) -> u64 {
        self.interpreted(path, "a size such as 32MiB", parse_bytes).unwrap_or_default()
    }

    pub(super) fn count_bytes(&mut self, path: &str) -> usize {
        let interpret = |text: &str| usize::try_from(parse_bytes(text)?).ok();
        self.interpreted(path, "a size such as 32MiB", interpret).unwrap_or_default()
    }

    pub(super) fn duration_ms(&mut self, path: &str) -> u64 {
        self.interpreted(path, "a duration such as 30s or 14d", parse_duration_ms)
            .unwrap_or_default()
    }

    pub(super) fn signed_duration_ms(&mut self, path: &str) -> i64 {
        i64::try_from(self.duration_ms(path)).unwrap_or(i64::MAX)
    }
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn collect_leaves(value: &Value, path: &str, leaves: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect_leaves(value, &path, leaves);
            }
        }
        Value::String(text) => leaves.push((path.to_owned(), text.clone())),
        other => leaves.push((path.to_owned(), other.to_string())),
    }
    if path.is_empty() {
        leaves.sort();
    }
}

fn unknown_key(tree: &Value, key: &str) -> String {
    let known: Vec<&str> =
        tree.as_object().map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default();
    if known.is_empty() {
        return format!("unknown key '{key}': there is nothing below this one");
    }
    format!("unknown key '{key}', known here: {}", known.join(", "))
}
