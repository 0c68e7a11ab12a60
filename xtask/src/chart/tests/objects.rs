//! Every object is one that a cluster takes whole, and what belongs together fits together.

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

/// The fields of other people's kinds that we use, as their documents name them.
const FOREIGN: [(&str, &[&str]); 4] = [
    ("cert-manager.io/v1 Issuer", &["selfSigned", "ca.secretName"]),
    (
        "cert-manager.io/v1 Certificate",
        &[
            "commonName",
            "dnsNames",
            "duration",
            "ipAddresses",
            "isCA",
            "issuerRef.group",
            "issuerRef.kind",
            "issuerRef.name",
            "privateKey.algorithm",
            "privateKey.rotationPolicy",
            "privateKey.size",
            "secretName",
            "usages",
        ],
    ),
    (
        "monitoring.coreos.com/v1 ServiceMonitor",
        &[
            "endpoints.authorization.credentials.key",
            "endpoints.authorization.credentials.name",
            "endpoints.interval",
            "endpoints.path",
            "endpoints.port",
            "endpoints.scheme",
            "endpoints.tlsConfig.ca.secret.key",
            "endpoints.tlsConfig.ca.secret.name",
            "endpoints.tlsConfig.serverName",
            "selector.matchLabels",
        ],
    ),
    (
        "monitoring.coreos.com/v1 PodMonitor",
        &[
            "podMetricsEndpoints.interval",
            "podMetricsEndpoints.path",
            "podMetricsEndpoints.port",
            "selector.matchLabels",
        ],
    ),
];

/// Checks that a type of Kubernetes has every field of an object: what it does not know is lost on the way.
fn check_typed<T: DeserializeOwned + Serialize>(object: &Value) {
    let typed: T = serde_json::from_value(object.clone())
        .unwrap_or_else(|error| panic!("{error}: {object:#}"));
    assert_eq!(&serde_json::to_value(typed).expect("JSON"), object);
}

fn check_foreign(kind: &str, spec: &Value) {
    let (_, known) =
        FOREIGN.iter().find(|(name, _)| *name == kind).unwrap_or_else(|| panic!("{kind}"));
    let mut found = BTreeSet::new();
    paths(spec, "", known, &mut found);
    for path in &found {
        assert!(known.contains(&path.as_str()), "{kind} has no {path}");
    }
}

/// Collects the paths of fields, as deep as a known one reaches.
fn paths(value: &Value, path: &str, known: &[&str], found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !known.contains(&path) => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                paths(field, &path, known, found);
            }
        }
        Value::Array(items) if !known.contains(&path) => {
            items.iter().for_each(|item| paths(item, path, known, found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

fn check(object: &Value) {
    let kind = format!(
        "{} {}",
        object["apiVersion"].as_str().expect("a version"),
        object["kind"].as_str().expect("a kind")
    );
    match kind.as_str() {
        "v1 ConfigMap" => check_typed::<ConfigMap>(object),
        "v1 Namespace" => check_typed::<Namespace>(object),
        "v1 Secret" => check_typed::<Secret>(object),
        "v1 Service" => check_typed::<Service>(object),
        "v1 ServiceAccount" => check_typed::<ServiceAccount>(object),
        "apps/v1 DaemonSet" => check_typed::<DaemonSet>(object),
        "apps/v1 StatefulSet" => check_typed::<StatefulSet>(object),
        "networking.k8s.io/v1 Ingress" => check_typed::<Ingress>(object),
        "networking.k8s.io/v1 NetworkPolicy" => check_typed::<NetworkPolicy>(object),
        "policy/v1 PodDisruptionBudget" => check_typed::<PodDisruptionBudget>(object),
        "rbac.authorization.k8s.io/v1 ClusterRole" => check_typed::<ClusterRole>(object),
        "rbac.authorization.k8s.io/v1 ClusterRoleBinding" => {
            check_typed::<ClusterRoleBinding>(object);
        }
        "rbac.authorization.k8s.io/v1 Role" => check_typed::<Role>(object),
        "rbac.authorization.k8s.io/v1 RoleBinding" => check_typed::<RoleBinding>(object),
        foreign => check_foreign(foreign, &object["spec"]),
    }
}

#[test]
fn every_object_is_known_to_kubernetes_field_by_field() {
    for (case, values) in CASES {
        let objects = objects(&rendered(&parsed(values)).files);
        assert!(objects.len() > 3, "{case}");
        objects.iter().for_each(check);
    }
}

#[test]
fn every_object_is_in_the_namespace_of_the_release() {
    for (case, values) in CASES {
        let values = parsed(values);
        let mut names = BTreeSet::new();
        for object in objects(&rendered(&values).files) {
            let kind = object["kind"].as_str().expect("a kind");
            let namespace = &object["metadata"]["namespace"];
            match kind {
                "ClusterRole" | "ClusterRoleBinding" => assert!(namespace.is_null(), "{kind}"),
                "Role" | "RoleBinding" => {
                    let listed = values["kubernetes"]["namespaces"].as_array().expect("a list");
                    assert!(listed.contains(namespace), "{case}: {kind} in {namespace}");
                }
                _ => assert_eq!(namespace, "observability", "{case}: {kind}"),
            }
            let name = format!("{kind} {namespace} {}", object["metadata"]["name"]);
            assert!(names.insert(name.clone()), "{case}: {name} twice");
        }
    }
}

/// Returns what runs pods, with the template of the pods.
fn workloads(objects: &[Value]) -> Vec<(&str, &Value)> {
    let runs = |object: &&Value| object["kind"] == "DaemonSet" || object["kind"] == "StatefulSet";
    let workloads = objects.iter().filter(runs);
    workloads.map(|object| (object["kind"].as_str().unwrap_or(""), &object["spec"])).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn pods_may_do_as_little_as_possible() {
    for (case, values) in CASES {
        let values = parsed(values);
        for (kind, spec) in workloads(&objects(&rendered(&values).files)) {
            let pod = &spec["template"]["spec"];
            let is_agent = kind == "DaemonSet";
            assert_eq!(pod["securityContext"]["runAsNonRoot"], !is_agent, "{case}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            let watches = values["kubernetes"]["enabled"] != false;
            assert_eq!(pod["automountServiceAccountToken"], !is_agent && watches, "{case} {kind}");
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod[field].is_null() || pod[field] == false, "{case}: {field}");
            }
            for container in list(&pod["containers"]) {
                let context = &container["securityContext"];
                assert_eq!(context["readOnlyRootFilesystem"], true);
                assert_eq!(context["allowPrivilegeEscalation"], false);
                assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
                for probe in ["livenessProbe", "readinessProbe"] {
                    let path = container[probe]["httpGet"]["path"].as_str().unwrap_or_default();
                    assert!(path.len() > 1 && path.starts_with('/'), "{case}: {probe}: {path}");
                }
                for mount in list(&container["volumeMounts"]) {
                    let writable = mount["name"] == "data" || mount["name"] == "tmp";
                    assert_eq!(mount["readOnly"] == true, !writable, "{case}: {mount}");
                }
                assert!(container["resources"]["limits"]["memory"].is_string(), "{case}");
            }
            for volume in list(&pod["volumes"]) {
                assert!(is_agent || volume["hostPath"].is_null(), "{case}: {volume}");
            }
        }
    }
}

#[test]
fn what_is_mounted_selected_and_named_is_there() {
    for (case, values) in CASES {
        let objects = objects(&rendered(&parsed(values)).files);
        let workloads = workloads(&objects);
        for (_, spec) in &workloads {
            let pod = &spec["template"]["spec"];
            let volumes = list(&pod["volumes"]).iter().map(|volume| &volume["name"]);
            let claims = list(&spec["volumeClaimTemplates"]).iter().map(|c| &c["metadata"]["name"]);
            let volumes: Vec<_> = volumes.chain(claims).collect();
            let mounts = list(&pod["containers"][0]["volumeMounts"]);
            let mounted: Vec<_> = mounts.iter().map(|mount| &mount["name"]).collect();
            assert!(mounted.iter().all(|name| volumes.contains(name)), "{case}: {mounted:?}");
            assert!(volumes.iter().all(|name| mounted.contains(name)), "{case}: {volumes:?}");
            let account = pod["serviceAccountName"].as_str().expect("an account");
            object(&objects, "ServiceAccount", account);
            assert!(selects(&spec["selector"]["matchLabels"], &spec["template"]), "{case}");
        }
        let pods: Vec<&Value> = workloads.iter().map(|(_, spec)| &spec["template"]).collect();
        for object in &objects {
            let kind = object["kind"].as_str().expect("a kind");
            let selector = match kind {
                "Service" => &object["spec"]["selector"],
                "NetworkPolicy" => &object["spec"]["podSelector"]["matchLabels"],
                "PodDisruptionBudget" | "PodMonitor" => &object["spec"]["selector"]["matchLabels"],
                _ => continue,
            };
            let selected: Vec<_> = pods.iter().filter(|pod| selects(selector, pod)).collect();
            let [pod] = selected[..] else { panic!("{case}: {kind} selects {}", selected.len()) };
            let ports = list(&pod["spec"]["containers"][0]["ports"]);
            let named = |name: &Value| ports.iter().any(|port| port["name"] == *name);
            let open = |number: &Value| ports.iter().any(|port| port["containerPort"] == *number);
            match kind {
                "Service" => assert!(named(&object["spec"]["ports"][0]["targetPort"]), "{case}"),
                "PodMonitor" => {
                    assert!(named(&object["spec"]["podMetricsEndpoints"][0]["port"]), "{case}");
                }
                // Policies are about the ports of containers, whatever the service's is.
                "NetworkPolicy" => {
                    for rule in list(&object["spec"]["ingress"]) {
                        assert!(open(&rule["ports"][0]["port"]), "{case}: {rule}");
                        assert!(!list(&rule["from"]).is_empty(), "{case}: {rule}");
                    }
                }
                _ => {}
            }
        }
        for monitor in objects.iter().filter(|object| object["kind"] == "ServiceMonitor") {
            let services = objects.iter().filter(|object| object["kind"] == "Service");
            let selector = &monitor["spec"]["selector"]["matchLabels"];
            let service = services.into_iter().find(|service| selects(selector, service));
            let port = &service.expect("the service")["spec"]["ports"][0]["name"];
            assert_eq!(&monitor["spec"]["endpoints"][0]["port"], port);
        }
    }
}

/// Returns whether labels that are asked for are those of a pod or service.
fn selects(selector: &Value, of: &Value) -> bool {
    let wanted = selector.as_object().expect("labels");
    !wanted.is_empty()
        && wanted.iter().all(|(name, value)| of["metadata"]["labels"].get(name) == Some(value))
}

#[test]
fn policies_let_agents_and_prometheus_in_and_agents_only_to_the_server() {
    let values = json!({
        "networkPolicy": {"enabled": true, "prometheusNamespace": "monitoring"},
        "server": {"service": {"port": 443}},
    });
    let objects = objects(&rendered(&values).files);
    let server = &object(&objects, "NetworkPolicy", "rel-tinyobs")["spec"];
    let from = list(&server["ingress"][0]["from"]);
    assert_eq!(from.len(), 2);
    assert_eq!(from[0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "agent");
    let prometheus = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}});
    assert_eq!(from[1], prometheus);
    assert_eq!(server["ingress"][0]["ports"][0]["port"], 8080);

    let agent = &object(&objects, "NetworkPolicy", "rel-tinyobs-agent")["spec"];
    assert_eq!(agent["ingress"][0]["from"], json!([prometheus]));
    assert_eq!(agent["policyTypes"], json!(["Ingress", "Egress"]));
    let to = &agent["egress"][1];
    assert_eq!(to["ports"][0]["port"], 8080);
    assert_eq!(to["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "server");
}

#[test]
fn encryption_takes_one_value_and_reaches_everybody() {
    for values in
        ["tls: {mode: cert-manager}", "tls: {mode: secret, existingSecret: rel-tinyobs-tls}"]
    {
        let objects = objects(&rendered(&parsed(values)).files);
        let server = &object(&objects, "StatefulSet", "rel-tinyobs")["spec"]["template"]["spec"];
        let container = &server["containers"][0];
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["scheme"], "HTTPS", "{values}");
        }
        assert!(container["env"].to_string().contains("/etc/tinyobs/tls/tls.crt"));
        assert!(server["volumes"].to_string().contains("rel-tinyobs-tls"));
        let agent = &object(&objects, "DaemonSet", "rel-tinyobs-agent")["spec"]["template"]["spec"];
        assert!(agent.to_string().contains("https://rel-tinyobs.observability.svc:8080"));
        // The authority, and not the server's key.
        let ca = list(&agent["volumes"]).iter().find(|volume| volume["name"] == "ca");
        let ca = &ca.expect("the authority")["secret"];
        assert_eq!(ca["secretName"], "rel-tinyobs-tls");
        assert_eq!(ca["items"], json!([{"key": "ca.crt", "path": "ca.crt"}]));
    }
    let objects = objects(&rendered(&parsed("tls: {mode: cert-manager}")).files);
    let names = &object(&objects, "Certificate", "rel-tinyobs")["spec"]["dnsNames"];
    assert!(list(names).contains(&"rel-tinyobs.observability.svc".into()));
    object(&objects, "Issuer", "rel-tinyobs-ca");
    object(&objects, "Certificate", "rel-tinyobs-ca");
}

#[test]
fn agents_can_show_a_certificate_in_place_of_the_token() {
    let values = parsed("tls: {mode: cert-manager, agents: {enabled: true}}");
    let objects = objects(&rendered(&values).files);
    let server = &object(&objects, "StatefulSet", "rel-tinyobs")["spec"]["template"]["spec"];
    let environment = server["containers"][0]["env"].to_string();
    assert!(
        environment.contains(r#"[{name: \\\"tinyobs-agent\\\", role: agent}]"#)
            || environment.contains(r#"[{name: \"tinyobs-agent\", role: agent}]"#),
        "{environment}"
    );
    let agent = &object(&objects, "DaemonSet", "rel-tinyobs-agent")["spec"]["template"]["spec"];
    assert!(agent["volumes"].to_string().contains("rel-tinyobs-agent-tls"));
    assert!(!agent.to_string().contains("agent-token"));
    object(&objects, "Certificate", "rel-tinyobs-agent");
}

#[test]
fn the_plain_manifests_are_whole_and_in_their_namespace() {
    let files = plain().expect("manifests");
    let kustomization = objects(&BTreeMap::from([(
        "kustomization.yaml".to_owned(),
        files["kustomization.yaml"].clone(),
    )]));
    let resources: Vec<&str> =
        list(&kustomization[0]["resources"]).iter().filter_map(Value::as_str).collect();
    let mut kinds = BTreeSet::new();
    for (name, text) in files.iter().filter(|(name, _)| *name != "kustomization.yaml") {
        assert!(resources.contains(&name.as_str()), "{name}");
        for object in objects(&BTreeMap::from([(name.clone(), text.clone())])) {
            check(&object);
            kinds.insert(object["kind"].as_str().expect("a kind").to_owned());
            let namespace = &object["metadata"]["namespace"];
            assert!(namespace.is_null() || namespace == NAMESPACE, "{name}");
        }
    }
    let expected = [
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "DaemonSet",
        "Namespace",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    ];
    assert_eq!(kinds, BTreeSet::from(expected.map(str::to_owned)));
    assert_eq!(resources[0], "00-namespace.yaml");
}
