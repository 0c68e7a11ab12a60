//! Names of images, and the pods that wait for them.

use super::script::check;

#[tokio::test]
async fn a_name_is_as_sure_as_what_it_is_made_of() {
    check(
        "
        agent n1
          a sha256:aa resolving digest=sha256:aa
        pulls
        = sha256:aa resolving 0.0% 0/0+ layers=0/0 from=0 unknown
        pod n1 web app nginx:1 waiting
        event n1 web app Pulling nginx:1 Pulling
        pass 1
        agent n1
          a sha256:aa resolving digest=sha256:aa
        pulls
        = docker.io/library/nginx:1 resolving 0.0% 0/0+ layers=0/0 from=0 guess pod=web/app
        pod n1 db app redis:7 waiting
        event n1 db app Pulling redis:7 Pulling
        pass 1
        agent n1
          a docker.io/library/redis resolving digest=sha256:aa confidence=repository
        pulls
        = docker.io/library/redis:7 resolving 0.0% 0/0+ layers=0/0 from=0 likely pod=db/app
        pod n1 db app redis:7 running
        pass 1
        agent n1
          a docker.io/library/redis downloading digest=sha256:aa confidence=repository x=1/10:downloading
        pulls
        = docker.io/library/redis:7 downloading 10.0% 1/10 layers=0/1 rate=0 eta=27 from=0 likely
        pass 1
        agent n1
          a docker.io/library/redis:7.2 downloading digest=sha256:aa confidence=certain x=1/10:downloading
        pulls
        = docker.io/library/redis:7.2 downloading 10.0% 1/10 layers=0/1 rate=0 eta=36 from=0
        ",
    )
    .await;
}

#[tokio::test]
async fn pods_that_wait_are_told_and_those_that_waited_are_kept() {
    check(
        "
        cluster live
        pod n1 web app nginx:1 waiting
        pod n1 api side nginx:1 waiting PodInitializing
        pod n2 other app nginx:1 waiting
        agent n1
          a docker.io/library/nginx:1 downloading x=10/100:downloading
        pulls
        = docker.io/library/nginx:1 downloading 10.0% 10/100 layers=0/1 from=0 pod=api/side pod=web/app
        updates
        = PullStarted docker.io/library/nginx:1
        pod n1 api side nginx:1 gone
        pod n1 api side nginx:1 running
        pass 1
        updates
        = PullProgress docker.io/library/nginx:1
        pulls
        = docker.io/library/nginx:1 downloading 10.0% 10/100 layers=0/1 from=0 pod=web/app
        pod n1 web app nginx:1 running
        pass 1
        pulls
        = docker.io/library/nginx:1 downloading 10.0% 10/100 layers=0/1 from=0
        agent n1
          a docker.io/library/nginx:1 completed x=100/100:done
        pulls
        = docker.io/library/nginx:1 completed 100.0% 100/100 layers=1/1 from=0 to=2 pod=web/app
        ",
    )
    .await;
}

#[tokio::test]
async fn a_pod_is_told_what_it_waits_for() {
    check(
        "
        cluster live
        pod n1 web app nginx:1 waiting
        pod n1 db app redis:7 waiting
        pods
        = default/db app - ContainerCreating
        = default/web app - ContainerCreating
        event n1 web app Pulling nginx:1 Pulling
        event n1 db app Pulling redis:7 Pulling
        agent n1
          a docker.io/library/nginx:1 downloading x=50/100:downloading
        pods
        = default/db app queued behind=1 ContainerCreating
        = default/web app downloading 50% ContainerCreating
        pass 3
        agent n1
          a docker.io/library/nginx:1 completed x=100/100:done
          b docker.io/library/redis:7 downloading x=50/100:downloading
        pod n1 web app nginx:1 running
        pods
        = default/db app downloading 50% ContainerCreating
        pod n1 db app redis:7 waiting ErrImagePull not found
        event n1 db app Failed redis:7 not found
        pass 1
        agent n1
          b docker.io/library/redis:7 failed error=not_found x=50/100:failed
        pods
        = default/db app failed ErrImagePull
        pulls
        = docker.io/library/nginx:1 completed 100.0% 100/100 layers=1/1 from=0 to=3 pod=web/app
        = docker.io/library/redis:7 failed 50.0% 50/100 layers=0/1 queued=0 from=3 to=4 kubelet:ErrImagePull:not found pod=db/app
        ",
    )
    .await;
}

#[tokio::test]
async fn a_pull_says_since_when_it_was_asked_for() {
    check(
        "
        pod n1 web app nginx:1 waiting
        event n1 web app Pulling nginx:1 Pulling
        pass 5
        agent n1
          a docker.io/library/nginx:1 resolving
        pulls
        = docker.io/library/nginx:1 resolving 0.0% 0/0+ layers=0/0 queued=0 from=5 pod=web/app
        ",
    )
    .await;
}
