//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use access::{Permission, Role};
use clap::{Args, Parser, Subcommand, ValueEnum};
use model::TenantId;

use crate::Failure;
use crate::config::{Environment, Layers, Setting};

/// Lightweight, self-hosted observability: metrics with PromQL and a page, in one program.
#[derive(Debug, Parser)]
#[command(name = "tinyobs", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 the operation failed, 2 wrong usage or configuration, 3 verify found damage.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server.
    Serve(ServeArgs),
    /// Evaluate a PromQL expression on a running server.
    Query(QueryArgs),
    /// Follow the events that a running server takes in, or print those that it has.
    Tail(TailArgs),
    /// Show the image pulls that a running server knows, as they go on, and what pods wait for.
    Pulls(PullsArgs),
    /// Look at events that a running server could not process, and decide about them.
    DeadLetters {
        #[command(subcommand)]
        command: DeadLettersCommand,
    },
    /// Manage API keys, on the machine of the state database, whether a server runs or not.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Manage the people who log in, on the machine of the state database, whether a server runs or not.
    Users {
        #[command(subcommand)]
        command: UsersCommand,
    },
    /// Check a file without running anything.
    Check {
        #[command(subcommand)]
        what: CheckTarget,
    },
    /// Read the metrics of all tenants below a data folder and report damage. No server may be using it.
    Verify(VerifyArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print it, this once, on standard output.
    Create(CreateKeyArgs),
    /// List keys.
    List(ListKeysArgs),
    /// Replace a key: print a new one with the same rights; the old one lives on for a while.
    Rotate(RotateKeyArgs),
    /// End a key. A running server knows within a second.
    Revoke(RevokeKeyArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters, the newest first, and how many there are.
    List(ListDeadLettersArgs),
    /// Show one with its event, or with its bytes where it is none.
    Show(OneDeadLetterArgs),
    /// Process one again.
    Replay(OneDeadLetterArgs),
    /// Give one up for good.
    Discard(DiscardDeadLetterArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// Add a person; the password is read from standard input or a file.
    Create(CreateUserArgs),
    /// List people.
    List(ListUsersArgs),
    /// Give a person another password and end their sessions.
    SetPassword(SetPasswordArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckTarget {
    /// Check a configuration file, together with the environment.
    Config(CheckConfigArgs),
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file (YAML). Defaults and keys: config.default.yaml.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder; the same as --set data_dir=DIR.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Override one key, such as metrics.retention.raw=30d. Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<Setting>,
}

/// Which server to ask, and as whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// The server's address; default: what TINYOBS_URL says, or http://127.0.0.1:8080.
    #[arg(long = "server", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// File with the API key; the key may also be in TINYOBS_KEY.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Tenant to ask, for those who may act in every tenant; default: that of the key.
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    pub(crate) tenant: Option<TenantId>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Address and port to listen on; the same as --set server.listen=ADDRESS.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Encryption: none, files, or self-signed for development; the same as --set server.tls.mode=MODE.
    #[arg(long, value_name = "MODE")]
    pub(crate) tls: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// PromQL expression.
    pub(crate) expression: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Evaluation time (RFC 3339 or Unix seconds); default: now.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["start", "end", "step"])]
    pub(crate) time: Option<String>,
    /// Start of a range query (RFC 3339 or Unix seconds).
    #[arg(long, value_name = "TIME", requires_all = ["end", "step"])]
    pub(crate) start: Option<String>,
    /// End of a range query.
    #[arg(long, value_name = "TIME", requires = "start")]
    pub(crate) end: Option<String>,
    /// Resolution of a range query, such as 15s.
    #[arg(long, value_name = "DURATION", requires = "start")]
    pub(crate) step: Option<String>,
    /// Print the server's JSON answer as it is.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Of this app only. Repeatable, as the other names are.
    #[arg(long, value_name = "APP")]
    pub(crate) app: Vec<String>,
    /// Of this category only, such as screen.
    #[arg(long, value_name = "CATEGORY")]
    pub(crate) category: Vec<String>,
    /// Of this type only, such as view.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Vec<String>,
    /// From this device only.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Vec<String>,
    /// What must be in the event, such as '$.screenView[?@ == "Home"]'.
    #[arg(long, value_name = "JSONPATH")]
    pub(crate) path: Option<String>,
    /// Where to begin: latest, earliest, an offset, or a time (RFC 3339 or Unix milliseconds); default: latest, and
    /// earliest with --no-follow.
    #[arg(long, value_name = "PLACE")]
    pub(crate) from: Option<String>,
    /// Print what is there and end.
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// Events after which to end, up to 10000; default with --no-follow: 1000.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) limit: Option<u64>,
    /// Print each event as the server sends it, a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to show of image pulls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullsView {
    /// The pulls.
    #[default]
    Pulls,
    /// The pods that wait for images, and what for.
    Pods,
    /// The nodes, and how their agents are.
    Nodes,
}

#[derive(Debug, Args)]
pub(crate) struct PullsArgs {
    /// What to show.
    #[arg(value_enum, default_value_t)]
    pub(crate) view: PullsView,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Of this cluster only.
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// On this node only.
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Of images with this in their name only.
    #[arg(long, value_name = "TEXT")]
    pub(crate) image: Option<String>,
    /// For pods of this namespace only.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// For this pod only.
    #[arg(long, value_name = "POD")]
    pub(crate) pod: Option<String>,
    /// In this state only: queued, resolving, downloading, unpacking, completed, failed or unknown. Repeatable.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<String>,
    /// Print what there is and end; the default where the output is no terminal.
    #[arg(long, conflicts_with = "watch")]
    pub(crate) once: bool,
    /// Go on: a table that is drawn anew, or a line for each change where the output is no terminal.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Also pulls that ended long ago; implies --once.
    #[arg(long, conflicts_with = "watch")]
    pub(crate) history: bool,
    /// Most pulls that are printed with --history, up to 1000.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) limit: u64,
    /// Print JSON as the server sends it.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListDeadLettersArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Of this consumer only, or of `gateway`.
    #[arg(long, value_name = "CONSUMER")]
    pub(crate) consumer: Option<String>,
    /// Older than this one only.
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<u64>,
    /// Most that are listed, up to 200.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(crate) limit: u64,
    /// Print the server's JSON answer as it is.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneDeadLetterArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Its identifier, as `dead-letters list` shows it.
    pub(crate) id: u64,
    /// Print the server's JSON answer as it is.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DiscardDeadLetterArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Its identifier, as `dead-letters list` shows it.
    pub(crate) id: u64,
}

#[derive(Debug, Args)]
pub(crate) struct CreateKeyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// What people call it.
    #[arg(long)]
    pub(crate) name: String,
    /// What it allows: admin, editor, viewer, ingest or agent.
    #[arg(long, required_unless_present = "scopes")]
    pub(crate) role: Option<Role>,
    /// What else it allows, such as metrics:write. Repeatable.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub(crate) scopes: Vec<Permission>,
    /// Whose data it reads and writes.
    #[arg(long, value_parser = tenant, default_value_t = TenantId::default_tenant())]
    pub(crate) tenant: TenantId,
    /// The application that events must belong to; default: any.
    #[arg(long)]
    pub(crate) app: Option<String>,
    /// How long it holds, such as 90d; default: until it is revoked.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) expires: Option<Duration>,
    /// Let it act in every tenant, and with the role admin manage the server.
    #[arg(long)]
    pub(crate) all_tenants: bool,
    /// Print the key with all that is known about it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListKeysArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Those of one tenant; default: of all.
    #[arg(long, value_parser = tenant)]
    pub(crate) tenant: Option<TenantId>,
    /// Those that have ended, too.
    #[arg(long)]
    pub(crate) all: bool,
    /// Print all that is known as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RotateKeyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The key's identifier, as `keys list` shows it.
    pub(crate) id: String,
    /// How long the old key lives on, at most 30d.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h")]
    pub(crate) overlap: Duration,
    /// Print the new key with all that is known about it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeKeyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The key's identifier, as `keys list` shows it.
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct CreateUserArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The name to log in with.
    #[arg(long)]
    pub(crate) name: String,
    /// What to call them.
    #[arg(long, default_value = "")]
    pub(crate) display_name: String,
    /// What they may do: admin, editor or viewer.
    #[arg(long)]
    pub(crate) role: Role,
    /// The tenant whose data they see.
    #[arg(long, value_parser = tenant, default_value_t = TenantId::default_tenant())]
    pub(crate) tenant: TenantId,
    /// Let them act in every tenant, and with the role admin manage the server.
    #[arg(long)]
    pub(crate) all_tenants: bool,
    /// File whose first line is the password; default: standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ListUsersArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Those of one tenant; default: of all.
    #[arg(long, value_parser = tenant)]
    pub(crate) tenant: Option<TenantId>,
    /// Print all that is known as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SetPasswordArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The name that the person logs in with.
    pub(crate) name: String,
    /// File whose first line is the password; default: standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

fn tenant(text: &str) -> Result<TenantId, String> {
    TenantId::new(text).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let millis = model::parse_duration_ms(text).ok_or("must be a duration such as 24h or 90d")?;
    Ok(Duration::from_millis(millis))
}

#[derive(Debug, Args)]
pub(crate) struct CheckConfigArgs {
    /// Configuration file (YAML).
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Print the mistakes as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl ConfigArgs {
    /// Returns the layers that these flags and the environment make.
    ///
    /// # Errors
    ///
    /// The configuration file cannot be read.
    pub(crate) fn layers(self, fs: &dyn platform::Fs) -> Result<Layers, Failure> {
        let file = match &self.config {
            None => None,
            Some(path) => Some((path.display().to_string(), read_config(fs, path)?)),
        };
        let mut settings = self.settings;
        if let Some(dir) = self.data_dir {
            let value = dir.to_string_lossy().into_owned();
            settings.push(Setting { path: "data_dir".to_owned(), value, flag: "--data-dir" });
        }
        Ok(Layers { file, environment: environment(), settings })
    }
}

impl ServeArgs {
    /// Returns the layers that these flags, the environment and the configuration file make.
    ///
    /// # Errors
    ///
    /// The configuration file cannot be read.
    pub(crate) fn layers(self, fs: &dyn platform::Fs) -> Result<Layers, Failure> {
        let mut layers = self.config.layers(fs)?;
        if let Some(listen) = self.listen {
            let path = "server.listen".to_owned();
            layers.settings.push(Setting { path, value: listen.to_string(), flag: "--listen" });
        }
        if let Some(value) = self.tls {
            let path = "server.tls.mode".to_owned();
            layers.settings.push(Setting { path, value, flag: "--tls" });
        }
        Ok(layers)
    }
}

/// Most bytes of a configuration file.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// Returns the text of a configuration file.
///
/// # Errors
///
/// It cannot be read, or is not UTF-8.
pub(crate) fn read_config(
    fs: &dyn platform::Fs,
    path: &std::path::Path,
) -> Result<String, Failure> {
    let bytes = fs.read(path, CONFIG_BYTES_MAX).map_err(|error| Failure::Usage(error.into()))?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::Usage(anyhow::anyhow!("configuration file '{}' is not UTF-8", path.display()))
    })
}

/// Returns the process's environment; variables that are not UTF-8 cannot be ours.
pub(crate) fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
