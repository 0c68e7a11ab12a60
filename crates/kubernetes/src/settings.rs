//! Which cluster is watched, how, and with what.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform::{Clock, Rng};
use pulls::ClusterPods;

/// The most namespaces that are watched one by one; each costs two connections.
pub const NAMESPACES_MAX: usize = 100;

/// How the API of a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// As a pod of the cluster if this is one, else not at all.
    Automatic,
    /// As a kubeconfig file says.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// One of its contexts; its current one if `None`.
        context: Option<String>,
    },
}

/// Which cluster is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSettings {
    /// Its name, for the log.
    pub cluster: String,
    /// How it is reached.
    pub access: Access,
    /// Its namespaces that count, for pods and events alike; all where there are none. White space around a name and empty
    /// names do not matter. Those beyond [`NAMESPACES_MAX`] are not watched.
    pub namespaces: Vec<String>,
}

/// What a watch works with.
#[derive(Clone, Debug)]
pub struct WatchParts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Spreads retries.
    pub rng: Arc<dyn Rng>,
    /// Who is told.
    pub pods: Arc<ClusterPods>,
}

/// How long what takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The wait after the first failure; twice as long after each further one.
    pub(crate) retry_min: Duration,
    /// The longest wait, unless the server asks for more.
    pub(crate) retry_max: Duration,
    /// The longest wait that a server may ask for.
    pub(crate) retry_asked_max: Duration,
    /// How long a page of a list may take, and a watch to begin.
    pub(crate) answer_max: Duration,
    /// How long the server lets a watch last, in whole seconds.
    pub(crate) watch: Duration,
    /// How much longer a watch may be silent before it counts as broken.
    pub(crate) watch_grace: Duration,
    /// Objects in a page of a list.
    pub(crate) page: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            retry_asked_max: Duration::from_secs(300),
            answer_max: Duration::from_secs(60),
            watch: Duration::from_secs(290),
            watch_grace: Duration::from_secs(10),
            page: 500,
        }
    }
}

impl WatchSettings {
    /// Returns the namespaces to watch, each once and in order; one `None` for the whole cluster.
    pub(crate) fn scopes(&self) -> Vec<Option<String>> {
        let names = self.namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        let names: BTreeSet<&str> = names.collect();
        if names.is_empty() {
            return vec![None];
        }
        names.into_iter().take(NAMESPACES_MAX).map(|name| Some(name.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_trimmed_and_none_means_all() {
        let check = |names: &[&str], expected: &[Option<&str>]| {
            let settings = WatchSettings {
                cluster: String::new(),
                access: Access::Automatic,
                namespaces: names.iter().map(|name| (*name).to_owned()).collect(),
            };
            let scopes = settings.scopes();
            assert_eq!(scopes.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
        };
        check(&[], &[None]);
        check(&["", "  "], &[None]);
        check(&["a"], &[Some("a")]);
        check(&[" b ", "", "a\t", "b"], &[Some("a"), Some("b")]);
        let many: Vec<String> = (0..=NAMESPACES_MAX).map(|n| format!("n{n:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let first: Vec<Option<&str>> =
            many.iter().take(NAMESPACES_MAX).copied().map(Some).collect();
        check(&many, &first);
    }
}
