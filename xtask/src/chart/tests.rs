//! What the chart makes is what clusters take, and what we mean.

mod objects;
mod values;

use std::collections::BTreeSet;
use std::process::Command;

use super::*;

/// Values to install with, each a way in which people do.
const CASES: [(&str, &str); 8] = [
    ("default", ""),
    ("everything", include_str!("tests/everything.yaml")),
    (
        "nothing",
        "agent: {enabled: false}\nkubernetes: {enabled: false}\nserver: {persistence: {enabled: false}}\n",
    ),
    ("namespaces", "kubernetes: {namespaces: [shop, bank]}\n"),
    (
        "encrypted by Secrets",
        "tls: {mode: secret, existingSecret: site-tls, agents: {enabled: true, existingSecret: agent-tls}}\n",
    ),
    ("encrypted by cert-manager", "tls: {mode: cert-manager}\n"),
    (
        "agents only",
        "server: {enabled: false}\nagent: {server: {url: 'https://tinyobs.example', caSecret: site-ca}}\n\
         auth: {agents: {existingSecret: token}}\ncluster: west\nnetworkPolicy: {enabled: true}\n",
    ),
    (
        "socket",
        "agent: {preset: k3s, containerd: {socket: {enabled: true, risksAcknowledged: true}}}\n",
    ),
];

const RELEASE: Release<'_> = Release { name: "rel", namespace: "observability", service: "Helm" };

fn chart() -> Chart {
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).expect("the checkout");
    Chart::load(Path::new(FOLDER)).expect("the chart")
}

fn parsed(text: &str) -> Value {
    if text.is_empty() { json!({}) } else { serde_saphyr::from_str(text).expect("YAML") }
}

fn rendered(values: &Value) -> Rendered {
    chart().render(values, &RELEASE, &Map::new()).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Returns the objects of all manifests.
fn objects(files: &BTreeMap<String, String>) -> Vec<Value> {
    let mut objects = Vec::new();
    for (name, text) in files {
        let found: Vec<Value> = serde_saphyr::from_multiple(text)
            .unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        objects.extend(found.into_iter().filter(|object| !object.is_null()));
    }
    objects
}

/// Returns why an installation is refused.
fn refusal(values: &str) -> String {
    match chart().render(&parsed(values), &RELEASE, &Map::new()) {
        Ok(_) => panic!("not refused: {values}"),
        Err(error) => format!("{error:#}"),
    }
}

/// Returns the one object of a kind and a name.
#[track_caller]
fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    let found: Vec<_> = objects.iter().filter(is_it).collect();
    let [one] = found[..] else { panic!("{} of {kind} {name}", found.len()) };
    one
}

#[test]
fn a_bare_installation_has_a_server_and_agents_that_may_report() {
    let rendered = rendered(&json!({}));
    let objects = objects(&rendered.files);
    let agent = &object(&objects, "DaemonSet", "rel-tinyobs-agent")["spec"]["template"]["spec"];
    let server = &object(&objects, "StatefulSet", "rel-tinyobs")["spec"]["template"]["spec"];
    object(&objects, "Secret", "rel-tinyobs-admin");
    object(&objects, "Secret", "rel-tinyobs-agent");
    // Without the socket, and from the cluster's own names.
    assert_eq!(
        agent["volumes"][0]["hostPath"]["path"],
        "/var/lib/containerd/io.containerd.content.v1.content"
    );
    assert!(!agent.to_string().contains(".sock"));
    assert!(agent.to_string().contains("http://rel-tinyobs.observability.svc:8080"));
    // Both have the token, and agents nothing else.
    assert!(server["volumes"].to_string().contains("rel-tinyobs-admin"));
    assert!(!agent["volumes"].to_string().contains("rel-tinyobs-admin"));
    assert!(rendered.notes.contains("port-forward service/rel-tinyobs 8080:8080"));
    assert!(rendered.notes.contains("The agents run on every node"));
    assert!(!rendered.notes.contains("NO AGENT"));
}

#[test]
fn what_is_left_out_is_said() {
    let (_, nothing) = CASES[2];
    let rendered = rendered(&parsed(nothing));
    for sentence in ["NO AGENT was installed", "NOT KEPT", "NOT ENCRYPTED", "Pods are not watched"]
    {
        assert!(rendered.notes.contains(sentence), "{}", rendered.notes);
    }
    let kinds: BTreeSet<String> =
        objects(&rendered.files).iter().map(|object| object["kind"].to_string()).collect();
    assert!(!kinds.contains("\"DaemonSet\"") && !kinds.contains("\"ClusterRole\""), "{kinds:?}");
}

#[test]
fn the_socket_is_given_only_to_those_who_say_that_they_know_what_it_means() {
    let reason = refusal("agent: {containerd: {socket: {enabled: true}}}\n");
    assert!(reason.contains("root on the node") && reason.contains("does not change that"));
    for (preset, path, socket) in [
        ("containerd", "", "/run/containerd/containerd.sock"),
        ("k3s", "", "/run/k3s/containerd/containerd.sock"),
        ("rke2", "", "/run/k3s/containerd/containerd.sock"),
        ("k0s", "", "/run/k0s/containerd.sock"),
        ("microk8s", "", "/var/snap/microk8s/common/run/containerd.sock"),
        ("k3s", "/srv/run/own.sock", "/srv/run/own.sock"),
    ] {
        let socket_values = json!({"enabled": true, "risksAcknowledged": true, "path": path});
        let values = json!({"agent": {"preset": preset, "containerd": {"socket": socket_values}}});
        let rendered = rendered(&values);
        let objects = objects(&rendered.files);
        let spec = &object(&objects, "DaemonSet", "rel-tinyobs-agent")["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        let environment = container["env"].as_array().expect("a list");
        let told = environment
            .iter()
            .find(|variable| variable["name"] == "TINYOBS_AGENT_CONTAINERD_SOCKET")
            .expect("the socket's path");
        assert_eq!(told["value"], socket);
        // The folder, at the same path inside and outside.
        let folder = Path::new(socket).parent().expect("a folder").display().to_string();
        assert_eq!(container["volumeMounts"][0]["mountPath"], folder.as_str());
        assert_eq!(spec["volumes"][0]["hostPath"]["path"], folder.as_str());
        assert!(rendered.notes.contains("has root on its node"), "{}", rendered.notes);
    }
}

#[test]
fn every_preset_has_a_content_folder() {
    for (preset, root) in [
        ("containerd", "/var/lib/containerd"),
        ("k3s", "/var/lib/rancher/k3s/agent/containerd"),
        ("rke2", "/var/lib/rancher/rke2/agent/containerd"),
        ("k0s", "/var/lib/k0s/containerd"),
        ("microk8s", "/var/snap/microk8s/common/var/lib/containerd"),
    ] {
        let objects = objects(&rendered(&json!({"agent": {"preset": preset}})).files);
        let spec = &object(&objects, "DaemonSet", "rel-tinyobs-agent")["spec"]["template"]["spec"];
        let folder = format!("{root}/io.containerd.content.v1.content");
        assert_eq!(spec["volumes"][0]["hostPath"]["path"], folder.as_str());
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], folder.as_str());
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["readOnly"], true);
    }
}

#[test]
fn keys_that_were_made_are_kept() {
    let secret = |name: &str, key: &str| {
        (format!("Secret/observability/{name}"), json!({"data": {key: "b2xk"}}))
    };
    let cluster = Map::from_iter([
        secret("rel-tinyobs-admin", "admin-key"),
        secret("rel-tinyobs-agent", "agent-token"),
    ]);
    let first = objects(&rendered(&json!({})).files);
    let again = chart().render(&json!({}), &RELEASE, &cluster).expect("manifests");
    let again = objects(&again.files);
    for (name, key) in [("rel-tinyobs-admin", "admin-key"), ("rel-tinyobs-agent", "agent-token")] {
        let annotations = &object(&first, "Secret", name)["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        assert_ne!(object(&first, "Secret", name)["data"][key], "b2xk");
        assert_eq!(object(&again, "Secret", name)["data"][key], "b2xk");
    }
}

#[test]
fn rights_are_those_that_are_used_and_where_they_are_used() {
    let rules = json!([{
        "apiGroups": [""], "resources": ["pods", "events"], "verbs": ["list", "watch"],
    }]);
    let whole = objects(&rendered(&json!({})).files);
    assert_eq!(object(&whole, "ClusterRole", "observability-rel-tinyobs")["rules"], rules);
    assert!(whole.iter().all(|object| object["kind"] != "Role"));

    let (_, listed) = CASES[3];
    let listed = objects(&rendered(&parsed(listed)).files);
    assert!(listed.iter().all(|object| object["kind"] != "ClusterRole"));
    assert!(listed.iter().all(|object| object["kind"] != "ClusterRoleBinding"));
    let roles: Vec<&Value> = listed.iter().filter(|object| object["kind"] == "Role").collect();
    let namespaces: Vec<&Value> = roles.iter().map(|role| &role["metadata"]["namespace"]).collect();
    assert_eq!(namespaces, ["shop", "bank"]);
    assert!(roles.iter().all(|role| role["rules"] == rules));
    assert!(listed[..].iter().any(|object| object.to_string().contains("[shop, bank]")));
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    for (values, reason) in [
        ("server: {enabled: false}", "needs agent.server.url"),
        (
            "server: {enabled: false}\nagent: {server: {url: 'https://a'}}",
            "needs auth.agents.existingSecret",
        ),
        ("agent: {server: {url: 'https://a'}}", "set server.enabled=false, or remove it"),
        ("tls: {mode: secret}", "needs tls.existingSecret"),
        ("tls: {agents: {enabled: true}}", "needs tls.mode"),
        (
            "tls: {mode: secret, existingSecret: a, agents: {enabled: true}}",
            "or tls.agents.existingSecret",
        ),
        ("ingress: {enabled: true}", "needs ingress.hosts"),
        ("monitoring: {serviceMonitor: {enabled: true}}", "or server.metricsPublic=true"),
        ("server: {config: {data_dir: /x}}", "see server.persistence"),
        ("server: {config: {server: {listen: 'x'}}}", "see server.listenAddress"),
        ("server: {config: {server: {tls: {mode: files}}}}", "see tls"),
        ("server: {config: {auth: {mode: none}}}", "see auth"),
        ("server: {config: {telemetry: {metrics_public: true}}}", "see server.metricsPublic"),
        ("server: {config: {pulls: {agents: {token: x}}}}", "see auth.agents"),
        ("server: {config: {pulls: {kubernetes: {mode: 'off'}}}}", "see kubernetes"),
    ] {
        let found = refusal(values);
        assert!(found.contains(reason), "{values}: {found}");
    }
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let about = chart().about;
    assert_eq!(about["Version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["AppVersion"], env!("CARGO_PKG_VERSION"));
}

/// Our renderer is no other Helm: where there is one, both make the same objects.
#[test]
fn helm_makes_the_same_objects_where_it_is_at_hand() {
    if Command::new("helm").arg("version").output().is_err() {
        println!("skipped: there is no helm");
        return;
    }
    let chart = chart();
    for (case, values) in CASES {
        let ours = chart.render(&parsed(values), &RELEASE, &Map::new()).expect("manifests");
        let mut file = std::env::temp_dir();
        file.push(format!("tinyobs-chart-{}.yaml", std::process::id()));
        fs::write(&file, values).expect("a file");
        let output = Command::new("helm")
            .args(["template", RELEASE.name, FOLDER, "--namespace", RELEASE.namespace])
            .args(["--kube-version", "1.33.0", "--values"])
            .arg(&file)
            .output()
            .expect("helm");
        fs::remove_file(&file).expect("our file");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{case}: {complaint}");
        let theirs = String::from_utf8(output.stdout).expect("text");
        let theirs = objects(&BTreeMap::from([(case.to_owned(), theirs)]));
        assert_eq!(comparable(objects(&ours.files)), comparable(theirs), "{case}");
    }
}

/// Returns objects in one order, without what is random and without hashes of what is the same but spelled otherwise.
fn comparable(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let comparable = objects.into_iter().map(|mut object| {
        let name = [&object["kind"], &object["metadata"]["namespace"], &object["metadata"]["name"]];
        let name = name.map(Value::to_string).join(" ");
        if object["kind"] == "Secret" {
            object["data"] = Value::Null;
        }
        if let Some(text) = object["data"]["tinyobs.yaml"].as_str() {
            object["data"] = serde_saphyr::from_str(text).unwrap_or(Value::Null);
        }
        if object["spec"]["template"]["metadata"]["annotations"].get("tinyobs/config").is_some() {
            object["spec"]["template"]["metadata"]["annotations"]["tinyobs/config"] = Value::Null;
        }
        (name, object)
    });
    comparable.collect()
}

#[test]
fn images_are_built_with_our_toolchain_and_run_as_nobody() {
    chart();
    let manifest = read(Path::new("Cargo.toml")).expect("the workspace");
    let manifest: toml::Value = toml::from_str(&manifest).expect("TOML");
    let toolchain = manifest["workspace"]["package"]["rust-version"].as_str().expect("a version");
    for (name, program, build, built) in [
        (
            "server",
            "tinyobs",
            "cargo build --release --locked --package server",
            "/src/target/release/tinyobs",
        ),
        ("agent", "tinyobs-agent", "scripts/agent.sh /build", "/build/agent/tinyobs-agent"),
    ] {
        let file = read(Path::new(&format!("deploy/docker/{name}.Dockerfile"))).expect("a file");
        assert!(file.contains(&format!("ARG RUST={toolchain}\n")), "{name}");
        assert!(file.contains(&format!("RUN {build}\n")), "{name}");
        let copy = format!("COPY --from=build {built} /usr/local/bin/{program}\n");
        assert!(file.contains(&copy), "{name}");
        assert!(file.contains(&format!("ENTRYPOINT [\"/usr/local/bin/{program}\"]\n")), "{name}");
        assert!(file.contains("\nUSER 65532:65532\n"), "{name}");
    }
}
