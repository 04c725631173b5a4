//! Who may commit offsets of a classic group.

use std::sync::Arc;

use super::{Phase, clock, heartbeat::check_member};
use crate::group::{
    ClassicMemberRef, MemberRef, OffsetCommits, Refusal, commit::names, turn::Turn,
};

/// Refuses commits of somebody who is no member of the generation. Somebody without a generation may
/// commit while the group is empty. A generation commits until the next one begins: also while members
/// join it, as those that still have partitions use the time to commit.
pub(in crate::group) fn check_commit(
    turn: &mut Turn<'_>,
    commits: &OffsetCommits,
) -> Result<(), Refusal> {
    let group_id = Arc::clone(&turn.group_id);
    let phase = turn.classic().map_or(Phase::Empty, |group| group.phase);
    if commits.member_epoch < 0 && phase == Phase::Empty {
        return Ok(());
    }
    let is_nobody = commits.member_id.is_empty() && commits.instance_id.is_none();
    if commits.member_epoch < 0 && is_nobody {
        let members = names(turn.group).unwrap_or_default();
        return Err(Refusal::HasMembers { group_id, members });
    }
    let member = ClassicMemberRef {
        member: MemberRef {
            group_id: Arc::clone(&group_id),
            member_id: Arc::clone(&commits.member_id),
        },
        instance_id: commits.instance_id.clone(),
        generation: commits.member_epoch,
    };
    check_member(turn, &member)?;
    if phase == Phase::Completing {
        return Err(Refusal::RebalanceInProgress { group_id });
    }
    clock::restart_session(turn, &commits.member_id);
    Ok(())
}
