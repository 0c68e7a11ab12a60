//! What an agent is told: flags before environment before defaults, all mistakes at once.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use report::{CLUSTER_BYTES_MAX, NODE_NAME_BYTES_MAX};
use secrecy::SecretString;

use crate::ContainerdSettings;
use crate::socket::{FOLDERS_MAX, SocketRules, may_be_allowed};

mod address;
mod duration;
mod flags;

#[cfg(test)]
mod tests;

pub use address::{AddressError, ServerAddress};
pub use flags::Flags;

/// Shortest time between two reports: Pulltrace's server takes two reports a second of a node.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(500);

/// Longest time between two reports: Pulltrace's server gives a node up after ten minutes.
pub(crate) const INTERVAL_MAX: Duration = Duration::from_secs(5 * 60);

/// The time between two reports unless it is set.
const INTERVAL_DEFAULT: &str = "1s";

/// The namespace of containerd in which Kubernetes keeps its images.
const NAMESPACE_DEFAULT: &str = "k8s.io";

/// Longest token, in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 4 << 10;

/// What an agent does.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whom it reports to.
    pub server: ServerAddress,
    /// The name of its node.
    pub node: String,
    /// The name of its cluster; may be empty.
    pub cluster: String,
    /// Where it looks.
    pub look: LookAt,
    /// The time between two reports while nothing happens.
    pub interval: Duration,
    /// What it shows the server.
    pub token: Token,
    /// Whom it trusts, and what it shows of itself, over TLS.
    pub tls: TlsFiles,
    /// Where it answers about itself; nowhere if `None`.
    pub listen: Option<SocketAddr>,
    /// What it logs.
    pub log: LogSettings,
}

/// Where pulls are seen.
#[derive(Clone, Debug)]
pub enum LookAt {
    /// The API of containerd.
    Containerd(ContainerdSettings),
    /// The folder of containerd's content store.
    ContentFolder {
        /// Where it is.
        folder: PathBuf,
        /// The namespace of containerd.
        namespace: String,
    },
}

/// The token for the server.
#[derive(Clone, Debug)]
pub enum Token {
    /// There is none.
    None,
    /// It never changes.
    Fixed(SecretString),
    /// It is in a file, which is read again now and then and when the server refuses.
    File(PathBuf),
}

/// Files with what TLS needs; they are read again now and then.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Certificates to trust instead of the machine's, as PEM.
    pub ca: Option<PathBuf>,
    /// The agent's certificate and key, as PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least important level.
    pub level: tracing::Level,
    /// Whether lines are JSON.
    pub json: bool,
}

/// What is wrong with the settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// Returns one sentence per mistake.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Settings {
    /// Returns what `flags` and the variables of `environment` say.
    ///
    /// # Errors
    ///
    /// All mistakes together.
    pub fn resolve(
        flags: &Flags,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Mistakes> {
        let mut given = Given { environment, mistakes: Vec::new() };
        let server = server(&mut given, flags);
        let node = node(&mut given, flags);
        let cluster = cluster(&mut given, flags);
        let look = look(&mut given, flags);
        let interval = interval(&mut given, flags);
        let token = token(&mut given, flags);
        let tls = tls(&mut given, flags);
        let listen = listen(&mut given, flags);
        let log = log(&mut given, flags);
        let insecure =
            given.truth(flags.insecure_http, "--insecure-http", "TINYOBS_AGENT_INSECURE_HTTP");
        if let Some(server) = &server
            && !matches!(token, Token::None)
            && exposes(server)
            && !insecure
        {
            given.mistake(format!(
                "--server: the token would go to {server} unencrypted: use https, or --insecure-http if everybody on the way may read it"
            ));
        }
        match (server, given.mistakes) {
            (Some(server), mistakes) if mistakes.is_empty() => {
                Ok(Self { server, node, cluster, look, interval, token, tls, listen, log })
            }
            (_, mistakes) => Err(Mistakes(mistakes)),
        }
    }

    /// Returns what somebody should know before the agent starts.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if exposes(&self.server) {
            warnings.push("reports leave the cluster unencrypted: use https for --server");
        }
        if !self.server.is_encrypted() && (self.tls.ca.is_some() || self.tls.identity.is_some()) {
            warnings.push("certificates are of no use while --server begins with http://");
        }
        warnings
    }
}

fn exposes(server: &ServerAddress) -> bool {
    !server.is_encrypted() && !server.is_near()
}

/// What was given, and what is wrong with it.
struct Given<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<String>,
}

impl Given<'_> {
    fn mistake(&mut self, mistake: String) {
        self.mistakes.push(mistake);
    }

    /// Returns the value that counts and the name under which it was given. An empty variable says nothing.
    fn text<'n>(
        &self,
        flag: Option<&String>,
        name: &'n str,
        variables: &[&'n str],
    ) -> Option<(String, &'n str)> {
        if let Some(value) = flag {
            return Some((value.clone(), name));
        }
        variables.iter().find_map(|&variable| {
            let value = (self.environment)(variable).filter(|value| !value.is_empty())?;
            Some((value, variable))
        })
    }

    fn path(&self, flag: Option<&String>, name: &str, variable: &str) -> Option<PathBuf> {
        self.text(flag, name, &[variable]).map(|(path, _)| PathBuf::from(path))
    }

    fn truth(&mut self, flag: bool, name: &str, variable: &str) -> bool {
        if flag {
            return true;
        }
        match self.text(None, name, &[variable]) {
            None => false,
            Some((value, _)) => match value.as_str() {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => {
                    self.mistake(format!("{variable}: '{value}' is neither true nor false"));
                    false
                }
            },
        }
    }
}

fn server(given: &mut Given<'_>, flags: &Flags) -> Option<ServerAddress> {
    let variables = ["TINYOBS_AGENT_SERVER", "PULLTRACE_SERVER_URL"];
    let Some((text, name)) = given.text(flags.server.as_ref(), "--server", &variables) else {
        given.mistake("--server: say whom to report to, such as http://tinyobs:8080".to_owned());
        return None;
    };
    match ServerAddress::parse(&text) {
        Ok(address) => Some(address),
        Err(AddressError::Credentials) => {
            given.mistake(format!("{name}: {}", AddressError::Credentials));
            None
        }
        Err(error) => {
            given.mistake(format!("{name}: '{text}' {error}"));
            None
        }
    }
}

fn node(given: &mut Given<'_>, flags: &Flags) -> String {
    let variables = ["TINYOBS_AGENT_NODE", "PULLTRACE_NODE_NAME"];
    let Some((node, name)) = given.text(flags.node.as_ref(), "--node", &variables) else {
        given.mistake("--node: say the name of this node".to_owned());
        return String::new();
    };
    if node.is_empty() || node.len() > NODE_NAME_BYTES_MAX {
        given.mistake(format!("{name}: a name of 1 to {NODE_NAME_BYTES_MAX} bytes is needed"));
    }
    node
}

fn cluster(given: &mut Given<'_>, flags: &Flags) -> String {
    let variables = ["TINYOBS_AGENT_CLUSTER"];
    let (cluster, name) =
        given.text(flags.cluster.as_ref(), "--cluster", &variables).unwrap_or_default();
    if cluster.len() > CLUSTER_BYTES_MAX {
        given.mistake(format!("{name}: at most {CLUSTER_BYTES_MAX} bytes are allowed"));
    }
    cluster
}

fn look(given: &mut Given<'_>, flags: &Flags) -> LookAt {
    let folder = given.path(
        flags.content_folder.as_ref(),
        "--content-folder",
        "TINYOBS_AGENT_CONTENT_FOLDER",
    );
    let variables = ["TINYOBS_AGENT_CONTAINERD_SOCKET", "PULLTRACE_CONTAINERD_SOCKET"];
    let socket = given.text(flags.containerd_socket.as_ref(), "--containerd-socket", &variables);
    let allowed = allowed_folders(given, flags);
    let variables = ["TINYOBS_AGENT_CONTAINERD_NAMESPACE"];
    let namespace = given
        .text(flags.containerd_namespace.as_ref(), "--containerd-namespace", &variables)
        .map_or_else(|| NAMESPACE_DEFAULT.to_owned(), |(namespace, _)| namespace);
    if let Some(folder) = folder {
        if let Some((_, name)) = socket {
            given.mistake(format!("{name}: not together with --content-folder"));
        }
        if !folder.is_absolute() {
            given.mistake("--content-folder: the path must be absolute".to_owned());
        }
        return LookAt::ContentFolder { folder, namespace };
    }
    let path = socket.map(|(path, name)| {
        if !path.starts_with('/') {
            given.mistake(format!("{name}: the path must be absolute"));
        }
        PathBuf::from(path)
    });
    if !namespace.bytes().all(|byte| byte.is_ascii_graphic()) {
        given.mistake("--containerd-namespace: letters, digits and signs of ASCII only".to_owned());
    }
    let socket = SocketRules::new(path, allowed);
    LookAt::Containerd(ContainerdSettings { socket, namespace })
}

fn allowed_folders(given: &mut Given<'_>, flags: &Flags) -> Vec<PathBuf> {
    let variables = ["TINYOBS_AGENT_ALLOW_SOCKET_FOLDERS"];
    let folders: Vec<PathBuf> = if flags.allow_socket_folder.is_empty() {
        let list = given.text(None, "", &variables).unwrap_or_default().0;
        let folders = list.split(',').map(str::trim).filter(|folder| !folder.is_empty());
        folders.map(PathBuf::from).collect()
    } else {
        flags.allow_socket_folder.iter().map(PathBuf::from).collect()
    };
    if folders.len() > FOLDERS_MAX {
        given.mistake(format!("--allow-socket-folder: at most {FOLDERS_MAX} folders are allowed"));
    }
    for folder in folders.iter().filter(|folder| !may_be_allowed(folder)) {
        let folder = folder.display();
        given.mistake(format!(
            "--allow-socket-folder: '{folder}' must be absolute, without '..', and not the root"
        ));
    }
    folders
}

fn interval(given: &mut Given<'_>, flags: &Flags) -> Duration {
    let variables = ["TINYOBS_AGENT_INTERVAL", "PULLTRACE_REPORT_INTERVAL"];
    let (text, name) = given
        .text(flags.interval.as_ref(), "--interval", &variables)
        .unwrap_or_else(|| (INTERVAL_DEFAULT.to_owned(), ""));
    match duration::parse(&text) {
        None => given.mistake(format!("{name}: '{text}' is no duration, such as 1s or 1m30s")),
        Some(interval) if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) => return interval,
        Some(_) => given.mistake(format!(
            "{name}: '{text}' is not between {} ms and {} s",
            INTERVAL_MIN.as_millis(),
            INTERVAL_MAX.as_secs()
        )),
    }
    INTERVAL_MIN
}

fn token(given: &mut Given<'_>, flags: &Flags) -> Token {
    let file = given.path(flags.token_file.as_ref(), "--token-file", "TINYOBS_AGENT_TOKEN_FILE");
    let variables = ["TINYOBS_AGENT_TOKEN", "PULLTRACE_AGENT_TOKEN"];
    let fixed = given.text(None, "", &variables);
    match (file, fixed) {
        (Some(_), Some((_, name))) => {
            given.mistake(format!("{name}: not together with --token-file"));
            Token::None
        }
        (Some(file), None) => Token::File(file),
        (None, Some((token, name))) => match read_token(&token) {
            Ok(token) => Token::Fixed(token),
            Err(error) => {
                given.mistake(format!("{name}: {error}"));
                Token::None
            }
        },
        (None, None) => Token::None,
    }
}

/// A token cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("the token is empty")]
    Empty,
    /// It is too long.
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It has characters that no header can have.
    #[error("the token has other characters than those of ASCII that can be seen")]
    Characters,
}

/// Returns a token without the white space around it, such as the end of the line in a file.
pub(crate) fn read_token(text: &str) -> Result<SecretString, TokenError> {
    let token = text.trim();
    if token.is_empty() {
        return Err(TokenError::Empty);
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong);
    }
    if !token.is_ascii() || HeaderValue::from_str(token).is_err() {
        return Err(TokenError::Characters);
    }
    Ok(token.into())
}

fn tls(given: &mut Given<'_>, flags: &Flags) -> TlsFiles {
    let ca = given.path(flags.ca_file.as_ref(), "--ca-file", "TINYOBS_AGENT_CA_FILE");
    let certificate = given.path(
        flags.certificate_file.as_ref(),
        "--certificate-file",
        "TINYOBS_AGENT_CERTIFICATE_FILE",
    );
    let key = given.path(flags.key_file.as_ref(), "--key-file", "TINYOBS_AGENT_KEY_FILE");
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            given.mistake("--certificate-file: needs --key-file".to_owned());
            None
        }
        (None, Some(_)) => {
            given.mistake("--key-file: needs --certificate-file".to_owned());
            None
        }
    };
    TlsFiles { ca, identity }
}

fn listen(given: &mut Given<'_>, flags: &Flags) -> Option<SocketAddr> {
    let (text, name) = given.text(flags.listen.as_ref(), "--listen", &["TINYOBS_AGENT_LISTEN"])?;
    // As with Pulltrace's server, a port alone means every address.
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.clone() };
    match full.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            given.mistake(format!("{name}: '{text}' must look like 127.0.0.1:9810 or :9810"));
            None
        }
    }
}

fn log(given: &mut Given<'_>, flags: &Flags) -> LogSettings {
    let variables = ["TINYOBS_AGENT_LOG_LEVEL", "PULLTRACE_LOG_LEVEL"];
    let mut log = LogSettings { level: tracing::Level::INFO, json: false };
    if let Some((text, name)) = given.text(flags.log_level.as_ref(), "--log-level", &variables) {
        match text.to_ascii_lowercase().as_str() {
            "error" => log.level = tracing::Level::ERROR,
            "warn" => log.level = tracing::Level::WARN,
            "info" => log.level = tracing::Level::INFO,
            "debug" => log.level = tracing::Level::DEBUG,
            _ => given.mistake(format!("{name}: '{text}' is not error, warn, info or debug")),
        }
    }
    let variables = ["TINYOBS_AGENT_LOG_FORMAT"];
    if let Some((text, name)) = given.text(flags.log_format.as_ref(), "--log-format", &variables) {
        match text.as_str() {
            "text" => {}
            "json" => log.json = true,
            _ => given.mistake(format!("{name}: '{text}' is neither text nor json")),
        }
    }
    log
}
