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
