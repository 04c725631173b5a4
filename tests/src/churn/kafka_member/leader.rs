//! [`assign`]: what the leader of a generation decides, as a cooperative assignor does: nobody gets what
//! another one still holds (KIP-429).

use std::collections::{BTreeMap, BTreeSet};

use millstream_proto::TopicPartition;

/// What a member says that it holds.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) member_id: String,
    /// In which it was assigned; the newest of two is right.
    pub(super) generation: i32,
    pub(super) owned: BTreeSet<TopicPartition>,
}

/// What each of the members is to hold, in their order. Who holds more than its share keeps its share;
/// the rest is free once it was given up, which is another generation.
pub(super) fn assign(claims: &[Claim], partitions: &[TopicPartition]) -> Vec<Vec<TopicPartition>> {
    if claims.is_empty() {
        return Vec::new();
    }
    let share = partitions.len().div_ceil(claims.len());
    let owners = owners(claims);
    let mut assigned: Vec<Vec<TopicPartition>> = vec![Vec::new(); claims.len()];
    for partition in partitions {
        if let Some(owner) = owners.get(partition)
            && assigned[*owner].len() < share
        {
            assigned[*owner].push(partition.clone());
        }
    }
    let free = partitions.iter().filter(|at| !owners.contains_key(at));
    for partition in free {
        let least = assigned.iter_mut().min_by_key(|of_one| of_one.len());
        least.expect("a member").push(partition.clone());
    }
    assigned
}

/// Whose each partition is, by its place in the list.
fn owners(claims: &[Claim]) -> BTreeMap<&TopicPartition, usize> {
    let mut order: Vec<(usize, &Claim)> = claims.iter().enumerate().collect();
    order.sort_by_key(|(_, claim)| claim.generation);
    let mut owners = BTreeMap::new();
    for (at, claim) in order {
        owners.extend(claim.owned.iter().map(|partition| (partition, at)));
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::churn::scene::place;

    fn all(count: i32) -> Vec<TopicPartition> {
        (0..count).map(|partition| place("t", partition)).collect()
    }

    fn claim(generation: i32, owned: &[i32]) -> Claim {
        Claim {
            member_id: String::new(),
            generation,
            owned: owned.iter().map(|at| place("t", *at)).collect(),
        }
    }

    fn assigned(claims: &[Claim], count: i32) -> Vec<Vec<i32>> {
        let assigned = assign(claims, &all(count)).into_iter();
        let indexes = assigned.map(|of_one| of_one.iter().map(|at| at.partition.0).collect());
        indexes.collect()
    }

    #[test]
    fn what_somebody_holds_above_its_share_is_nobodys_in_this_generation() {
        let claims = [claim(1, &[0, 1, 2, 3]), claim(-1, &[])];
        assert_eq!(assigned(&claims, 4), [vec![0, 1], vec![]]);
        // It was given up.
        let claims = [claim(2, &[0, 1]), claim(2, &[])];
        assert_eq!(assigned(&claims, 4), [vec![0, 1], vec![2, 3]]);
    }

    #[test]
    fn the_newer_of_two_claims_is_right() {
        let claims = [claim(3, &[0]), claim(2, &[0, 1])];
        assert_eq!(assigned(&claims, 2), [vec![0], vec![1]]);
    }

    #[test]
    fn what_nobody_holds_is_dealt_out_evenly() {
        let claims = [claim(1, &[]), claim(1, &[]), claim(1, &[4])];
        assert_eq!(assigned(&claims, 5), [vec![0, 2], vec![1, 3], vec![4]]);
    }
}
