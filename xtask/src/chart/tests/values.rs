//! Every value is known, checked, and has an effect.

use super::*;

/// Values that are as good as any other of their kind, for those that are not free.
const OTHERS: [(&str, &str); 9] = [
    ("tls.mode", "secret"),
    ("tls.issuer.kind", "ClusterIssuer"),
    ("agent.preset", "microk8s"),
    ("agent.server.url", "https://elsewhere.example"),
    ("agent.containerd.root", "/srv/containerd"),
    ("agent.containerd.socket.path", "/srv/run/own.sock"),
    ("server.image.pullPolicy", "Always"),
    ("agent.image.pullPolicy", "Always"),
    ("server.service.type", "NodePort"),
];

const AGENTS_ONLY: &str = "server: {enabled: false}\nagent: {server: {url: 'https://a.example'}}\n\
                           auth: {agents: {existingSecret: a}}\n";

/// What must be as it says for a value to matter; over the values of `everything.yaml`.
const WHERE: [(&str, &str); 10] = [
    ("agent.containerd.root", "agent: {containerd: {socket: {enabled: false}}}"),
    ("agent.containerd.socket.enabled", "agent: {containerd: {socket: {enabled: false}}}"),
    ("agent.server", AGENTS_ONLY),
    ("auth.agents.acceptedKey", "auth: {agents: {existingSecret: a}}"),
    ("auth.agents", "tls: {agents: {enabled: false}}"),
    ("networkPolicy.agentServerCidr", AGENTS_ONLY),
    ("server.enabled", "agent: {server: {url: ''}}\nauth: {agents: {existingSecret: a}}"),
    ("tls.agents.existingSecret", "tls: {mode: secret, existingSecret: a}"),
    ("tls.existingSecret", "tls: {mode: secret, agents: {enabled: false}}"),
    ("tls.mode", "tls: {existingSecret: a, agents: {enabled: false}}"),
];

/// Returns the values that are not maps of others, by path.
fn leaves(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !is_free(path) => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(field, &path, found);
            }
        }
        _ => found.push((path.to_owned(), value.clone())),
    }
}

/// Returns whether a map has the keys of Kubernetes, not ours.
fn is_free(path: &str) -> bool {
    ["resources", "updateStrategy", "nodeSelector"].iter().any(|end| path.ends_with(end))
}

fn at(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inside, name| json!({ name: inside }))
}

/// Returns another value of the same kind.
fn other(path: &str, value: &Value) -> Value {
    if let Some((_, other)) = OTHERS.iter().find(|(known, _)| *known == path) {
        return (*other).into();
    }
    match value {
        Value::Bool(value) => (!value).into(),
        Value::Number(_) => 4711.into(),
        Value::String(_) => "another".into(),
        Value::Array(_) => match path {
            "kubernetes.namespaces" | "ingress.hosts" | "networkPolicy.namespaces" => {
                json!(["another"])
            }
            "networkPolicy.cidrs" => json!(["198.51.100.0/24"]),
            _ => json!([{"name": "another"}]),
        },
        _ => json!({"another": "one"}),
    }
}

/// Returns what somebody notices of an installation, or of its refusal.
fn outcome(chart: &Chart, values: &Value) -> String {
    match chart.render(values, &RELEASE, &Map::new()) {
        Ok(rendered) => format!("{:?}{}", rendered.files, rendered.notes),
        Err(error) => format!("refused: {error:#}"),
    }
}

#[test]
fn every_value_has_an_effect() {
    let everything = parsed(CASES[1].1);
    let chart = chart();
    let mut all = Vec::new();
    leaves(&chart.values, "", &mut all);
    assert!(all.len() > 80, "{}", all.len());
    for (path, default) in all {
        let place = WHERE.iter().find(|(known, _)| path.starts_with(known));
        let place = place.map_or_else(|| json!({}), |(_, values)| parsed(values));
        let without = merged(&merged(&everything, &at(&path, default.clone())), &place);
        let with = merged(&without, &at(&path, other(&path, &default)));
        assert_ne!(without, with, "{path}: the test changes nothing");
        let (without, with) = (outcome(&chart, &without), outcome(&chart, &with));
        assert_ne!(without, with, "{path} has no effect");
        // An error instead of another is no effect.
        assert!(!without.starts_with("refused") || !with.starts_with("refused"), "{path}: {with}");
    }
}

#[test]
fn the_schema_takes_every_case_and_refuses_what_it_does_not_know() {
    let chart = chart();
    let schema: Value = serde_json::from_str(
        &read(Path::new("deploy/chart/tinyobs/values.schema.json")).expect("a file"),
    )
    .expect("JSON");
    let validator = jsonschema::draft7::new(&schema).expect("a schema");
    for (case, values) in CASES {
        let values = merged(&chart.values, &parsed(values));
        let mistakes: Vec<String> =
            validator.iter_errors(&values).map(|error| error.to_string()).collect();
        assert!(mistakes.is_empty(), "{case}: {mistakes:?}");
    }
    let mut all = Vec::new();
    leaves(&chart.values, "", &mut all);
    for (path, default) in all {
        // A sibling that is not there, and a value of another kind.
        let unknown = match path.rsplit_once('.') {
            Some((parent, _)) => format!("{parent}.nonsense"),
            None => "nonsense".to_owned(),
        };
        let values = merged(&chart.values, &at(&unknown, "x".into()));
        assert!(!validator.is_valid(&values), "{unknown} is taken");
        let wrong = if default.is_string() { json!([[]]) } else { "text".into() };
        let values = merged(&chart.values, &at(&path, wrong));
        assert!(!validator.is_valid(&values), "{path} of another kind is taken");
    }
    for (values, _) in [
        ("tls: {mode: maybe}", ()),
        ("agent: {preset: docker}", ()),
        ("agent: {containerd: {socket: {path: run/containerd.sock}}}", ()),
        ("agent: {containerd: {root: /var/lib/containerd/}}", ()),
        ("agent: {server: {url: 'https://a.example/'}}", ()),
        ("server: {service: {port: 70000}}", ()),
    ] {
        assert!(!validator.is_valid(&merged(&chart.values, &parsed(values))), "{values}");
    }
}

/// What the chart sets in the environment are keys of the configuration.
#[test]
fn the_server_knows_what_it_is_told() {
    let keys: BTreeSet<String> =
        crate::configuration::paths().expect("the configuration").into_iter().collect();
    let mut told = 0;
    for (case, values) in CASES {
        for object in objects(&rendered(&parsed(values)).files) {
            if object["kind"] != "StatefulSet" {
                continue;
            }
            let container = &object["spec"]["template"]["spec"]["containers"][0];
            for variable in container["env"].as_array().expect("a list") {
                let name = variable["name"].as_str().expect("a name");
                let Some(path) = name.strip_prefix("TINYOBS_") else { continue };
                let path = path.to_lowercase().replace("__", ".");
                assert!(keys.contains(&path), "{case}: {path}");
                told += 1;
            }
        }
    }
    assert!(told > 30, "{told}");
}

/// What the chart sets in the environment of agents are variables that they know.
#[test]
fn agents_know_what_they_are_told() {
    chart();
    let settings = read(Path::new("crates/agent/src/settings.rs")).expect("the agent's settings");
    let mut told = BTreeSet::new();
    for (_, values) in CASES {
        for object in objects(&rendered(&parsed(values)).files) {
            if object["kind"] == "DaemonSet" {
                let container = &object["spec"]["template"]["spec"]["containers"][0];
                let names = container["env"].as_array().expect("a list").iter();
                told.extend(
                    names.filter_map(|variable| variable["name"].as_str().map(str::to_owned)),
                );
            }
        }
    }
    let told: Vec<_> = told.iter().filter(|name| name.starts_with("TINYOBS_")).collect();
    assert!(told.len() > 8, "{told:?}");
    for name in told {
        assert!(settings.contains(&format!("\"{name}\"")), "{name}");
    }
}
