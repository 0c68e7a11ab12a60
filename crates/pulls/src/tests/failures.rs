//! Pulls that fail.

use super::script::check;

#[tokio::test]
async fn an_agents_reason_is_kept_and_counted_once() {
    check(
        "
        updates
        agent n1
          a nginx:1 downloading x=10/100:downloading
        pass 1
        agent n1
          a nginx:1 failed error=not_found x=10/100:failed
        updates
        = PullStarted nginx:1
        = LayerStarted x
        = LayerProgress x
        = PullFailed nginx:1
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=1 agent:PullFailed:not found
        pass 1
        agent n1
          a nginx:1 failed error=not_found x=10/100:failed
        pass 1
        agent n1
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=1 agent:PullFailed:not found
        totals
        = active=0 unknown=0 stalled=0 recent=1 started=1 completed=0 failed=PullFailed:1 durations=0
        = bytes=10 cached=0 reports=4 refused=0/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn attempts_of_an_image_on_a_node_are_counted_until_one_succeeds() {
    check(
        "
        agent n1
          a nginx:1 failed error=first x=10/100:failed
        pass 10
        agent n1
          b nginx:1 resolving
          c redis:7 resolving
        agent n2
          b nginx:1 resolving
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=0 agent:PullFailed:first
        = nginx:1 resolving 0.0% 0/0+ layers=0/0 from=10 attempt=2 agent:PullFailed:first
        = redis:7 resolving 0.0% 0/0+ layers=0/0 from=10
        = nginx:1 resolving 0.0% 0/0+ layers=0/0 from=10
        pass 1
        agent n1
          b nginx:1 failed error=second
          c redis:7 resolving
        pass 1
        agent n1
          c redis:7 resolving
          d nginx:1 downloading x=60/100:downloading+10
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=0 agent:PullFailed:first
        = nginx:1 failed 0.0% 0/0+ layers=0/0 from=10 to=11 attempt=2 agent:PullFailed:second
        = redis:7 resolving 0.0% 0/0+ layers=0/0 from=10
        = nginx:1 resolving 0.0% 0/0+ layers=0/0 from=10
        = nginx:1 downloading 60.0% 60/100 transferred=50 layers=0/1 from=12 attempt=3 agent:PullFailed:second
        pass 1
        agent n1
          c redis:7 resolving
          d nginx:1 completed x=100/100:done+10
        pass 1
        agent n1
          c redis:7 resolving
          e nginx:1 resolving
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=0 agent:PullFailed:first
        = nginx:1 failed 0.0% 0/0+ layers=0/0 from=10 to=11 attempt=2 agent:PullFailed:second
        = redis:7 resolving 0.0% 0/0+ layers=0/0 from=10
        = nginx:1 resolving 0.0% 0/0+ layers=0/0 from=10
        = nginx:1 completed 100.0% 100/100 transferred=90 layers=1/1 from=12 to=13 attempt=3
        = nginx:1 resolving 0.0% 0/0+ layers=0/0 from=14
        ",
    )
    .await;
}

#[tokio::test]
async fn a_kubelet_says_why() {
    check(
        "
        cluster live
        pod n1 web app nginx:1 waiting
        event n1 web app Pulling nginx:1 Pulling
        agent n1
          a docker.io/library/nginx:1 downloading x=10/100:downloading
        pulls
        = docker.io/library/nginx:1 downloading 10.0% 10/100 layers=0/1 from=0 pod=web/app
        pass 1
        updates
        = PullStarted docker.io/library/nginx:1
        agent n1
          a docker.io/library/nginx:1 failed x=10/100:failed
        updates
        = LayerProgress x
        pass 1
        agent n1
        pulls
        = docker.io/library/nginx:1 downloading 10.0% 10/100 layers=0/1 from=0 pod=web/app
        event n1 web app Failed nginx:1 Failed to pull image nginx:1: no such host
        pass 1
        updates
        = PullFailed docker.io/library/nginx:1
        pulls
        = docker.io/library/nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=1 kubelet:ErrImagePull:Failed to pull image nginx:1: no such host pod=web/app
        totals
        = active=0 unknown=0 stalled=0 recent=1 started=1 completed=0 failed=ErrImagePull:1 durations=0
        = bytes=10 cached=0 reports=3 refused=0/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn a_kubelet_that_says_nothing_is_waited_for_briefly() {
    check(
        "
        cluster live
        pod n1 web app nginx:1 waiting
        agent n1
          a docker.io/library/nginx:1 downloading x=10/100:downloading
        pass 1
        agent n1
          a docker.io/library/nginx:1 failed x=10/100:failed
        pass 2
        pulls
        = docker.io/library/nginx:1 downloading 10.0% 10/100 layers=0/1 from=0 pod=web/app
        pass 1
        pulls
        = docker.io/library/nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=1 agent:Aborted: pod=web/app
        totals
        = active=0 unknown=0 stalled=0 recent=1 started=1 completed=0 failed=Aborted:1 durations=0
        = bytes=10 cached=0 reports=2 refused=0/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn a_kubelet_is_not_waited_for_where_its_cluster_is_not_followed() {
    check(
        "
        cluster degraded
        pod n1 web app nginx:1 waiting
        agent n1
          a docker.io/library/nginx:1 failed x=10/100:failed
        pulls
        = docker.io/library/nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=0 agent:Aborted: pod=web/app
        ",
    )
    .await;
}

#[tokio::test]
async fn a_kubelets_word_counts_more_than_bytes_of_original_agents() {
    check(
        "
        cluster live
        pod n1 web app nginx:1 waiting
        event n1 web app Pulling nginx:1 Pulling
        original n1
          layer-sha256:aa 50/100
        pass 1
        original n1
          layer-sha256:aa 100/100
        pass 1
        pod n1 web app nginx:1 waiting ErrImagePull rpc error: unauthorized
        original n1
        pulls
        = docker.io/library/nginx:1 failed 99.0% 100/100 layers=1/1 from=0 to=1 guess kubelet:ErrImagePull:rpc error: unauthorized pod=web/app
        totals
        = active=0 unknown=0 stalled=0 recent=1 started=1 completed=0 failed=ErrImagePull:1 durations=0
        = bytes=100 cached=0 reports=3 refused=0/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn a_failure_of_the_status_alone_is_enough() {
    check(
        "
        cluster live
        pod n1 web app nginx:1 waiting
        agent n1
          a docker.io/library/nginx:1 downloading x=10/100:downloading
        pass 1
        pod n1 web app nginx:1 waiting ErrImagePull manifest unknown
        agent n1
          a docker.io/library/nginx:1 failed x=10/100:failed
        pulls
        = docker.io/library/nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=1 kubelet:ErrImagePull:manifest unknown pod=web/app
        ",
    )
    .await;
}

/// As an agent of ours says it: a word, and a sentence that does not tell more than the word.
#[tokio::test]
async fn a_kubelet_is_waited_for_when_the_agent_knows_only_that_it_ended() {
    check(
        "
        cluster live
        pod n1 web app nginx:1 waiting
        agent n1
          a docker.io/library/nginx:1 downloading x=10/100:downloading
        pass 1
        agent n1
          a docker.io/library/nginx:1 failed error=Aborted:_the_pull_ended x=10/100:failed
        pass 1
        agent n1
        event n1 web app Failed nginx:1 Failed to pull image nginx:1: no such host
        pass 1
        pulls
        = docker.io/library/nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=1 kubelet:ErrImagePull:Failed to pull image nginx:1: no such host pod=web/app
        ",
    )
    .await;
}

#[tokio::test]
async fn the_words_of_agents_are_reasons() {
    check(
        "
        agent n1
          a nginx:1 downloading x=10/100:downloading
          b redis:7 downloading y=10/100:downloading
        pass 1
        agent n1
          a nginx:1 failed error=RuntimeRestarted:_containerd_ended x=10/100:failed
          b redis:7 failed error=Aborted:_it_ended y=10/100:failed
        pulls
        = redis:7 failed 10.0% 10/100 layers=0/1 from=0 to=1 agent:Aborted:it ended
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=1 agent:RuntimeRestarted:containerd ended
        ",
    )
    .await;
}
