//! Members of a group as people tell them apart, and the refusal of what a group with members does
//! not allow.

use millstream::admin::{GroupDescription, GroupMember};

use crate::{
    failure::{Failure, Result},
    quantity::counted,
};

/// Characters of a member id that are shown at least.
const SHORT_ID_CHARS_MIN: usize = 8;

/// Members that a refusal names.
const NAMED_MAX: usize = 5;

/// What a member of `all` is called in tables: its own name where it is a static member, else the
/// shortest beginning of its id that is no other member's.
pub(crate) fn name<'a>(member: &'a GroupMember, all: &'a [GroupMember]) -> &'a str {
    if !member.instance_id.is_empty() {
        return &member.instance_id;
    }
    let others = all.iter().map(|other| other.member_id.as_str());
    shortest(&member.member_id, others)
}

fn shortest<'a>(id: &'a str, all: impl Iterator<Item = &'a str> + Clone) -> &'a str {
    let is_only = |start: &str| {
        let mut others = all.clone().filter(|other| *other != id);
        !others.any(|other| other.starts_with(start))
    };
    let ends = id.char_indices().skip(SHORT_ID_CHARS_MIN);
    let mut starts = ends.filter_map(|(end, _)| id.get(..end));
    starts.find(|start| is_only(start)).unwrap_or(id)
}

/// Refuses a group that has members, and names them.
///
/// # Errors
/// When it has some.
pub(crate) fn refuse(group: &GroupDescription) -> Result<()> {
    let members = &group.members;
    if members.is_empty() {
        return Ok(());
    }
    let mut names: Vec<_> = members
        .iter()
        .take(NAMED_MAX)
        .map(|member| {
            let name = name(member, members);
            format!("{name} ({} at {})", member.client_id, member.client_host)
        })
        .collect();
    if let Some(others @ 1..) = members.len().checked_sub(NAMED_MAX) {
        names.push(format!("and {others} more"));
    }
    Err(Failure::new(
        format!(
            "group {} has {}: {}",
            group.group,
            counted(members.len() as u64, "member"),
            names.join(", ")
        ),
        format!(
            "nothing was changed; stop them and try again, millstream groups describe {} shows who is \
             left",
            group.group
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_called_by_the_shortest_beginning_that_is_its_own() {
        let ids = [
            "8c2e5f10-aaaa",
            "8c2e5f1f-bbbb",
            "consumer-1-d1",
            "consumer-1-d2",
            "short",
        ];
        let short: Vec<_> = ids
            .iter()
            .map(|id| shortest(id, ids.iter().copied()))
            .collect();
        assert_eq!(
            short,
            [
                "8c2e5f10",
                "8c2e5f1f",
                "consumer-1-d1",
                "consumer-1-d2",
                "short"
            ]
        );
    }
}
