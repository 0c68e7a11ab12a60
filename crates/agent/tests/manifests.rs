//! What the manifests of `deploy/` tell an agent is what it understands.

use std::path::Path;

use agent::{Flags, LookAt, Settings, Token};
use serde::Deserialize;

const MANIFESTS: &str = include_str!("../../../deploy/kubernetes/agent.yaml");

#[derive(Deserialize)]
struct DaemonSet {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    template: Template,
}

#[derive(Deserialize)]
struct Template {
    spec: PodSpec,
}

#[derive(Deserialize)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    args: Vec<String>,
    env: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    /// `None` for what the cluster fills in: the name of the node.
    value: Option<String>,
}

#[test]
fn an_agent_understands_the_manifests() {
    let set: DaemonSet = serde_saphyr::from_str(MANIFESTS).expect("a DaemonSet");
    let [container] = &set.spec.template.spec.containers[..] else { panic!("one container") };
    assert!(container.args.is_empty(), "{:?}", container.args);
    let environment = |name: &str| {
        let variable = container.env.iter().find(|variable| variable.name == name)?;
        Some(variable.value.clone().unwrap_or_else(|| "worker-1".to_owned()))
    };
    let settings = Settings::resolve(&Flags::default(), &environment).expect("settings");
    assert_eq!(settings.node, "worker-1");
    assert_eq!(settings.server.report_url(), "http://tinyobs.tinyobs.svc:8080/api/v1/report");
    assert!(settings.warnings().is_empty(), "{:?}", settings.warnings());
    assert!(
        matches!(&settings.token, Token::File(file) if file == Path::new("/etc/tinyobs/token/agent-token"))
    );
    let folder = Path::new("/var/lib/containerd/io.containerd.content.v1.content");
    assert!(
        matches!(&settings.look, LookAt::ContentFolder { folder: found, .. } if found == folder)
    );
    assert_eq!(settings.listen.map(|address| address.port()), Some(9810));
}
