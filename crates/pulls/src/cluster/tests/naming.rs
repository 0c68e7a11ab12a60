use ImageEventReason::{Pulled, Pulling};
use report::Confidence;

use super::*;

const NGINX_1: &str = "docker.io/library/nginx:1";
const NGINX_2: &str = "docker.io/library/nginx:2";
const NGINX: &str = "docker.io/library/nginx";

/// Pods with one container each: the image, why it waits, the last event.
type Pods<'a> = &'a [(&'a str, &'a str, Option<ImageEventReason>)];

fn check(
    pods: Pods<'_>,
    repositories: &[&str],
    digests: &[&str],
    expected: Option<(&str, Confidence, &[&str])>,
) {
    let (_, cluster) = cluster();
    for (index, (image, reason, heard)) in pods.iter().enumerate() {
        let uid = index.to_string();
        cluster.pod_applied(pod(&uid, vec![container("app", image, waits(reason))]));
        if let Some(reason) = heard {
            cluster.event(event(&uid, *reason, -1));
        }
    }
    let resolved = cluster.resolve(NODE, repositories, digests);
    let candidates: Vec<String> =
        resolved.iter().flat_map(|r| &r.candidates).map(ToString::to_string).collect();
    let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
    let found = resolved.as_ref().map(|r| (&*r.name, r.confidence, &candidates[..]));
    assert_eq!(found, expected, "{pods:?} {repositories:?} {digests:?}");
}

#[test]
fn a_pod_that_asks_by_digest_is_certain() {
    let by_digest = format!("nginx:1@{DIGEST}");
    let name = format!("docker.io/library/nginx:1@{DIGEST}");
    let pods = [("redis", "", Some(Pulling)), (by_digest.as_str(), "", None)];
    check(&pods, &[NGINX], &[DIGEST, OTHER_DIGEST], Some((&name, Confidence::Certain, &[])));
    check(&pods, &[], &[DIGEST], Some((&name, Confidence::Certain, &[])));
}

#[test]
fn one_image_of_the_repository_is_likely() {
    let one = [("nginx:1", "", None), ("redis", "", Some(Pulling))];
    check(&one, &[NGINX], &[DIGEST], Some((NGINX_1, Confidence::Likely, &[])));
    // The same image for several pods is one image.
    let pods = [("nginx:1", "", None), (NGINX_1, "PodInitializing", None)];
    check(&pods, &[NGINX], &[], Some((NGINX_1, Confidence::Likely, &[])));
    // One that is asked for comes before those that are only waited for.
    let pods = [("nginx:1", "", Some(Pulling)), ("nginx:2", "", None)];
    check(&pods, &[NGINX], &[], Some((NGINX_1, Confidence::Likely, &[NGINX_2])));
    // One that asks for another digest, or has its image, is none of them.
    let other = format!("nginx@{OTHER_DIGEST}");
    let pods = [("nginx:1", "", None), (&*other, "", Some(Pulling)), ("nginx:2", "", Some(Pulled))];
    check(&pods, &[NGINX], &[DIGEST], Some((NGINX_1, Confidence::Likely, &[])));
}

#[test]
fn containerd_keeps_repositories_without_the_port_of_their_registry() {
    let pods = [("localhost:5000/a/b:1", "", None)];
    let name = "localhost:5000/a/b:1";
    check(&pods, &["localhost/a/b"], &[], Some((name, Confidence::Likely, &[])));
    check(&pods, &["localhost:5000/a/b"], &[], Some((name, Confidence::Likely, &[])));
    check(&pods, &["localhost/b"], &[], Some(("localhost/b", Confidence::Repository, &[])));
}

#[test]
fn several_images_of_the_repository_are_candidates() {
    let pods = [("nginx:1", "", None), ("nginx:2", "", None)];
    let expected = (NGINX, Confidence::Repository, &[NGINX_1, NGINX_2][..]);
    check(&pods, &[NGINX], &[], Some(expected));
    let pods = [("nginx:1", "", Some(Pulling)), ("nginx:2", "", Some(Pulling))];
    check(&pods, &[NGINX], &[], Some(expected));
    // A layer may be of several repositories.
    check(&pods, &[NGINX, "ghcr.io/a"], &[], Some(expected));
}

#[test]
fn a_repository_that_nobody_waits_for_is_still_one() {
    check(&[], &["k8s.io/pause"], &[], Some(("k8s.io/pause", Confidence::Repository, &[])));
    let pods = [("nginx:1", "", Some(Pulling))];
    check(&pods, &["k8s.io/pause"], &[], Some(("k8s.io/pause", Confidence::Repository, &[])));
    check(&pods, &["k8s.io/pause", "k8s.io/other"], &[], None);
}

#[test]
fn without_a_repository_the_only_image_is_a_guess() {
    check(&[], &[], &[], None);
    check(&[("nginx:1", "", None)], &[], &[DIGEST], Some((NGINX_1, Confidence::Guess, &[])));
    let pods = [("nginx:1", "", None), ("nginx:2", "", None)];
    check(&pods, &[], &[], None);
    let pods = [("nginx:1", "", Some(Pulling)), ("nginx:2", "", None)];
    check(&pods, &[], &[], Some((NGINX_1, Confidence::Guess, &[NGINX_2])));
    let pods = [("nginx:1", "ContainerCreating", None), ("nginx:2", "PodInitializing", None)];
    check(&pods, &[], &[], Some((NGINX_1, Confidence::Guess, &[NGINX_2])));
    let pods = [("nginx:1", "", Some(Pulling)), ("nginx:2", "", Some(Pulling))];
    check(&pods, &[], &[], None);
    check(&[("nginx:1", "", Some(Pulled))], &[], &[], None);
    let other = format!("nginx@{OTHER_DIGEST}");
    check(&[(&other, "", Some(Pulling))], &[], &[DIGEST], None);
}

#[test]
fn what_is_no_reference_may_be_guessed_as_it_is() {
    check(&[("Nginx", "", None)], &[], &[], Some(("Nginx", Confidence::Guess, &[])));
    check(&[("Nginx", "", None)], &[NGINX], &[], Some((NGINX, Confidence::Repository, &[])));
}
