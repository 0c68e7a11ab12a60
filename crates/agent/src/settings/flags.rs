//! The command line.

/// The flags of `tinyobs-agent`. Each one but the token can also be given as a variable of the environment.
#[derive(Clone, Debug, Default, clap::Parser)]
#[command(
    name = "tinyobs-agent",
    version,
    about = "Reports what containerd pulls on this node to a TinyObs server.",
    after_help = "The token comes from --token-file or the variable TINYOBS_AGENT_TOKEN. \
                  Exit codes: 0 stopped, 1 cannot work, 2 wrong settings."
)]
pub struct Flags {
    /// The server, such as https://tinyobs.example:8080 [TINYOBS_AGENT_SERVER, PULLTRACE_SERVER_URL]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The name of this node [TINYOBS_AGENT_NODE, PULLTRACE_NODE_NAME]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The name of this cluster, where a server has several [TINYOBS_AGENT_CLUSTER]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The socket of containerd; looked for in the usual places unless given [TINYOBS_AGENT_CONTAINERD_SOCKET, PULLTRACE_CONTAINERD_SOCKET]
    #[arg(long, value_name = "PATH")]
    pub containerd_socket: Option<String>,
    /// The namespace of containerd, k8s.io unless given [TINYOBS_AGENT_CONTAINERD_NAMESPACE]
    #[arg(long, value_name = "NAME")]
    pub containerd_namespace: Option<String>,
    /// Another folder in which the socket may lie; may be repeated [TINYOBS_AGENT_ALLOW_SOCKET_FOLDERS, with commas]
    #[arg(long, value_name = "PATH")]
    pub allow_socket_folder: Vec<String>,
    /// Look at the files of containerd's content store instead of asking containerd [TINYOBS_AGENT_CONTENT_FOLDER]
    #[arg(long, value_name = "PATH")]
    pub content_folder: Option<String>,
    /// The time between two reports, from 500ms to 5m, 1s unless given [TINYOBS_AGENT_INTERVAL, PULLTRACE_REPORT_INTERVAL]
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// A file with the token for the server [TINYOBS_AGENT_TOKEN_FILE]
    #[arg(long, value_name = "PATH")]
    pub token_file: Option<String>,
    /// Certificates to trust instead of the machine's, as PEM [TINYOBS_AGENT_CA_FILE]
    #[arg(long, value_name = "PATH")]
    pub ca_file: Option<String>,
    /// The agent's own certificate, as PEM [TINYOBS_AGENT_CERTIFICATE_FILE]
    #[arg(long, value_name = "PATH")]
    pub certificate_file: Option<String>,
    /// The key of that certificate, as PEM [TINYOBS_AGENT_KEY_FILE]
    #[arg(long, value_name = "PATH")]
    pub key_file: Option<String>,
    /// Send the token unencrypted even out of the cluster [TINYOBS_AGENT_INSECURE_HTTP]
    #[arg(long)]
    pub insecure_http: bool,
    /// Answer /healthz, /readyz and /metrics here; nowhere unless given [TINYOBS_AGENT_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// What is logged: error, warn, info or debug; info unless given [TINYOBS_AGENT_LOG_LEVEL, PULLTRACE_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// How lines of the log look: text or json; text unless given [TINYOBS_AGENT_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}
