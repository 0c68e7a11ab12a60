//! Each case is one set of layers and what comes out.

use std::path::Path;

use secrecy::ExposeSecret as _;

use super::*;

fn layers(file: &str, environment: &[(&str, &str)], settings: &[&str]) -> Layers {
    Layers {
        file: Some(("tinyobs.yaml".to_owned(), file.to_owned())),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        settings: settings.iter().map(|text| text.parse().expect("key=value")).collect(),
    }
}

fn load(layers: Layers) -> Result<Config, ConfigError> {
    let fs = platform::SimFs::new();
    for (path, text) in [("run/key", "a secret\n"), ("run/empty", "\n")] {
        fs.create_dir_all(Path::new("run")).expect("a folder");
        fs.create(Path::new(path)).expect("a file").append(text.as_bytes()).expect("written");
    }
    Config::load(layers, fs.as_ref())
}

fn mistakes(layers: Layers) -> Vec<String> {
    let ConfigError(mistakes) = load(layers).expect_err("a mistake");
    mistakes
        .into_iter()
        .map(|Mistake { path, origin, message }| format!("{path} ({origin}): {message}"))
        .collect()
}

#[test]
fn the_committed_defaults_are_valid() {
    let config = load(Layers::default()).expect("valid");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.metrics, tsdb::StoreConfig::default(), "the library's own defaults");
    assert!(config.collector.enabled);
}

#[test]
fn later_layers_win() {
    let file = "metrics:\n  retention:\n    raw: 1d\n  limits:\n    series: 5\n";
    let environment =
        [("TINYOBS_METRICS__RETENTION__RAW", "2d"), ("TINYOBS_METRICS__BLOCK_RANGE", "1h")];
    let config = load(layers(file, &environment, &["metrics.retention.raw=0"])).expect("valid");
    assert_eq!(config.metrics.retention_ms, 0);
    assert_eq!(config.metrics.block_range_ms, 3_600_000);
    assert_eq!(config.metrics.series_max, 5);
}

#[test]
fn the_variables_of_the_originals_are_understood() {
    let environment = [
        ("PORT", "9000"),
        ("TINYOBS_MAX_CARDINALITY", "7"),
        ("TINYOBS_MAX_STORAGE_GB", "2"),
        ("TINYOBS_ENDPOINT", "http://elsewhere"),
        ("TINYOBS_KEY", "of a client"),
        ("TINYOBS_URL", "of a client"),
        ("HOME", "/root"),
    ];
    let config = load(layers("", &environment, &[])).expect("valid");
    assert_eq!(config.server.listen.port(), 9000);
    assert_eq!(config.metrics.series_max, 7);
    assert_eq!(config.storage_bytes_max, 2 << 30);
}

#[test]
fn all_mistakes_are_reported_together_with_path_and_origin() {
    let file = "metrics:\n  retenton: 1d\n  durability: sometimes\nhttp: 5\n";
    let found =
        mistakes(layers(file, &[("TINYOBS_QUERY__TIMEOUT", "soon")], &["log.format=xml", "log=1"]));
    assert_eq!(
        found,
        [
            "http (tinyobs.yaml): must be a mapping of keys",
            "log (--set): is a group of keys, set one of them",
            "log.format (--set): 'xml' is not one of human, json",
            "metrics.durability (tinyobs.yaml): 'sometimes' is not one of fsync, os",
            "metrics.retenton (tinyobs.yaml): unknown key 'retenton', known here: \
             block_range, durability, future_window, head_bytes_max, limits, out_of_order_window, retention, \
             storage_bytes_max",
            "query.timeout (environment TINYOBS_QUERY__TIMEOUT): 'soon' is not a duration such as 30s or 14d",
            "query.timeout (environment TINYOBS_QUERY__TIMEOUT): must be more than 0",
        ]
    );
}

#[test]
fn an_open_address_must_be_asked_for() {
    let found = mistakes(layers("", &[], &["server.listen=0.0.0.0:8080"]));
    assert!(found[0].starts_with("server.listen (--set): without login only a loopback address"));
    let settings = ["server.listen=0.0.0.0:8080", "auth.mode=none"];
    assert!(load(layers("", &[], &settings)).is_ok());
}

#[test]
fn files_for_tls_are_named_exactly_when_they_are_used() {
    for (settings, expected) in [
        (
            &["server.tls.mode=files", "server.tls.key_file=k"][..],
            "server.tls.certificate_file (default): must name a file when server.tls.mode is files",
        ),
        (
            &["server.tls.key_file=k"],
            "server.tls.key_file (--set): is used only when server.tls.mode is files",
        ),
        (
            &["server.tls.client_auth=required"],
            "server.tls.client_auth (--set): needs TLS: set server.tls.mode",
        ),
        (
            &["server.tls.mode=self-signed", "server.tls.client_auth=optional"],
            "server.tls.client_ca_file (default): must name a file when clients show certificates",
        ),
        (
            &["server.tls.client_ca_file=c"],
            "server.tls.client_ca_file (--set): is used only when server.tls.client_auth is optional \
             or required",
        ),
    ] {
        assert_eq!(mistakes(layers("", &[], settings)), [expected]);
    }
}

#[test]
fn origins_that_let_any_page_act_for_people_are_refused() {
    for (settings, expected) in [
        (
            vec![
                "auth.mode=keys",
                "http.cors.allowed_origins=[\"*\"]",
                "http.cors.allow_credentials=true",
            ],
            "http.cors.allowed_origins (--set): must list the origins one by one",
        ),
        (
            vec!["http.cors.allowed_origins=[\"*\"]"],
            "http.cors.allowed_origins (--set): would let every page",
        ),
        (
            vec!["http.cors.allowed_origins=[dash.example]"],
            "http.cors.allowed_origins (--set): 'dash.example' must be an origin",
        ),
    ] {
        let found = mistakes(layers("", &[], &settings));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{settings:?}: {found:?}");
    }
    let settings = ["auth.mode=keys", "http.cors.allowed_origins=[\"*\"]"];
    assert!(load(layers("", &[], &settings)).expect("valid").http.cross_origin.is_open());
}

#[test]
fn more_queries_at_a_time_than_threads_are_refused() {
    assert!(load(layers("", &[], &["query.concurrency=1024"])).is_ok());
    let found = mistakes(layers("", &[], &["query.concurrency=1025"]));
    assert_eq!(found, ["query.concurrency (--set): must be at most 1024"]);
}

#[test]
fn a_file_that_is_no_yaml_is_a_mistake_without_path() {
    let found = mistakes(layers("a: [", &[], &[]));
    assert!(found[0].starts_with(" (tinyobs.yaml): "), "{found:?}");
}

#[test]
fn secrets_come_from_files_or_the_environment_and_are_never_shown() {
    let file = "auth:\n  mode: keys\n  bootstrap_admin_key_file: run/key\n";
    let config = load(layers(file, &[], &[])).expect("valid");
    let key = config.auth.bootstrap_admin_key.as_ref().expect("a key");
    assert_eq!(key.expose_secret(), "a secret");
    assert!(!format!("{config:?}").contains("a secret"));

    let environment = [("TINYOBS_AUTH__BOOTSTRAP_ADMIN_KEY", "hush")];
    let config = load(layers("auth:\n  mode: keys\n", &environment, &[])).expect("valid");
    let shown = config.in_force.iter().find(|key| key.path == "auth.bootstrap_admin_key");
    let shown = shown.expect("every key is listed");
    assert_eq!(
        (&shown.value, shown.origin.as_str()),
        (&None, "environment TINYOBS_AUTH__BOOTSTRAP_ADMIN_KEY")
    );
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn a_secret_that_cannot_be_had_is_a_mistake() {
    for (file, settings, expected) in [
        (
            "auth: {mode: keys, bootstrap_admin_key: a, bootstrap_admin_key_file: run/key}",
            vec![],
            "is given here and by auth.bootstrap_admin_key_file; remove one of them",
        ),
        ("auth: {mode: keys, bootstrap_admin_key_file: run/none}", vec![], "run/none"),
        ("auth: {mode: keys, bootstrap_admin_key_file: run/empty}", vec![], "empty or no text"),
        (
            "auth: {mode: keys}",
            vec!["auth.bootstrap_admin_key=a"],
            "must not be on the command line, which others can see",
        ),
        ("auth: {bootstrap_admin_key_file: run/key}", vec![], "must be keys"),
    ] {
        let found = mistakes(layers(file, &[], &settings));
        assert!(found.len() == 1 && found[0].contains(expected), "{file}: {found:?}");
        assert!(!found[0].contains("a secret"));
    }
}

/// A complete login at a provider, with `changes` over it.
fn oidc(changes: &[&str]) -> Layers {
    let file = "
auth:
  mode: keys
  oidc:
    issuer: https://login.example/
    client_id: tinyobs
    client_secret_file: run/key
    redirect_url: https://obs.example/v1/login/oidc/callback
    roles: [{value: operators, role: admin, all_tenants: true}, {value: staff, role: viewer, tenant: blue}]
";
    layers(file, &[], changes)
}

#[test]
fn a_login_at_a_provider_is_read_completely() {
    let config = load(oidc(&["auth.oidc.default_role=editor"])).expect("valid");
    let oidc = config.auth.oidc.as_ref().expect("a provider");
    assert_eq!(oidc.issuer.as_str(), "https://login.example/");
    assert_eq!(oidc.client_secret.as_ref().map(|secret| secret.expose_secret()), Some("a secret"));
    assert_eq!(oidc.scopes, ["profile", "email"]);
    let rules: Vec<String> = oidc
        .roles
        .rules
        .iter()
        .chain([&access::RoleRule {
            value: "others".to_owned(),
            grant: oidc.roles.default.clone().expect("a default"),
        }])
        .map(|access::RoleRule { value, grant }| {
            format!("{value}: {} in {} {}", grant.role, grant.tenant, grant.all_tenants)
        })
        .collect();
    let expected = [
        "operators: admin in default true",
        "staff: viewer in blue false",
        "others: editor in default false",
    ];
    assert_eq!(rules, expected);
    assert!(load(Layers::default()).expect("valid").auth.oidc.is_none());
    assert!(!format!("{config:?}").contains("a secret"));
}

#[test]
fn certificates_open_what_their_rules_say_where_they_are_asked_for() {
    let file = "auth: {mode: keys, certificates: [{name: node-*, role: agent, tenant: blue}]}\n";
    let tls = [
        "server.tls.mode=self-signed",
        "server.tls.client_auth=optional",
        "server.tls.client_ca_file=run/key",
    ];
    let config = load(layers(file, &[], &tls)).expect("valid");
    let [rule] = &config.auth.certificates[..] else { panic!("{:?}", config.auth.certificates) };
    assert_eq!((rule.name.as_str(), rule.grant.role), ("node-*", access::Role::Agent));
    for (settings, expected) in [
        (vec![], "auth.certificates (tinyobs.yaml): needs server.tls.client_auth"),
        (vec!["auth.mode=local"], "auth.mode (--set): must be keys for certificates"),
        (
            vec!["auth.certificates=[{name: a}]"],
            "auth.certificates[0] (--set): missing field `role`",
        ),
    ] {
        let found = mistakes(layers(file, &[], &settings));
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "{found:?}");
    }
}

#[test]
fn a_login_at_a_provider_that_cannot_work_is_refused() {
    for (change, expected) in [
        ("auth.mode=local", "auth.mode (--set): must be keys for people to log in"),
        ("auth.oidc.issuer=", "auth.oidc.issuer (--set): must be given for a login"),
        (
            "auth.oidc.issuer=http://login.example",
            "auth.oidc.issuer (--set): must begin with https",
        ),
        ("auth.oidc.issuer=login.example", "auth.oidc.issuer (--set): must be an absolute URL"),
        ("auth.oidc.client_id=", "auth.oidc.client_id (--set): must be given for a login"),
        ("auth.oidc.redirect_url=https://obs.example/", "auth.oidc.redirect_url (--set): must end"),
        (
            "auth.oidc.redirect_url=http://obs.example/v1/login/oidc/callback",
            "auth.oidc.redirect_url (--set): must begin with https",
        ),
        ("auth.oidc.roles=[]", "auth.oidc.roles (--set): must name who may come in"),
        ("auth.oidc.roles=[{value: a}]", "auth.oidc.roles[0] (--set): missing field `role`"),
        (
            "auth.oidc.roles=[{value: a, role: root}]",
            "auth.oidc.roles[0] (--set): 'root' is unknown",
        ),
        (
            "auth.oidc.roles=[{value: a, role: admin, tenant: a b}]",
            "auth.oidc.roles[0] (--set): a tenant's name has",
        ),
        ("auth.oidc.default_role=root", "auth.oidc.default_role (--set): 'root' is unknown"),
        ("auth.oidc.client_secret=hush", "auth.oidc.client_secret (--set): must not be on the"),
    ] {
        let found = mistakes(oidc(&[change]));
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "{change}: {found:?}");
    }
}

#[test]
fn the_limits_of_requests_are_those_of_the_library_and_can_be_changed() {
    let config = load(Layers::default()).expect("valid");
    let defaults = api::RequestLimits::default();
    assert_eq!(config.limits.address, defaults.address);
    assert_eq!(config.limits.logins, defaults.logins);
    assert_eq!(config.limits.keys, defaults.keys);
    assert_eq!(config.limits.tenants, defaults.tenants);
    assert_eq!(config.limits.proxies, defaults.proxies);

    let settings = [
        "limits.address.requests_per_second=0",
        "limits.key.samples_per_second=100",
        "limits.tenant.requests_per_second=2.5",
        "limits.tenant.requests_burst=7",
        "limits.tenant.bytes_per_day=1GiB",
        "limits.trusted_proxies=[10.0.0.0/8, 192.168.1.1]",
    ];
    let limits = load(layers("", &[], &settings)).expect("valid").limits;
    assert_eq!(limits.address, None);
    let burst = |limit: Option<access::RateLimit>| limit.map(access::RateLimit::burst);
    assert_eq!(burst(limits.keys.samples), Some(1000));
    assert_eq!(burst(limits.tenants.requests), Some(7));
    assert_eq!(limits.tenants.bytes_per_day_max, Some(1 << 30));
    assert!(limits.proxies.contains("10.1.2.3".parse().expect("an address")));

    let settings = [
        "limits.address.requests_per_second=-1",
        "limits.address.logins_burst=9999999999999",
        "limits.trusted_proxies=[example.org]",
        "limits.forwarded_header=via",
    ];
    assert_eq!(
        mistakes(layers("", &[], &settings)),
        [
            "limits.address.logins_burst (--set): a burst is between 1 and 1000000000000, not 9999999999999",
            "limits.address.requests_per_second (--set): a rate is between 0.001 and 1000000000 a second, not -1",
            "limits.forwarded_header (--set): 'via' is not one of x-forwarded-for, forwarded",
            "limits.trusted_proxies (--set): 'example.org' is neither an address nor a network; write 10.0.0.0/8 or 2001:db8::1",
        ]
    );
}

#[test]
fn the_variables_of_pulltrace_are_understood() {
    let environment = [
        ("PULLTRACE_HTTP_ADDR", ":9000"),
        ("PULLTRACE_LOG_LEVEL", "debug"),
        ("PULLTRACE_AGENT_TOKEN", "the-old-token-of-all the-new-token-of-all"),
        ("PULLTRACE_HISTORY_TTL", "1h"),
        ("PULLTRACE_WATCH_NAMESPACES", "shop, bank,"),
        ("PULLTRACE_METRICS_ADDR", ":9090"),
    ];
    let config = load(layers("", &environment, &["auth.mode=keys"])).expect("valid");
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:9000");
    assert_eq!(config.log.level, "debug");
    let tokens: Vec<&str> =
        config.pulls.agent_tokens.iter().map(|token| token.expose_secret()).collect();
    assert_eq!(tokens, ["the-old-token-of-all", "the-new-token-of-all"]);
    assert_eq!(config.pulls.shown, Duration::from_hours(1));
    assert_eq!(config.pulls.kubernetes.own_cluster.namespaces, ["shop", "bank"]);
}

#[test]
fn clusters_are_named_once_and_have_a_file() {
    let one = "{name: west, kubeconfig: west.yaml, namespaces: [' shop ', '']}";
    let config = load(layers("", &[], &[&format!("pulls.kubernetes.clusters=[{one}]")]));
    let clusters = config.expect("valid").pulls.kubernetes.clusters;
    let [cluster] = &clusters[..] else { panic!("{clusters:?}") };
    assert_eq!(
        (cluster.name.as_str(), &cluster.namespaces[..]),
        ("west", &["shop".to_owned()][..])
    );
    for (clusters, expected) in [
        (
            format!("[{one}, {one}]"),
            "pulls.kubernetes.clusters (--set): names the cluster 'west' twice",
        ),
        (
            "[{name: '', kubeconfig: x}]".to_owned(),
            "pulls.kubernetes.clusters (--set): names the cluster '' twice",
        ),
        (
            "[{name: west, kubeconfig: ''}]".to_owned(),
            "pulls.kubernetes.clusters[0] (--set): kubeconfig must name a file",
        ),
    ] {
        let setting = format!("pulls.kubernetes.clusters={clusters}");
        assert_eq!(mistakes(layers("", &[], &[&setting])), [expected]);
    }
}

#[test]
fn what_is_said_of_agents_fits_together() {
    let settings = [
        "pulls.agents.silent_after=1h",
        "pulls.limits.nodes=0",
        "pulls.stalled_after=0",
        "pulls.kubernetes.mode=off",
        "pulls.kubernetes.namespaces=[shop]",
    ];
    assert_eq!(
        mistakes(layers("", &[("PULLTRACE_AGENT_TOKEN", "a-token-of-agents")], &settings)),
        [
            "auth.mode (default): must be keys for a token of agents to be asked for",
            "pulls.agents.lost_after (default): must be longer than pulls.agents.silent_after",
            "pulls.kubernetes.namespaces (--set): is used only when pulls.kubernetes.mode is auto",
            "pulls.limits.nodes (--set): must be from 1 to 1000000",
            "pulls.stalled_after (--set): must be at least 1s",
        ]
    );
}
