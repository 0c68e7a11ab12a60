//! Reads the configuration again while the program runs, and applies what can change.

use std::fmt;
use std::sync::Arc;

use api::{Configuration, Reloaded, SettingInForce};
use parking_lot::Mutex;
use platform::Fs;
use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::cli::ServeArgs;
use crate::config::{Config, InForce};

/// Takes over a part of a new configuration.
type Apply = Box<dyn Fn(&Config) -> anyhow::Result<()> + Send + Sync>;

/// The configuration in force, and who takes over which part of a new one.
pub(crate) struct Reloader {
    args: ServeArgs,
    fs: Arc<dyn Fs>,
    /// What was last applied, or read at the start. Held during a reload, so that one happens at a time; never held
    /// across an await.
    in_force: Mutex<Vec<InForce>>,
    /// Keys begin with the text.
    appliers: Vec<(&'static str, Apply)>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl Reloader {
    /// Returns what reads the configuration as `args` say; `config` is in force.
    pub(crate) fn new(args: ServeArgs, fs: Arc<dyn Fs>, config: &Config) -> Self {
        let in_force = Mutex::new(config.in_force.clone());
        Self { args, fs, in_force, appliers: Vec::new() }
    }

    /// Lets `apply` take over the keys that begin with `prefix` while the program runs.
    pub(crate) fn on_change(
        &mut self,
        prefix: &'static str,
        apply: impl Fn(&Config) -> anyhow::Result<()> + Send + Sync + 'static,
    ) {
        self.appliers.push((prefix, Box::new(apply)));
    }

    fn apply(&self, config: &Config) -> Result<Reloaded, String> {
        let mut in_force = self.in_force.lock();
        let changed: Vec<&InForce> = config
            .in_force
            .iter()
            .filter(|new| !in_force.iter().any(|old| old.is_same(new)))
            .collect();
        for (prefix, apply) in &self.appliers {
            if changed.iter().any(|key| key.path.starts_with(prefix)) {
                apply(config).map_err(|error| format!("{error:#}"))?;
            }
        }
        let (applied, needs_restart): (Vec<&InForce>, Vec<&InForce>) =
            changed.into_iter().partition(|key| self.can_change(&key.path));
        let paths = |keys: &[&InForce]| keys.iter().map(|key| key.path.clone()).collect();
        let reloaded = Reloaded { applied: paths(&applied), needs_restart: paths(&needs_restart) };
        for old in in_force.iter_mut() {
            if let Some(new) = applied.iter().find(|new| new.path == old.path) {
                *old = (*new).clone();
            }
        }
        Ok(reloaded)
    }

    fn can_change(&self, path: &str) -> bool {
        self.appliers.iter().any(|(prefix, _)| path.starts_with(prefix))
    }
}

impl Configuration for Reloader {
    fn in_force(&self) -> Vec<SettingInForce> {
        let in_force = self.in_force.lock();
        let shown = in_force.iter().map(|key| SettingInForce {
            path: key.path.clone(),
            value: key.value.clone(),
            origin: key.origin.clone(),
            reloadable: self.can_change(&key.path),
        });
        shown.collect()
    }

    fn reload(&self) -> Result<Reloaded, String> {
        let layers = self.args.clone().layers(self.fs.as_ref());
        let layers = layers.map_err(|failure| failure.to_string())?;
        let config = Config::load(layers, self.fs.as_ref()).map_err(|error| error.to_string())?;
        let reloaded = self.apply(&config)?;
        let Reloaded { applied, needs_restart } = &reloaded;
        tracing::info!(?applied, ?needs_restart, "configuration read again");
        Ok(reloaded)
    }
}

/// Reads the configuration again at each SIGHUP, until the program stops.
pub(crate) async fn on_hangup(
    reloader: Arc<Reloader>,
    mut hangup: Signal,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = hangup.recv() => {}
        }
        let again = Arc::clone(&reloader);
        // Reading files blocks.
        let read = tokio::task::spawn_blocking(move || again.reload()).await;
        if let Ok(Err(error)) = read {
            tracing::error!(error, "configuration has mistakes; the old one stays in force");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;
    use platform::SimFs;

    use super::*;
    use crate::cli::{Cli, Command};

    fn write(fs: &SimFs, text: &str) {
        let path = Path::new("tinyobs.yaml");
        if fs.exists(path).expect("a disk") {
            fs.remove_file(path).expect("a file");
        }
        let mut file = fs.create(path).expect("a file");
        file.append(text.as_bytes()).expect("written");
    }

    fn reloader(fs: &Arc<SimFs>) -> Reloader {
        let cli = Cli::parse_from(["tinyobs", "serve", "--config", "tinyobs.yaml"]);
        let Command::Serve(args) = cli.command else { panic!("it says serve") };
        let layers = args.clone().layers(fs.as_ref()).expect("layers");
        let config = Config::load(layers, fs.as_ref()).expect("valid");
        Reloader::new(args, Arc::clone(fs) as _, &config)
    }

    #[test]
    fn what_can_change_is_applied_and_the_rest_is_named() {
        let fs = SimFs::new();
        write(&fs, "log: {level: info}");
        let mut reloader = reloader(&fs);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let see = Arc::clone(&seen);
        reloader.on_change("log.level", move |config| {
            see.lock().push(config.log.level.clone());
            Ok(())
        });
        assert_eq!(reloader.reload(), Ok(Reloaded::default()), "nothing has changed");
        write(&fs, "{log: {level: debug}, query: {timeout: 3s}}");
        let expected = Reloaded {
            applied: vec!["log.level".to_owned()],
            needs_restart: vec!["query.timeout".to_owned()],
        };
        assert_eq!(reloader.reload(), Ok(expected.clone()));
        assert_eq!(*seen.lock(), ["debug"]);
        let again = reloader.reload().expect("valid");
        assert_eq!(again.needs_restart, expected.needs_restart, "it still waits for a restart");
        assert!(again.applied.is_empty());
        let level = reloader.in_force().into_iter().find(|key| key.path == "log.level");
        assert_eq!(level.and_then(|key| key.value).as_deref(), Some("debug"));
    }

    #[test]
    fn mistakes_leave_the_old_configuration_in_force() {
        let fs = SimFs::new();
        write(&fs, "log: {level: info}");
        let mut reloader = reloader(&fs);
        reloader.on_change("log.level", |_| anyhow::bail!("not this"));
        write(&fs, "{log: {level: debug}, query: {timeout: soon}}");
        let error = reloader.reload().expect_err("a mistake");
        assert!(error.contains("query.timeout"), "{error}");
        write(&fs, "log: {level: debug}");
        assert_eq!(reloader.reload(), Err("not this".to_owned()));
        let level = reloader.in_force().into_iter().find(|key| key.path == "log.level");
        assert_eq!(level.and_then(|key| key.value).as_deref(), Some("info"));
    }
}
