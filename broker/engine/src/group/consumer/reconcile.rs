//! The next step of a member from what it holds to what it is to hold (KIP-848, "reconciliation").
//!
//! ```text
//!            target lacks some of assigned             all of them given up
//!   assigned ────────────────────────────► pending revocation ─────────► epoch := target's
//!      ▲                                                                  assigned += free ones
//!      └──────────── target has it again (nobody else can have got it) ──────────┘
//! ```
//!
//! A member gets nothing new, and keeps its epoch, until it has given up what it is to lose; it may go
//! on reading what stays. That differs from Kafka in one thing: a partition that comes back to the
//! target while its revocation is pending is simply kept.

use super::member::Current;
use crate::group::{Assignment, PartitionId};

/// What the member holds next. `is_free` says whether nobody holds a partition.
pub(super) fn next(
    current: &Current,
    target: &Assignment,
    target_epoch: i32,
    is_free: impl Fn(PartitionId) -> bool,
) -> Current {
    let mut next = Current {
        epoch: current.epoch,
        previous_epoch: current.previous_epoch,
        ..Current::default()
    };
    let held = current.assigned.iter().chain(&current.pending_revocation);
    for (partition, epoch) in held {
        let list = if target.contains(partition) {
            &mut next.assigned
        } else {
            &mut next.pending_revocation
        };
        list.insert(*partition, *epoch);
    }
    if !next.pending_revocation.is_empty() {
        return next;
    }
    for partition in target {
        if !next.assigned.contains_key(partition) && is_free(*partition) {
            next.assigned.insert(*partition, target_epoch);
        }
    }
    if current.epoch != target_epoch {
        next.epoch = target_epoch;
        next.previous_epoch = current.epoch;
    }
    next
}

#[cfg(test)]
mod tests {
    use millstream_proto::{TopicId, group_record::MemberState};

    use super::*;
    use crate::group::Holding;

    fn p(partition: i32) -> PartitionId {
        PartitionId::new(TopicId::from_bytes([7; 16]), partition)
    }

    fn holding(partitions: &[(i32, i32)]) -> Holding {
        partitions
            .iter()
            .map(|(at, epoch)| (p(*at), *epoch))
            .collect()
    }

    fn target(partitions: &[i32]) -> Assignment {
        partitions.iter().map(|at| p(*at)).collect()
    }

    fn current(epoch: i32, assigned: &[(i32, i32)], pending: &[(i32, i32)]) -> Current {
        Current {
            epoch,
            previous_epoch: epoch - 1,
            assigned: holding(assigned),
            pending_revocation: holding(pending),
        }
    }

    #[test]
    fn what_the_target_lacks_is_given_up_before_anything_is_got() {
        let before = current(3, &[(0, 1), (1, 2)], &[]);
        let after = next(&before, &target(&[1, 2]), 4, |_| true);
        assert_eq!(after, current(3, &[(1, 2)], &[(0, 1)]));
        assert_eq!(
            after.state(&target(&[1, 2])),
            MemberState::UnrevokedPartitions
        );
    }

    #[test]
    fn a_member_with_nothing_to_give_up_gets_what_is_free_in_the_new_epoch() {
        let before = current(3, &[(0, 1)], &[]);
        let after = next(&before, &target(&[0, 1, 2]), 4, |partition| {
            partition != p(2)
        });
        assert_eq!(after, current(4, &[(0, 1), (1, 4)], &[]));
        assert_eq!(after.previous_epoch, 3);
        assert_eq!(
            after.state(&target(&[0, 1, 2])),
            MemberState::UnreleasedPartitions
        );
        let later = next(&after, &target(&[0, 1, 2]), 4, |_| true);
        assert_eq!(later.assigned, holding(&[(0, 1), (1, 4), (2, 4)]));
        assert_eq!((later.epoch, later.previous_epoch), (4, 3));
    }

    #[test]
    fn a_partition_that_comes_back_while_it_is_given_up_is_kept_since_its_old_epoch() {
        let before = current(3, &[(1, 2)], &[(0, 1)]);
        let after = next(&before, &target(&[0, 1]), 5, |_| false);
        assert_eq!(after.assigned, holding(&[(0, 1), (1, 2)]));
        assert_eq!((after.epoch, after.previous_epoch), (5, 3));
    }
}
