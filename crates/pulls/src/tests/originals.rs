//! Reports of original agents.

use super::script::check;

#[tokio::test]
async fn digests_of_a_node_are_one_pull_without_manifests() {
    check(
        "
        updates
        original n1
          manifest-sha256:m 500/500
          config-sha256:c 100/900
        pulls
        = ? resolving 0.0% 0/0+ layers=0/0 from=0 unknown
        pass 1
        original n1
          config-sha256:c 900/900
          layer-sha256:b 10/100
          layer-sha256:a 0/300
        updates
        = PullStarted ?
        = LayerStarted sha256:a
        = LayerStarted sha256:b
        = PullProgress ?
        pulls
        = ? downloading 2.5% 10/400 layers=0/2 rate=10 eta=39 from=0 unknown
        layers
        = sha256:a downloading 0% 0/300 from=1
        = sha256:b downloading 10% 10/100 from=1
        pass 1
        original n1
          layer-sha256:a 150/300
          layer-sha256:c 0/?
          layer-sha256:b 100/100
        pulls
        = ? downloading 62.5% 250/400+ layers=1/3 rate=125 from=0 unknown
        layers
        = sha256:a downloading 50% 150/300 rate=150 from=1
        = sha256:b downloaded 100% 100/100 from=1 to=2
        = sha256:c downloading 0% 0/0 from=2
        ",
    )
    .await;
}

#[tokio::test]
async fn layers_that_are_not_told_any_more_stay() {
    check(
        "
        original n1
          layer-sha256:a 100/100
          layer-sha256:b 50/100
        pass 1
        original n1
          layer-sha256:b 60/100
        pulls
        = ? downloading 80.0% 160/200 layers=1/2 rate=10 eta=4 from=0 unknown
        pass 1
        original n1
          layer-sha256:c 0/200
          layer-sha256:b 100/100
        pulls
        = ? downloading 80.0% 200/400 layers=2/3 rate=25 eta=8 from=0 unknown
        layers
        = sha256:a downloaded 100% 100/100 from=0 to=0
        = sha256:b downloaded 100% 100/100 from=0 to=2
        = sha256:c downloading 0% 0/200 from=2
        ",
    )
    .await;
}

#[tokio::test]
async fn an_end_is_when_the_last_byte_came() {
    check(
        "
        original n1
          layer-sha256:a 50/100
        pass 2
        original n1
          layer-sha256:a 100/100
        pass 10
        original n1
          layer-sha256:a 100/100
        pass 10
        original n1
          layer-sha256:a 100/100
        pass 10
        original n1
        pulls
        = ? completed 100.0% 100/100 layers=1/1 from=0 to=2 unknown
        totals
        = active=0 unknown=0 stalled=0 recent=1 started=1 completed=1 failed= durations=1
        = bytes=100 cached=0 reports=5 refused=0/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn what_is_given_up_is_not_complete() {
    check(
        "
        original n1
          layer-sha256:a 50/100
        pass 1
        original n1
        updates
        = PullFailed ?
        pulls
        = ? failed 50.0% 50/100 layers=0/1 from=0 to=1 unknown agent:Aborted:it was gone before all known layers were there
        totals
        = active=0 unknown=0 stalled=0 recent=1 started=1 completed=0 failed=Aborted:1 durations=0
        = bytes=50 cached=0 reports=2 refused=0/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn the_next_pull_of_a_node_has_a_rate_of_its_own() {
    check(
        "
        original n1
          layer-sha256:a 0/1000
        pass 1
        original n1
          layer-sha256:a 1000/1000
        pass 1
        original n1
        pass 1
        original n1
          layer-sha256:b 0/500
        pass 1
        original n1
          layer-sha256:b 100/500
        pulls
        = ? completed 100.0% 1000/1000 layers=1/1 from=0 to=1 unknown
        = ? downloading 20.0% 100/500 layers=0/1 rate=100 eta=4 from=3 unknown
        ",
    )
    .await;
}

#[tokio::test]
async fn names_are_kept_apart_whatever_they_are() {
    check(
        "
        original n1
          x:__merged__ layer-sha256:a=10/100
          __pulling__ layer-sha256:a=20/100
          layer-sha256:b 30/100
        pulls
        = x:__merged__ downloading 10.0% 10/100 layers=0/1 from=0
        = ? downloading 30.0% 30/100 layers=0/1 from=0 unknown
        = __pulling__ downloading 20.0% 20/100 layers=0/1 from=0
        pass 1
        original n1
          __pulling__ layer-sha256:a=100/100
          layer-sha256:b 30/100
        pulls
        = x:__merged__ failed 10.0% 10/100 layers=0/1 from=0 to=1 agent:Aborted:it was gone before all known layers were there
        = ? downloading 30.0% 30/100 layers=0/1 from=0 unknown
        = __pulling__ downloading 99.0% 100/100 layers=1/1 rate=80 from=0
        ",
    )
    .await;
}

#[tokio::test]
async fn a_name_that_comes_back_is_another_pull() {
    check(
        "
        original n1
          nginx:1 layer-sha256:a=10/100
        pass 1
        original n1
        pass 1
        original n1
          nginx:1 layer-sha256:a=20/100
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=1 agent:Aborted:it was gone before all known layers were there
        = nginx:1 downloading 20.0% 20/100 layers=0/1 from=2 attempt=2 agent:Aborted:it was gone before all known layers were there
        ",
    )
    .await;
}

#[tokio::test]
async fn a_node_that_asks_for_one_image_lends_its_name() {
    check(
        "
        pod n1 web app nginx:1 waiting
        event n1 web app Pulling nginx:1 Pulling
        original n1
          layer-sha256:a 10/100
        pulls
        = docker.io/library/nginx:1 downloading 10.0% 10/100 layers=0/1 from=0 guess pod=web/app
        ",
    )
    .await;
}

#[tokio::test]
async fn nothing_known_is_nothing_shown() {
    check(
        "
        original n1
          sha256:a
        pulls
        nodes
        = n1 connected active=0
        ",
    )
    .await;
}
