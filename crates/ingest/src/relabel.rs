//! Relabelling: rules that rewrite, keep or drop label sets, as Prometheus has them.

use md5::{Digest as _, Md5};
use model::{AnchoredRegex, LabelsBuilder, RegexError};
use serde::Deserialize;

/// One rule as it is written in a configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelabelConfig {
    /// The labels whose values are joined and compared.
    #[serde(default)]
    pub source_labels: Vec<String>,
    /// What joins them.
    #[serde(default = "default_separator")]
    pub separator: String,
    /// What the joined values have to match.
    #[serde(default = "default_regex")]
    pub regex: String,
    /// What the hash is divided by, for `hashmod`.
    #[serde(default)]
    pub modulus: u64,
    /// The label that is written.
    #[serde(default)]
    pub target_label: String,
    /// What is written, with `$1` for the first group.
    #[serde(default = "default_replacement")]
    pub replacement: String,
    /// What is done.
    #[serde(default)]
    pub action: RelabelAction,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelabelAction {
    /// Writes `replacement` to `target_label` when the values match.
    #[default]
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Drops what differs from the value of `target_label`.
    KeepEqual,
    /// Drops what equals the value of `target_label`.
    DropEqual,
    /// Writes the hash of the values, modulo `modulus`.
    HashMod,
    /// Copies labels whose names match to the name that `replacement` gives.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Writes the values in lower case.
    Lowercase,
    /// Writes the values in upper case.
    Uppercase,
}

fn default_separator() -> String {
    ";".to_owned()
}

fn default_regex() -> String {
    "(.*)".to_owned()
}

fn default_replacement() -> String {
    "$1".to_owned()
}

/// A rule that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelabelError {
    /// The expression is malformed.
    #[error(transparent)]
    Regex(#[from] RegexError),
    /// The action needs a target label.
    #[error("action '{action}' needs a target_label")]
    NoTarget {
        /// The action.
        action: &'static str,
    },
    /// `hashmod` needs a modulus.
    #[error("action 'hashmod' needs a modulus of at least 1")]
    NoModulus,
}

/// Rules, checked and compiled, applied in order.
#[derive(Clone, Debug, Default)]
pub struct Relabel {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    config: RelabelConfig,
    regex: AnchoredRegex,
}

impl Relabel {
    /// Compiles rules.
    ///
    /// # Errors
    ///
    /// The first rule that cannot work.
    pub fn new(configs: &[RelabelConfig]) -> Result<Self, RelabelError> {
        let rules = configs.iter().map(Rule::new).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Returns whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Applies the rules to `labels`; returns whether they are kept.
    #[must_use]
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        self.rules.iter().all(|rule| rule.apply(labels))
    }
}

impl Rule {
    fn new(config: &RelabelConfig) -> Result<Self, RelabelError> {
        use RelabelAction as Action;
        let needs_target = match config.action {
            Action::Replace => Some("replace"),
            Action::KeepEqual => Some("keepequal"),
            Action::DropEqual => Some("dropequal"),
            Action::HashMod => Some("hashmod"),
            Action::Lowercase => Some("lowercase"),
            Action::Uppercase => Some("uppercase"),
            _ => None,
        };
        if let Some(action) = needs_target
            && config.target_label.is_empty()
        {
            return Err(RelabelError::NoTarget { action });
        }
        if config.action == Action::HashMod && config.modulus == 0 {
            return Err(RelabelError::NoModulus);
        }
        Ok(Self { config: config.clone(), regex: AnchoredRegex::new(&config.regex)? })
    }

    fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        use RelabelAction as Action;
        let config = &self.config;
        let values: Vec<&str> =
            config.source_labels.iter().map(|name| labels.get(name).unwrap_or("")).collect();
        let joined = values.join(&config.separator);
        let target = &config.target_label;
        match config.action {
            Action::Keep => return self.regex.is_match(&joined),
            Action::Drop => return !self.regex.is_match(&joined),
            Action::KeepEqual => return labels.get(target).unwrap_or("") == joined,
            Action::DropEqual => return labels.get(target).unwrap_or("") != joined,
            Action::Replace => self.replace(&joined, labels),
            Action::Lowercase => {
                labels.set(target, &joined.to_lowercase());
            }
            Action::Uppercase => {
                labels.set(target, &joined.to_uppercase());
            }
            Action::HashMod => {
                let hash = hash(&joined) % config.modulus;
                labels.set(target, &hash.to_string());
            }
            Action::LabelMap => {
                for (name, value) in owned(labels) {
                    if let Some(renamed) = self.regex.expand(&name, &config.replacement) {
                        labels.set(&renamed, &value);
                    }
                }
            }
            Action::LabelDrop | Action::LabelKeep => {
                let keep = config.action == Action::LabelKeep;
                for (name, _) in owned(labels) {
                    if self.regex.is_match(&name) != keep {
                        labels.remove(&name);
                    }
                }
            }
        }
        true
    }

    fn replace(&self, joined: &str, labels: &mut LabelsBuilder) {
        let expand = |template: &str| self.regex.expand(joined, template);
        let (Some(target), Some(value)) =
            (expand(&self.config.target_label), expand(&self.config.replacement))
        else {
            return;
        };
        if !target.is_empty() {
            labels.set(&target, &value);
        }
    }
}

fn owned(labels: &LabelsBuilder) -> Vec<(String, String)> {
    let mut pairs: Vec<_> =
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    pairs.sort_unstable();
    pairs
}

/// The last eight bytes of the MD5 sum, as Prometheus shards targets: both must agree on who scrapes what.
fn hash(text: &str) -> u64 {
    let sum = Md5::digest(text.as_bytes());
    sum.iter().skip(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies rules, written as YAML, and returns what is left.
    fn check(rules: &str, before: &[(&str, &str)], after: Option<&[(&str, &str)]>) {
        let configs: Vec<RelabelConfig> = serde_saphyr::from_str(rules).expect("rules");
        let relabel = Relabel::new(&configs).expect("valid rules");
        let mut labels = LabelsBuilder::new();
        for (name, value) in before {
            labels.set(name, value);
        }
        let kept = relabel.apply(&mut labels);
        assert_eq!(kept, after.is_some(), "{rules}");
        if let Some(after) = after {
            let expected = model::Labels::from_pairs(after.iter().copied()).expect("labels");
            assert_eq!(labels.build().expect("labels"), expected, "{rules}");
        }
    }

    #[test]
    fn each_action_does_what_it_does_in_prometheus() {
        let before = [("a", "Foo"), ("b", "bar"), ("__meta_x", "y")];
        for (rule, after) in [
            (
                "{source_labels: [a, b], regex: 'F(.*);(.*)', target_label: d, replacement: '$2-$1'}",
                Some(vec![("a", "Foo"), ("b", "bar"), ("__meta_x", "y"), ("d", "bar-oo")]),
            ),
            ("{source_labels: [a], regex: nothing, target_label: d}", Some(before.to_vec())),
            (
                "{source_labels: [a], regex: 'Foo', target_label: b, replacement: ''}",
                Some(vec![("a", "Foo"), ("__meta_x", "y")]),
            ),
            (
                "{source_labels: [b], target_label: '${1}_x'}",
                Some(vec![("a", "Foo"), ("b", "bar"), ("__meta_x", "y"), ("bar_x", "bar")]),
            ),
            ("{source_labels: [a], regex: 'F.*', action: keep}", Some(before.to_vec())),
            ("{source_labels: [a], regex: 'F', action: keep}", None),
            ("{source_labels: [a], regex: 'F.*', action: drop}", None),
            ("{source_labels: [missing], regex: '', action: drop}", None),
            ("{source_labels: [b], target_label: b, action: keepequal}", Some(before.to_vec())),
            ("{source_labels: [a], target_label: b, action: keepequal}", None),
            ("{source_labels: [b], target_label: b, action: dropequal}", None),
            (
                "{regex: '__meta_(.*)', action: labelmap}",
                Some(vec![("a", "Foo"), ("b", "bar"), ("__meta_x", "y"), ("x", "y")]),
            ),
            ("{regex: 'a|b', action: labeldrop}", Some(vec![("__meta_x", "y")])),
            ("{regex: 'a|b', action: labelkeep}", Some(vec![("a", "Foo"), ("b", "bar")])),
            (
                "{source_labels: [a], target_label: a, action: lowercase}",
                Some(vec![("a", "foo"), ("b", "bar"), ("__meta_x", "y")]),
            ),
            (
                "{source_labels: [b], target_label: b, action: uppercase}",
                Some(vec![("a", "Foo"), ("b", "BAR"), ("__meta_x", "y")]),
            ),
        ] {
            check(&format!("[{rule}]"), &before, after.as_deref());
        }
    }

    #[test]
    fn hashmod_agrees_with_prometheus() {
        // The MD5 sum of "bar" is 37b51d194a7513e45b56f6524f2d51f2.
        let expected = 0x5b56_f652_4f2d_51f2_u64 % 1000;
        let after = expected.to_string();
        let rule = "[{source_labels: [b], modulus: 1000, target_label: h, action: hashmod}]";
        check(rule, &[("b", "bar")], Some(&[("b", "bar"), ("h", &after)]));
    }

    #[test]
    fn a_rule_that_cannot_work_is_refused() {
        let compile = |rule: &str| {
            let configs: Vec<RelabelConfig> = serde_saphyr::from_str(rule).expect("rules");
            Relabel::new(&configs).expect_err("a mistake").to_string()
        };
        assert_eq!(compile("[{action: replace}]"), "action 'replace' needs a target_label");
        let hashmod = "[{action: hashmod, target_label: x}]";
        assert_eq!(compile(hashmod), "action 'hashmod' needs a modulus of at least 1");
        assert!(compile("[{regex: '(', action: keep}]").contains("unclosed group"));
    }
}
