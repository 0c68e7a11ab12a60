//! What is known after the server started again.

use super::script::check;

#[tokio::test]
async fn running_pulls_are_known_again_and_unknown_until_their_agent_reports() {
    check(
        "
        agent n1
          a nginx:1 downloading x=10/100:downloading
        original n2
          layer-sha256:b 50/100
          redis:7 layer-sha256:c=5/10
        restart
        pulls
        = ? unknown 50.0% 50/100 layers=0/1 from=0 unknown
        = redis:7 unknown 50.0% 5/10 layers=0/1 from=0
        = nginx:1 unknown 10.0% 10/100 layers=0/1 from=0
        updates
        = PullStarted ?
        = PullStarted redis:7
        = PullStarted nginx:1
        nodes
        = n1 silent active=1
        = n2 silent active=2
        pass 1
        agent n1
          a nginx:1 downloading x=60/100:downloading
        original n2
          layer-sha256:b 100/100
          redis:7 layer-sha256:c=6/10
        updates
        = LayerProgress x
        = PullProgress nginx:1
        = LayerProgress sha256:c
        = PullProgress redis:7
        = LayerCompleted sha256:b
        = PullProgress ?
        pulls
        = ? downloading 99.0% 100/100 layers=1/1 from=0 unknown
        = redis:7 downloading 60.0% 6/10 layers=0/1 from=0
        = nginx:1 downloading 60.0% 60/100 layers=0/1 from=0
        pass 1
        agent n1
        original n2
        pulls
        = ? completed 100.0% 100/100 layers=1/1 from=0 to=1 unknown
        = redis:7 failed 60.0% 6/10 layers=0/1 from=0 to=2 agent:Aborted:it was gone before all known layers were there
        = nginx:1 failed 60.0% 60/100 layers=0/1 from=0 to=2 agent:Aborted:it was gone before all known layers were there
        totals
        = active=0 unknown=0 stalled=0 recent=3 started=0 completed=1 failed=Aborted:2 durations=1
        = bytes=166 cached=0 reports=4 refused=0/0 nodes=2/2
        ",
    )
    .await;
}

#[tokio::test]
async fn an_agent_that_does_not_come_back_is_lost() {
    check(
        "
        agent n1
          a nginx:1 downloading x=10/100:downloading
        restart
        pass 599
        pulls
        = nginx:1 unknown 10.0% 10/100 layers=0/1 from=0
        pass 1
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=600 silence:AgentLost:the agent of the node does not report any more
        restart
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=600 silence:AgentLost:the agent of the node does not report any more
        agent n1
          a nginx:1 downloading x=60/100:downloading
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=600 silence:AgentLost:the agent of the node does not report any more
        = nginx:1 downloading 60.0% 60/100 layers=0/1 from=600 attempt=2 silence:AgentLost:the agent of the node does not report any more
        ",
    )
    .await;
}

#[tokio::test]
async fn what_ended_is_known_again_and_does_not_begin_anew() {
    check(
        "
        agent n1
          a nginx:1 completed x=100/100:done
        pass 1
        restart
        agent n1
          a nginx:1 completed x=100/100:done
        updates
        = PullCompleted nginx:1
        pulls
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=0 to=0
        totals
        = active=0 unknown=0 stalled=0 recent=1 started=0 completed=0 failed= durations=0
        = bytes=0 cached=0 reports=1 refused=0/0 nodes=1/1
        ",
    )
    .await;
}

#[tokio::test]
async fn attempts_are_counted_on() {
    check(
        "
        agent n1
          a nginx:1 failed error=gone x=10/100:failed
        restart
        pass 1
        agent n1
          b nginx:1 resolving
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=0 agent:PullFailed:gone
        = nginx:1 resolving 0.0% 0/0+ layers=0/0 from=1 attempt=2 agent:PullFailed:gone
        ",
    )
    .await;
}

#[tokio::test]
async fn an_end_is_published_at_least_once() {
    check(
        "
        agent n1
          a nginx:1 downloading x=10/100:downloading
        flush
        published
        pass 1
        agent n1
          a nginx:1 completed x=100/100:done
          b redis:7 failed error=gone x=0/100:failed
        sink fails
        flush
        published
        crash
        sink works
        flush
        published
        = redis:7 failed 0.0% 0/100 layers=0/1 from=1 to=1 agent:PullFailed:gone
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=0 to=1
        flush
        published
        restart
        published
        ",
    )
    .await;
}

#[tokio::test]
async fn an_end_that_was_not_written_is_told_by_the_next_report() {
    check(
        "
        agent n1
          a nginx:1 downloading x=10/100:downloading
        flush
        pass 1
        agent n1
          a nginx:1 completed x=100/100:done
        crash
        pulls
        = nginx:1 unknown 10.0% 10/100 layers=0/1 from=0
        agent n1
          a nginx:1 completed x=100/100:done
        pulls
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=0 to=1
        flush
        published
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=0 to=1
        ",
    )
    .await;
}

#[tokio::test]
async fn what_is_old_leaves_memory_and_stays_in_the_history() {
    check(
        "
        updates
        agent n1
          a nginx:1 completed x=100/100:done
        updates
        = PullStarted nginx:1
        = LayerCompleted x
        = PullCompleted nginx:1
        flush
        pass 1800
        pulls
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=0 to=0
        pass 1
        updates
        = PullRemoved nginx:1
        pulls
        history
        = nginx:1 completed 100.0% 100/100 layers=1/1 from=0 to=0
        ",
    )
    .await;
}

#[tokio::test]
async fn a_pull_that_ended_while_the_server_was_away_is_not_called_given_up() {
    check(
        "
        agent n1
          a nginx:1 downloading x=10/100:downloading
        restart
        pass 1
        agent n1
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=1 agent:Unobserved:it was gone before all known layers were there
        ",
    )
    .await;
}

#[tokio::test]
async fn a_pull_that_began_anew_after_silence_goes_on_over_a_restart() {
    check(
        "
        agent n1
          a nginx:1 downloading x=10/100:downloading
        pass 600
        agent n1
          a nginx:1 downloading x=20/100:downloading
        restart
        pass 1
        agent n1
          a nginx:1 downloading x=30/100:downloading
        pulls
        = nginx:1 failed 10.0% 10/100 layers=0/1 from=0 to=600 silence:AgentLost:the agent of the node does not report any more
        = nginx:1 downloading 30.0% 30/100 layers=0/1 from=600 attempt=2 silence:AgentLost:the agent of the node does not report any more
        ",
    )
    .await;
}
