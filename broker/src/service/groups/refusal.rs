//! What a coordinator refuses, as clients see it: with a hint.

use millstream_engine::group::Refusal;

use crate::{coordinator::CoordinatorError, service::ServiceError};

impl ServiceError {
    /// The coordinator's engine refuses.
    pub(in crate::service) fn group(refusal: &Refusal) -> Self {
        let message = on_one_line(&refusal.to_string());
        Self::new(refusal.code(), message, group_hint(refusal))
    }

    /// There is no coordinator now, or it failed.
    pub(in crate::service) fn coordinator(error: &CoordinatorError) -> Self {
        let hint = match error {
            CoordinatorError::Loading { .. } => "retry: it answers once its records are read",
            CoordinatorError::Failed {
                is_passing: true, ..
            } => "retry: it goes on by itself once that has passed",
            CoordinatorError::Failed { .. } => {
                "retry: it is loaded again; the broker's log says more"
            }
            CoordinatorError::NoReplica { .. } => {
                "repair what the reason names, then restart the broker; other groups are served"
            }
            CoordinatorError::Elsewhere => "retry with another broker",
            CoordinatorError::Topic { error, .. } => return Self::topic_of_groups(error),
            CoordinatorError::Stopping => "retry once it is back",
            CoordinatorError::Regex { .. } => {
                "use the syntax of RE2: no look-around, no back-references; it must match a \
                 topic's whole name"
            }
        };
        Self::new(error.code(), error.to_string(), hint)
    }

    /// Says what is wrong with the metadata log, under a number that clients of groups expect.
    fn topic_of_groups(error: &crate::quorum::ProposeError) -> Self {
        let code = CoordinatorError::Topic {
            topic: crate::coordinator::OFFSETS_TOPIC,
            error: error.clone(),
        };
        let cause = Self::propose(error);
        Self::new(code.code(), code.to_string(), cause.hint)
    }
}

/// Characters of a refusal that are shown. One whose ids are within the default limits has fewer.
const SHOWN_CHARS_MAX: usize = 2_000;

/// Ids of groups and members may hold any character, and be of any length where there are none of that name.
fn on_one_line(text: &str) -> String {
    let shown = |char: char| {
        let escaped = char.is_control().then(|| char.escape_debug());
        let plain = (!char.is_control()).then_some(char);
        escaped.into_iter().flatten().chain(plain)
    };
    let shown = text.chars().take(SHOWN_CHARS_MAX).flat_map(shown);
    shown.collect()
}

const fn group_hint(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::GroupId { .. } => "name the group in 1 to groups.id_bytes_max bytes",
        Refusal::TooLong { .. } => "shorten it, or raise the broker's limit in section groups",
        Refusal::TooManyTopics { .. } => {
            "subscribe with a regular expression, or raise groups.subscription_topics_max"
        }
        Refusal::TooManyGroups { .. } => {
            "delete groups (millstream groups delete), or raise groups.groups_per_partition_max"
        }
        Refusal::TooManyMembers { .. } => "let members leave, or raise groups.members_max",
        Refusal::Assignor => "ask for uniform, range or sticky, or for none",
        Refusal::GroupNotFound { .. } => "list the groups: millstream groups list",
        Refusal::ClassicGroup { .. } => {
            "use a client of the classic protocol or another group, or allow it: groups.migration"
        }
        Refusal::InconsistentProtocol { .. } => {
            "give all members of a group the same assignors, or use another group"
        }
        Refusal::TooManyProtocols { .. } => "name fewer, or raise groups.classic_protocols_max",
        Refusal::SessionTimeout { .. } => {
            "change session.timeout.ms, or the broker's groups.classic_session_timeout_min and _max"
        }
        Refusal::IllegalGeneration { .. } | Refusal::RebalanceInProgress { .. } => {
            "join the group again"
        }
        Refusal::GroupTooLarge { .. } => {
            "use fewer members or topics, or raise groups.classic_group_bytes_max"
        }
        Refusal::UnknownMember { .. } => "join again with member epoch 0",
        Refusal::HasMembers { .. } | Refusal::NonEmpty { .. } => {
            "stop its members first: millstream groups describe shows them"
        }
        Refusal::Subscribed { .. } => "stop the members that subscribe to it first",
        Refusal::FencedEpoch { .. } | Refusal::Fenced { .. } => {
            "give up all partitions and join again with member epoch 0"
        }
        Refusal::StreamReplaced { .. } => "use the newer stream",
        Refusal::StaleEpoch { .. } => "retry with the member epoch of the last assignment",
        Refusal::NotHeld { .. } => "commit only what the last assignment gives the member",
        Refusal::FencedInstance { .. } => "give each running member an instance id of its own",
        Refusal::UnreleasedInstance { .. } => {
            "stop that member, or wait for its session to end, or use another instance id"
        }
        Refusal::OffsetMetadata { .. } => "shorten it, or raise groups.offset_metadata_bytes_max",
        Refusal::Superseded { .. } => "wait for the answer to the later request",
        Refusal::Invalid(_) => "docs/design/native-api.md says what a request may hold",
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, sync::Arc};

    use millstream_proto::{PartitionIndex, TopicName, TopicPartition};

    use super::*;
    use crate::{quorum::ProposeError, service::groups::members::overflow};

    /// What tests with a client cannot bring about, or not the same each time.
    #[test]
    fn every_other_refusal_says_what_to_do() {
        let partition = || TopicPartition {
            topic: TopicName::new(crate::coordinator::OFFSETS_TOPIC).expect("a name"),
            partition: PartitionIndex(7),
        };
        let failed = |is_passing| CoordinatorError::Failed {
            partition: partition(),
            reason: "the disk is full".into(),
            is_passing,
        };
        let mut errors: Vec<ServiceError> = [
            CoordinatorError::Loading {
                partition: partition(),
            },
            failed(true),
            failed(false),
            CoordinatorError::NoReplica {
                partition: partition(),
                reason: "partition is offline: flush failed".into(),
            },
            CoordinatorError::Elsewhere,
            CoordinatorError::Topic {
                topic: crate::coordinator::OFFSETS_TOPIC,
                error: ProposeError::Closed,
            },
            CoordinatorError::Stopping,
        ]
        .iter()
        .map(ServiceError::coordinator)
        .collect();
        errors.push(overflow());
        insta::assert_snapshot!(told(errors));
    }

    /// Of requests for what they hold, and for what there is of groups.
    fn refused_requests() -> Vec<Refusal> {
        let group = |refusal: fn(Arc<str>) -> Refusal| refusal("readers\n".into());
        let (found, max) = (70_000, 65_536);
        vec![
            Refusal::Invalid("instance id is empty"),
            Refusal::Invalid("no member id was chosen"),
            Refusal::Invalid("member id is empty"),
            Refusal::Invalid("committed offset is negative"),
            Refusal::TooLong {
                what: "client id",
                found,
                max,
            },
            Refusal::GroupId { found, max },
            Refusal::TooManyTopics { found, max },
            Refusal::TooManyGroups { max },
            group(|group_id| Refusal::TooManyMembers { group_id, max: 9 }),
            Refusal::Assignor,
            group(|group_id| Refusal::GroupNotFound { group_id }),
            group(|group_id| Refusal::ClassicGroup { group_id }),
            group(|group_id| Refusal::InconsistentProtocol { group_id }),
            Refusal::TooManyProtocols { found, max },
            Refusal::SessionTimeout {
                found: 1,
                min: 6_000,
                max: 1_800_000,
            },
            group(|group_id| Refusal::RebalanceInProgress { group_id }),
            group(|group_id| Refusal::GroupTooLarge {
                group_id,
                found: 70_000,
                max: 65_536,
            }),
            group(|group_id| Refusal::HasMembers {
                group_id,
                members: "reader-1, reader-2".to_owned(),
            }),
            group(|group_id| Refusal::NonEmpty {
                group_id,
                members: "reader-1, reader-2".to_owned(),
            }),
            group(|group_id| Refusal::Subscribed {
                group_id,
                topic: "flights".into(),
            }),
            Refusal::OffsetMetadata { found, max },
        ]
    }

    /// Of members for what they are.
    fn refused_members() -> Vec<Refusal> {
        let group_id: Arc<str> = "readers".into();
        let member = |refusal: fn(Arc<str>) -> Refusal| refusal("reader-1".into());
        let instance_id = || "rack-7".to_owned();
        vec![
            member(|member_id| Refusal::IllegalGeneration {
                member_id,
                found: 3,
                expected: 4,
            }),
            member(|member_id| Refusal::Superseded { member_id }),
            Refusal::UnknownMember {
                group_id: group_id.clone(),
                member_id: "reader-1".into(),
            },
            member(|member_id| Refusal::FencedEpoch {
                member_id,
                found: 3,
                expected: 4,
            }),
            member(|member_id| Refusal::Fenced {
                member_id,
                reason: "session timed out",
            }),
            member(|member_id| Refusal::StreamReplaced { member_id }),
            member(|member_id| Refusal::StaleEpoch {
                member_id,
                found: 3,
                expected: 4,
            }),
            member(|member_id| Refusal::NotHeld {
                member_id,
                owner: "reader-2".into(),
            }),
            Refusal::FencedInstance {
                group_id: group_id.clone(),
                instance_id: instance_id(),
                member_id: "reader-1".into(),
            },
            Refusal::UnreleasedInstance {
                group_id,
                instance_id: instance_id(),
                member_id: "reader-1".into(),
            },
        ]
    }

    #[test]
    fn a_refusal_is_one_line_and_not_a_long_one_whatever_its_ids_are() {
        let told = |group_id: &str| {
            let group_id = Arc::from(group_id);
            ServiceError::group(&Refusal::GroupNotFound { group_id }).message
        };
        assert_eq!(told("a\r\n\u{1b}b"), r"group a\r\n\u{1b}b does not exist");
        assert_eq!(told(&"b".repeat(64 << 10)).len(), SHOWN_CHARS_MAX);
    }

    /// Whichever protocol can bring them about. `hint` fails to compile without one of a new kind; add it
    /// here, too.
    #[test]
    fn every_refusal_of_a_group_says_what_to_do() {
        let errors = refused_requests().into_iter().chain(refused_members());
        insta::assert_snapshot!(told(errors.map(|refusal| ServiceError::group(&refusal))));
    }

    fn told(errors: impl IntoIterator<Item = ServiceError>) -> String {
        let mut shown = String::new();
        for error in errors {
            let retriable = error.code.is_retriable();
            let ServiceError { message, hint, .. } = &error;
            writeln!(
                shown,
                "{} (retriable: {retriable})\n  error: {message}\n  hint: {hint}",
                error.code
            )
            .expect("text");
        }
        shown
    }
}
