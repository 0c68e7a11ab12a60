//! What the workers hold, in lanes: the state, without time, tasks or a log of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::{Body, Delivery, Lane, Offset};

/// Deliveries that are not settled. Each lane is worked on by one worker at a time, in its order.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// What waits in each lane that somebody works on, that is ready, or that waits for its time.
    queues: HashMap<Lane, VecDeque<Work>>,
    ready: VecDeque<Lane>,
    waiting: BTreeSet<(Duration, Lane)>,
    /// Everything that is held, and when it was last said that it is being worked on.
    held: BTreeMap<Offset, Duration>,
    bytes: usize,
}

/// A delivery, and what became of it so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) delivery: Delivery,
    /// Attempts that failed since it was delivered.
    pub(super) failures: u32,
    /// Attempts that could not be made since the last one that failed.
    pub(super) delays: u32,
}

impl Work {
    fn bytes(&self) -> usize {
        match &self.delivery.body {
            Body::Entry(entry) => entry.envelope.len(),
            Body::Undecodable { bytes, .. } => bytes.len(),
        }
    }
}

impl Lanes {
    /// Adds a delivery behind those of its lane, unless it is held already; returns whether its lane is ready now.
    pub(super) fn push(&mut self, delivery: Delivery, now: Duration) -> bool {
        if self.held.insert(delivery.offset, now).is_some() {
            return false;
        }
        let lane = match &delivery.body {
            Body::Entry(entry) => entry.lane,
            // It keeps no order with anything.
            Body::Undecodable { .. } => Lane(delivery.offset.0),
        };
        let work = Work { delivery, failures: 0, delays: 0 };
        self.bytes = self.bytes.saturating_add(work.bytes());
        match self.queues.get_mut(&lane) {
            Some(queue) => {
                queue.push_back(work);
                false
            }
            None => {
                self.queues.insert(lane, VecDeque::from([work]));
                self.ready.push_back(lane);
                true
            }
        }
    }

    /// Returns the first delivery of a lane that is ready, or why there is none. The lane is the caller's until it
    /// says what became of the delivery.
    pub(super) fn take(&mut self, now: Duration) -> Option<(Lane, Work)> {
        while let Some((due, lane)) = self.waiting.first().copied()
            && due <= now
        {
            self.waiting.remove(&(due, lane));
            self.ready.push_back(lane);
        }
        let lane = self.ready.pop_front()?;
        let work = self.queues.get_mut(&lane)?.pop_front()?;
        Some((lane, work))
    }

    /// Whether a lane is ready, or will be.
    pub(super) fn has_more(&self) -> bool {
        !self.ready.is_empty() || !self.waiting.is_empty()
    }

    /// Notes that a delivery is settled; returns whether its lane is ready again.
    pub(super) fn done(&mut self, lane: Lane, work: &Work) -> bool {
        self.held.remove(&work.delivery.offset);
        self.bytes = self.bytes.saturating_sub(work.bytes());
        if self.queues.get(&lane).is_some_and(|queue| !queue.is_empty()) {
            self.ready.push_back(lane);
            return true;
        }
        self.queues.remove(&lane);
        false
    }

    /// Puts a delivery back to the front of its lane, which waits until `due`.
    pub(super) fn retry(&mut self, lane: Lane, work: Work, due: Duration) {
        self.queues.entry(lane).or_default().push_front(work);
        self.waiting.insert((due, lane));
    }

    /// Returns when the next lane that waits is ready.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.waiting.first().map(|(due, _)| *due)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns what has been held since `since` without a word, and counts it as said now.
    pub(super) fn silent_since(&mut self, since: Duration, now: Duration) -> Vec<Offset> {
        let silent = self.held.iter_mut().filter(|(_, said)| **said <= since);
        silent
            .map(|(offset, said)| {
                *said = now;
                *offset
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{TenantId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::Entry;

    const NOW: Duration = Duration::from_secs(9);

    fn delivery(offset: u64, lane: u64) -> Delivery {
        let entry = Entry {
            offset: Offset(offset),
            tenant: TenantId::default_tenant(),
            received_at: Timestamp::from_millis(0),
            lane: Lane(lane),
            envelope: vec![0; 3].into(),
        };
        Delivery { offset: Offset(offset), attempt: 1, body: Body::Entry(entry) }
    }

    fn take(lanes: &mut Lanes, now: Duration) -> Option<(Lane, Work)> {
        lanes.take(now)
    }

    fn offset(taken: &Option<(Lane, Work)>) -> Option<u64> {
        taken.as_ref().map(|(_, work)| work.delivery.offset.0)
    }

    #[test]
    fn a_lane_is_with_one_worker_and_the_others_go_on() {
        let mut lanes = Lanes::default();
        assert!(lanes.push(delivery(1, 7), NOW));
        assert!(!lanes.push(delivery(2, 7), NOW), "the lane is ready already");
        assert!(lanes.push(delivery(3, 8), NOW));
        let first = take(&mut lanes, NOW);
        let other = take(&mut lanes, NOW);
        assert_eq!((offset(&first), offset(&other)), (Some(1), Some(3)));
        assert_eq!(offset(&take(&mut lanes, NOW)), None);
        let (lane, work) = first.expect("taken");
        assert!(lanes.done(lane, &work));
        assert_eq!(offset(&take(&mut lanes, NOW)), Some(2));
    }

    #[test]
    fn what_is_retried_stays_first_in_its_lane() {
        let mut lanes = Lanes::default();
        lanes.push(delivery(1, 7), NOW);
        lanes.push(delivery(2, 7), NOW);
        let (lane, work) = take(&mut lanes, NOW).expect("ready");
        let due = NOW + Duration::from_secs(1);
        lanes.retry(lane, work, due);
        assert!(!lanes.push(delivery(3, 7), NOW));
        assert_eq!(offset(&take(&mut lanes, due - Duration::from_nanos(1))), None);
        assert_eq!(lanes.next_due(), Some(due));
        assert_eq!(offset(&take(&mut lanes, due)), Some(1));
    }

    #[test]
    fn what_is_held_is_not_taken_in_twice_and_counted() {
        let mut lanes = Lanes::default();
        lanes.push(delivery(1, 7), NOW);
        assert!(!lanes.push(delivery(1, 7), NOW));
        assert_eq!((lanes.len(), lanes.bytes()), (1, 3));
        let (lane, work) = take(&mut lanes, NOW).expect("ready");
        assert!(!lanes.push(delivery(1, 7), NOW), "it is being worked on");
        assert!(!lanes.done(lane, &work));
        assert_eq!((lanes.len(), lanes.bytes(), lanes.queues.len()), (0, 0, 0));
        assert!(lanes.push(delivery(1, 7), NOW), "it was delivered again");
    }

    #[test]
    fn what_is_held_for_long_is_named_once_per_interval() {
        let mut lanes = Lanes::default();
        lanes.push(delivery(1, 7), NOW);
        lanes.push(delivery(2, 7), NOW + Duration::from_secs(1));
        let later = NOW + Duration::from_secs(5);
        assert_eq!(lanes.silent_since(NOW, later), [Offset(1)]);
        assert_eq!(lanes.silent_since(NOW, later), []);
        assert_eq!(lanes.silent_since(later, later), [Offset(1), Offset(2)]);
    }

    proptest! {
        /// Whatever is settled, retried and delivered in between, each lane is worked on in its order.
        #[test]
        fn every_lane_keeps_its_order(
            lanes_of in proptest::collection::vec(0_u64..4, 1..60),
            choices in proptest::collection::vec(0_usize..6, 0..400),
        ) {
            let mut lanes = Lanes::default();
            let mut deliveries = (0..).zip(&lanes_of).map(|(offset, lane)| delivery(offset, *lane));
            let mut taken: Vec<(Lane, Work)> = Vec::new();
            let mut done: BTreeMap<Lane, Vec<u64>> = BTreeMap::new();
            let mut now = NOW;
            for choice in choices.into_iter().chain((0..1_000).map(|step| step % 4)) {
                now += Duration::from_millis(1);
                match choice {
                    0 => drop(deliveries.next().map(|delivery| lanes.push(delivery, now))),
                    1 | 4 => taken.extend(take(&mut lanes, now)),
                    2 if !taken.is_empty() => {
                        let (lane, work) = taken.remove(0);
                        done.entry(lane).or_default().push(work.delivery.offset.0);
                        lanes.done(lane, &work);
                    }
                    5 if !taken.is_empty() => {
                        let (lane, work) = taken.remove(0);
                        lanes.retry(lane, work, now + Duration::from_millis(3));
                    }
                    _ => {}
                }
                let mut busy: Vec<Lane> = taken.iter().map(|(lane, _)| *lane).collect();
                busy.sort_unstable();
                busy.dedup();
                prop_assert_eq!(busy.len(), taken.len());
            }
            prop_assert!(done.values().all(|offsets| offsets.is_sorted()), "{:?}", done);
            prop_assert_eq!(done.values().map(Vec::len).sum::<usize>(), lanes_of.len());
        }
    }
}
