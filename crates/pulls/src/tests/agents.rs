//! Reports of our agents.

use super::script::check;

#[tokio::test]
async fn a_pull_goes_from_its_first_to_its_last_byte() {
    check(
        "
        updates
        agent n1
          a nginx:1 resolving
        pulls
        = nginx:1 resolving 0.0% 0/0+ layers=0/0 from=0
        pass 1
        agent n1
          a nginx:1 downloading c=30/30:cached x=0/100:downloading y=0/300:waiting
        updates
        = PullStarted nginx:1
        = LayerCompleted c
        = LayerStarted x
        = PullProgress nginx:1
        pulls
        = nginx:1 downloading 0.0% 0/400 cached=30 layers=1/3 from=0
        pass 1
        agent n1
          a nginx:1 downloading c=30/30:cached x=100/100:downloaded y=100/300:downloading
        updates
        = LayerCompleted x
        = LayerStarted y
        = PullProgress nginx:1
        pulls
        = nginx:1 downloading 50.0% 200/400 cached=30 layers=2/3 rate=100 eta=2 from=0
        layers
        = c cached 100% 30/30
        = x downloaded 100% 100/100 from=1 to=2
        = y downloading 33% 100/300 rate=100 from=2
        pass 1
        agent n1
          a nginx:1 unpacking c=30/30:cached x=100/100:done y=300/300:unpacking
        updates
        = LayerProgress x
        = LayerCompleted y
        = PullProgress nginx:1
        pulls
        = nginx:1 unpacking 100.0% 400/400 cached=30 layers=3/3 from=0
        pass 1
        agent n1
          a nginx:1 completed ended=3 c=30/30:cached x=100/100:done y=300/300:done
        updates
        = LayerProgress y
        = PullCompleted nginx:1
        pulls
        = nginx:1 completed 100.0% 400/400 cached=30 layers=3/3 from=0 to=3
        layers
        = c cached 100% 30/30
        = x done 100% 100/100 from=1 to=2
        = y done 100% 300/300 from=2 to=3
        agent n1
          a nginx:1 completed ended=3 c=30/30:cached x=100/100:done y=300/300:done
        = reports of a node must be further apart; send the next one in 100 ms
        pass 1
        agent n1
          a nginx:1 completed ended=3 c=30/30:cached x=100/100:done y=300/300:done
        pass 1
        agent n1
        updates
        totals
        = active=0 unknown=0 stalled=0 recent=1 started=1 completed=1 failed= durations=1
        = bytes=400 cached=30 reports=7 refused=1/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn pulls_at_once_are_separate() {
    check(
        "
        agent n1
          a nginx:1 downloading x=10/100:downloading
          b redis:7 downloading x=10/100:downloading y=0/50:waiting
        agent n2
          a nginx:1 downloading x=50/100:downloading
        pass 1
        agent n1
          a nginx:1 completed x=100/100:done
          b redis:7 downloading x=100/100:done y=25/50:downloading
        pulls
        = redis:7 downloading 83.3% 125/150 layers=1/2 rate=115 eta=0 from=0
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=0 to=1
        = nginx:1 downloading 50.0% 50/100 layers=0/1 from=0
        images
        = nginx:1 nodes=1/2 active=1 completed=1 failed=0 75.0% 50/100 rate=0
        = redis:7 nodes=0/1 active=1 completed=0 failed=0 83.3% 125/150 rate=115
        nodes
        = n1 connected active=1
        = n2 connected active=1
        ",
    )
    .await;
}

#[tokio::test]
async fn a_pull_that_is_over_when_it_is_first_seen_begins_and_ends() {
    check(
        "
        updates
        agent n1
          a nginx:1 completed started=-2 ended=-1 x=100/100:done
        updates
        = PullStarted nginx:1
        = LayerCompleted x
        = PullCompleted nginx:1
        pulls
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=-2 to=-1
        ",
    )
    .await;
}

#[tokio::test]
async fn percent_never_falls_when_a_layer_begins_anew() {
    check(
        "
        agent n1
          a nginx:1 downloading x=0/100:downloading
        pass 1
        agent n1
          a nginx:1 downloading x=80/100:downloading
        pass 1
        agent n1
          a nginx:1 downloading x=10/100:downloading
        pulls
        = nginx:1 downloading 80.0% 10/100 transferred=80 layers=0/1 rate=40 eta=2 from=0
        layers
        = x downloading 80% 10/100 rate=40 from=0
        pass 1
        agent n1
          a nginx:1 downloading x=90/100:downloading
        pulls
        = nginx:1 downloading 90.0% 90/100 transferred=160 layers=0/1 rate=53 eta=0 from=0
        ",
    )
    .await;
}

#[tokio::test]
async fn bytes_of_an_earlier_attempt_are_not_transferred_again() {
    check(
        "
        agent n1
          a nginx:1 downloading x=60/100:downloading+60 y=0/50:waiting
        pass 1
        agent n1
          a nginx:1 downloading x=100/100:downloaded+60 y=0/50:downloading
        pulls
        = nginx:1 downloading 66.7% 100/150 transferred=40 layers=1/2 rate=40 eta=1 from=0
        pass 1
        agent n1
          a nginx:1 downloading x=100/100:downloaded+60 y=40/50:downloading+30
        pulls
        = nginx:1 downloading 93.3% 140/150 transferred=50 layers=1/2 rate=25 eta=0 from=0
        ",
    )
    .await;
}

#[tokio::test]
async fn what_may_still_grow_is_never_all_there() {
    check(
        "
        agent n1
          a nginx:1 downloading more=true x=100/100:downloaded
        pulls
        = nginx:1 downloading 99.0% 100/100+ layers=1/1 from=0
        pass 1
        agent n1
          a nginx:1 downloading x=100/100:downloaded y=0/100:downloading
        pulls
        = nginx:1 downloading 99.0% 100/200 layers=1/2 from=0
        pass 1
        agent n1
          a nginx:1 completed x=100/100:done y=100/100:done
        pulls
        = nginx:1 completed 100.0% 200/200 layers=2/2 from=0 to=2
        ",
    )
    .await;
}

#[tokio::test]
async fn bytes_that_cannot_be_are_put_right() {
    check(
        "
        agent n1
          a nginx:1 downloading x=500/100:downloading y=-5/50:downloading z=7/-9:downloading
        pulls
        = nginx:1 downloading 66.7% 100/150 layers=0/3 from=0
        layers
        = x downloading 100% 100/100 from=0
        = y downloading 0% 0/50 from=0
        = z downloading 0% 0/0 from=0
        ",
    )
    .await;
}

#[tokio::test]
async fn a_pull_of_cached_layers_alone_needs_nothing() {
    check(
        "
        agent n1
          a nginx:1 unpacking x=100/100:cached y=50/50:cached
        pulls
        = nginx:1 unpacking 100.0% 0/0 cached=150 layers=2/2 from=0
        pass 1
        agent n1
          a nginx:1 completed x=100/100:cached y=50/50:cached
        pulls
        = nginx:1 completed 100.0% 0/0 cached=150 layers=2/2 from=0 to=1
        totals
        = active=0 unknown=0 stalled=0 recent=1 started=1 completed=1 failed= durations=1
        = bytes=0 cached=150 reports=2 refused=0/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn a_download_without_a_byte_for_long_has_stalled() {
    check(
        "
        agent n1
          a nginx:1 downloading x=0/100:downloading
        pass 1
        agent n1 interval=60000
          a nginx:1 downloading x=10/100:downloading
        pass 29
        updates
        = PullProgress nginx:1
        pulls
        = nginx:1 downloading 10.0% 10/100 layers=0/1 from=0
        pass 1
        updates
        = PullProgress nginx:1
        pulls
        = nginx:1 downloading 10.0% 10/100 layers=0/1 stalled=1 from=0
        totals
        = active=1 unknown=0 stalled=1 recent=0 started=1 completed=0 failed= durations=0
        = bytes=0 cached=0 reports=2 refused=0/0 nodes=1/1
        agent n1 interval=60000
          a nginx:1 downloading x=10/100:downloading
        pulls
        = nginx:1 downloading 10.0% 10/100 layers=0/1 stalled=1 from=0
        pass 1
        agent n1 interval=60000
          a nginx:1 downloading x=20/100:downloading
        pulls
        = nginx:1 downloading 20.0% 20/100 layers=0/1 rate=1 eta=80 from=0
        pass 40
        agent n1
          a nginx:1 unpacking x=100/100:unpacking
        pass 10
        pulls
        = nginx:1 unpacking 100.0% 100/100 layers=1/1 from=0
        ",
    )
    .await;
}

#[tokio::test]
async fn a_rate_falls_to_nothing_when_nothing_comes() {
    check(
        "
        agent n1
          a nginx:1 downloading x=0/1000:downloading
        pass 1
        agent n1
          a nginx:1 downloading x=100/1000:downloading
        pulls
        = nginx:1 downloading 10.0% 100/1000 layers=0/1 rate=100 eta=9 from=0
        pass 4
        pulls
        = nginx:1 downloading 10.0% 100/1000 layers=0/1 rate=20 eta=45 from=0
        layers
        = x downloading 10% 100/1000 rate=20 from=0
        pass 6
        pulls
        = nginx:1 downloading 10.0% 100/1000 layers=0/1 from=0
        layers
        = x downloading 10% 100/1000 from=0
        ",
    )
    .await;
}

#[tokio::test]
async fn a_look_that_failed_changes_no_pull() {
    check(
        "
        agent n1
          a nginx:1 downloading x=10/100:downloading
        pass 1
        agent n1 error=no-socket
        nodes
        = n1 connected active=1 error=no-socket
        pulls
        = nginx:1 downloading 10.0% 10/100 layers=0/1 from=0
        pass 10
        agent n1 error=no-socket
        pass 10
        agent n1 error=no-socket
        nodes
        = n1 connected active=1 error=no-socket
        pulls
        = nginx:1 unknown 10.0% 10/100 layers=0/1 from=0
        pass 1
        agent n1
          a nginx:1 downloading x=20/100:downloading
        nodes
        = n1 connected active=1
        pulls
        = nginx:1 downloading 20.0% 20/100 layers=0/1 rate=1 eta=80 from=0
        ",
    )
    .await;
}

#[tokio::test]
async fn a_silent_agents_pulls_are_unknown_until_it_is_back() {
    check(
        "
        updates
        agent n1
          a nginx:1 downloading x=10/100:downloading
        pass 15
        updates
        = PullStarted nginx:1
        = LayerStarted x
        nodes
        = n1 connected active=1
        pass 1
        updates
        = PullProgress nginx:1
        nodes
        = n1 silent active=1
        pulls
        = nginx:1 unknown 10.0% 10/100 layers=0/1 from=0
        totals
        = active=1 unknown=1 stalled=0 recent=0 started=1 completed=0 failed= durations=0
        = bytes=0 cached=0 reports=1 refused=0/0 nodes=0/1
        agent n1
          a nginx:1 downloading x=60/100:downloading
        updates
        = LayerProgress x
        = PullProgress nginx:1
        pulls
        = nginx:1 downloading 60.0% 60/100 layers=0/1 rate=5 eta=8 from=0
        totals
        = active=1 unknown=0 stalled=0 recent=0 started=1 completed=0 failed= durations=0
        = bytes=0 cached=0 reports=2 refused=0/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn silence_is_five_intervals_if_that_is_longer() {
    check(
        "
        agent n1 interval=10000
          a nginx:1 downloading x=10/100:downloading
        pass 50
        nodes
        = n1 connected active=1
        pass 1
        nodes
        = n1 silent active=1
        ",
    )
    .await;
}

#[tokio::test]
async fn who_is_silent_for_too_long_is_lost() {
    check(
        "
        updates
        agent n1
          a nginx:1 downloading x=10/100:downloading
        pass 599
        pulls
        = nginx:1 unknown 10.0% 10/100 layers=0/1 from=0
        totals
        = active=1 unknown=1 stalled=0 recent=0 started=1 completed=0 failed= durations=0
        = bytes=0 cached=0 reports=1 refused=0/0 nodes=0/1
        pass 1
        updates
        = PullStarted nginx:1
        = LayerStarted x
        = PullFailed nginx:1
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=600 silence:AgentLost:the agent of the node does not report any more
        totals
        = active=0 unknown=0 stalled=0 recent=1 started=1 completed=0 failed=AgentLost:1 durations=0
        = bytes=10 cached=0 reports=1 refused=0/0 nodes=0/1
        agent n1
          a nginx:1 downloading x=60/100:downloading
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=600 silence:AgentLost:the agent of the node does not report any more
        = nginx:1 downloading 60.0% 60/100 layers=0/1 from=600 attempt=2 silence:AgentLost:the agent of the node does not report any more
        pass 1
        agent n1
          a nginx:1 completed x=100/100:done
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=600 silence:AgentLost:the agent of the node does not report any more
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=600 to=601 attempt=2
        totals
        = active=0 unknown=0 stalled=0 recent=2 started=2 completed=1 failed=AgentLost:1 durations=1
        = bytes=110 cached=0 reports=3 refused=0/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn times_are_by_the_servers_clock() {
    check(
        "
        agent n1 ahead=60
          a nginx:1 downloading started=58 x=10/100:downloading
        pass 1
        agent n1 ahead=60
          a nginx:1 completed started=58 ended=61 x=100/100:done
        nodes
        = n1 connected active=0 ahead=60
        pulls
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=-2 to=1
        ",
    )
    .await;
}

#[tokio::test]
async fn an_older_report_changes_nothing() {
    check(
        "
        agent n1 started=0 sequence=1
          a nginx:1 downloading x=10/100:downloading
        pass 1
        agent n1 started=0 sequence=3
          a nginx:1 downloading x=50/100:downloading
        pass 1
        agent n1 started=0 sequence=2
        pulls
        = nginx:1 downloading 50.0% 50/100 layers=0/1 rate=40 eta=1 from=0
        agent n1 started=5 sequence=1
        = reports of a node must be further apart; send the next one in 100 ms
        pass 1
        agent n1 started=5 sequence=1
          a nginx:1 downloading x=50/100:downloading
        pulls
        = nginx:1 downloading 50.0% 50/100 layers=0/1 rate=13 eta=4 from=0
        ",
    )
    .await;
}

#[tokio::test]
async fn what_is_not_told_any_more_ends_as_its_bytes_say() {
    check(
        "
        agent n1
          full nginx:1 unpacking x=100/100:unpacking
          part redis:7 downloading x=50/100:downloading
          none busybox:1 resolving
        pass 1
        updates
        = PullStarted nginx:1
        = PullStarted redis:7
        = PullStarted busybox:1
        agent n1
        updates
        = PullFailed redis:7
        = PullFailed busybox:1
        = PullCompleted nginx:1
        pulls
        = redis:7 failed 50.0% 50/100 layers=0/1 from=0 to=1 agent:Aborted:it was gone before all known layers were there
        = busybox:1 failed 0.0% 0/0+ layers=0/0 from=0 to=1 agent:Aborted:it was gone before all known layers were there
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=0 to=1
        totals
        = active=0 unknown=0 stalled=0 recent=3 started=3 completed=1 failed=Aborted:2 durations=1
        = bytes=150 cached=0 reports=2 refused=0/0 nodes=1/1
        agent n1
        = reports of a node must be further apart; send the next one in 100 ms
        ",
    )
    .await;
}

#[tokio::test]
async fn layers_can_be_many_and_the_same() {
    check(
        "
        agent n1
          a nginx:1 downloading x=10/100:downloading x=0/100:waiting y=0/10:waiting
        pass 1
        agent n1
          a nginx:1 downloading y=10/10:downloaded x=100/100:downloaded x=50/100:downloading
        layers
        = y downloaded 100% 10/10 from=1 to=1
        = x downloaded 100% 100/100 from=0 to=1
        = x downloading 50% 50/100 from=1
        pulls
        = nginx:1 downloading 76.2% 160/210 layers=2/3 rate=150 eta=0 from=0
        ",
    )
    .await;
}

#[tokio::test]
async fn several_clusters_have_nodes_of_the_same_name() {
    check(
        "
        agent n1 cluster=east
          a nginx:1 downloading x=10/100:downloading
        agent n1 cluster=west
          a nginx:1 downloading x=20/100:downloading
        nodes
        = n1 connected active=1
        = n1 connected active=1
        pass 1
        agent n1 cluster=east
        pulls
        = nginx:1 downloading 20.0% 20/100 layers=0/1 from=0
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=1 agent:Aborted:it was gone before all known layers were there
        ",
    )
    .await;
}
