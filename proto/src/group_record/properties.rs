//! Properties: what is written reads back, part of it is refused, and no bytes panic.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{PartitionIndex, TopicId};

fn topic_id() -> impl Strategy<Value = TopicId> {
    // Not zero: that is how the format says "none".
    (1..=u128::MAX).prop_map(|id| TopicId::from_bytes(id.to_be_bytes()))
}

/// Empty, short, and long enough for a length of two bytes.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", Just("é".repeat(100))]
}

fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn member_key() -> impl Strategy<Value = MemberKey> {
    (text(), text()).prop_map(|(group_id, member_id)| MemberKey {
        group_id,
        member_id,
    })
}

fn offset_commit() -> impl Strategy<Value = OffsetCommitValue> {
    let versions = prop_oneof![
        (any::<i32>(), option::of(topic_id())).prop_map(|(epoch, id)| (epoch, None, id)),
        (0..i64::MAX).prop_map(|expire| (-1, Some(expire), None)),
    ];
    (any::<i64>(), text(), any::<i64>(), versions).prop_map(
        |(offset, metadata, commit_timestamp_ms, (leader_epoch, expire, topic_id))| {
            OffsetCommitValue {
                offset,
                leader_epoch,
                metadata,
                commit_timestamp_ms,
                expire_timestamp_ms: expire,
                topic_id,
            }
        },
    )
}

fn classic_member() -> impl Strategy<Value = ClassicMember> {
    let texts = (text(), option::of(text()), text(), text());
    let rest = (any::<i32>(), any::<i32>(), blob(), blob());
    (texts, rest).prop_map(|(texts, rest)| ClassicMember {
        member_id: texts.0,
        instance_id: texts.1,
        client_id: texts.2,
        client_host: texts.3,
        rebalance_timeout_ms: rest.0,
        session_timeout_ms: rest.1,
        subscription: rest.2,
        assignment: rest.3,
    })
}

fn classic_group() -> impl Strategy<Value = ClassicGroupValue> {
    let members = vec(classic_member(), 0..4);
    let texts = (text(), option::of(text()), option::of(text()));
    (texts, any::<i32>(), any::<i64>(), members).prop_map(|(texts, generation, since, members)| {
        ClassicGroupValue {
            protocol_type: texts.0,
            generation,
            protocol: texts.1,
            leader: texts.2,
            current_state_timestamp_ms: since,
            members,
        }
    })
}

fn topic_metadata() -> impl Strategy<Value = TopicMetadata> {
    let racks = vec(
        (any::<i32>().prop_map(PartitionIndex), vec(text(), 0..3)),
        0..3,
    );
    (topic_id(), text(), any::<i32>(), racks).prop_map(|(topic_id, topic, partitions, racks)| {
        TopicMetadata {
            topic_id,
            topic,
            partitions,
            partition_racks: racks,
        }
    })
}

fn member() -> impl Strategy<Value = MemberValue> {
    let protocols = vec((text(), blob()), 0..3);
    let classic = (any::<i32>(), protocols);
    let classic =
        option::of(
            classic.prop_map(|(session_timeout_ms, protocols)| ClassicMemberMetadata {
                session_timeout_ms,
                protocols,
            }),
        );
    let named = (option::of(text()), option::of(text()), text(), text());
    let wanted = (vec(text(), 0..4), option::of(text()), option::of(text()));
    (named, wanted, any::<i32>(), classic).prop_map(|(named, wanted, timeout, classic)| {
        MemberValue {
            instance_id: named.0,
            rack_id: named.1,
            client_id: named.2,
            client_host: named.3,
            topic_names: wanted.0,
            topic_regex: wanted.1,
            rebalance_timeout_ms: timeout,
            assignor: wanted.2,
            classic,
        }
    })
}

fn assigned(with_epochs: bool) -> impl Strategy<Value = Vec<AssignedTopic>> {
    let epochs = if with_epochs {
        vec(any::<i32>(), 0..4).boxed()
    } else {
        Just(Vec::new()).boxed()
    };
    let topic = (topic_id(), vec(any::<i32>(), 0..40), epochs);
    vec(
        topic.prop_map(|(topic_id, partitions, assignment_epochs)| AssignedTopic {
            topic_id,
            partitions,
            assignment_epochs,
        }),
        0..4,
    )
}

fn current_member() -> impl Strategy<Value = CurrentMemberValue> {
    let epochs = (any::<i32>(), any::<i32>(), any::<i8>());
    (epochs, assigned(true), assigned(true)).prop_map(|(epochs, assigned, pending_revocation)| {
        CurrentMemberValue {
            member_epoch: epochs.0,
            previous_member_epoch: epochs.1,
            state: MemberState::from_number(epochs.2),
            assigned,
            pending_revocation,
        }
    })
}

fn regular_expression() -> impl Strategy<Value = GroupRecord> {
    let value = (vec(text(), 0..4), any::<i64>(), any::<i64>());
    (text(), text(), option::of(value)).prop_map(|(group_id, regular_expression, value)| {
        let key = RegularExpressionKey {
            group_id,
            regular_expression,
        };
        let value = value.map(|(topics, version, timestamp_ms)| RegularExpressionValue {
            topics,
            version,
            timestamp_ms,
        });
        GroupRecord::RegularExpression(key, value)
    })
}

fn rebalance() -> impl Strategy<Value = GroupRecord> {
    let value = (any::<i32>(), any::<i64>(), any::<i32>(), text());
    (text(), any::<i32>(), option::of(value)).prop_map(|(group_id, slot, value)| {
        let value = value.map(
            |(group_epoch, timestamp_ms, members, reason)| RebalanceValue {
                group_epoch,
                timestamp_ms,
                members,
                reason,
            },
        );
        GroupRecord::Rebalance(RebalanceKey { group_id, slot }, value)
    })
}

fn epochs() -> impl Strategy<Value = GroupRecord> {
    let value = option::of((any::<i32>(), any::<i64>()));
    prop_oneof![
        (text(), value.clone()).prop_map(|(group_id, value)| {
            let value = value.map(|(epoch, metadata_hash)| ConsumerGroupValue {
                epoch,
                metadata_hash,
            });
            GroupRecord::ConsumerGroup(group_id, value)
        }),
        (text(), value).prop_map(|(group_id, value)| {
            let value = value.map(|(assignment_epoch, time)| TargetAssignmentValue {
                assignment_epoch,
                assignment_timestamp_ms: time,
            });
            GroupRecord::TargetAssignment(group_id, value)
        }),
    ]
}

fn offset_commit_record() -> impl Strategy<Value = GroupRecord> {
    (text(), text(), any::<i32>(), option::of(offset_commit())).prop_map(
        |(group_id, topic, partition, value)| {
            let key = OffsetCommitKey {
                group_id,
                topic,
                partition: PartitionIndex(partition),
            };
            GroupRecord::OffsetCommit(key, value)
        },
    )
}

fn record() -> impl Strategy<Value = GroupRecord> {
    prop_oneof![
        offset_commit_record(),
        epochs(),
        regular_expression(),
        rebalance(),
        (text(), option::of(classic_group()))
            .prop_map(|(group_id, value)| GroupRecord::ClassicGroup(group_id, value)),
        (text(), option::of(vec(topic_metadata(), 0..3))).prop_map(|(group_id, topics)| {
            let value = topics.map(|topics| PartitionMetadataValue { topics });
            GroupRecord::PartitionMetadata(group_id, value)
        }),
        (member_key(), option::of(member()))
            .prop_map(|(key, value)| GroupRecord::Member(key, value)),
        (member_key(), option::of(assigned(false))).prop_map(|(key, partitions)| {
            let value = partitions.map(|partitions| TargetMemberValue { partitions });
            GroupRecord::TargetMember(key, value)
        }),
        (member_key(), option::of(current_member()))
            .prop_map(|(key, value)| GroupRecord::CurrentMember(key, value)),
    ]
}

fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Decoded, GroupRecordError> {
    GroupRecord::decode(Some(key), value)
}

proptest! {
    #[test]
    fn what_is_written_reads_back(record in record()) {
        let (key, value) = record.encode().unwrap();
        prop_assert_eq!(decode(&key, value.as_deref()).unwrap(), Decoded::Known(record));
    }

    #[test]
    fn a_key_or_value_that_is_cut_short_is_refused(record in record(), cut in any::<prop::sample::Index>()) {
        let (key, value) = record.encode().unwrap();
        prop_assert!(decode(&key[..cut.index(key.len())], value.as_deref()).is_err());
        if let Some(value) = value {
            prop_assert!(decode(&key, Some(&value[..cut.index(value.len())])).is_err());
        }
    }

    #[test]
    fn no_flipped_byte_panics(record in record(), at in any::<prop::sample::Index>(), with in 1u8..) {
        let (key, value) = record.encode().unwrap();
        let mut bytes = key.to_vec();
        bytes[at.index(key.len())] ^= with;
        let _ = decode(&bytes, value.as_deref());
        if let Some(value) = value {
            let mut bytes = value.to_vec();
            bytes[at.index(value.len())] ^= with;
            let _ = decode(&key, Some(&bytes));
        }
    }

    #[test]
    fn no_bytes_panic(key_type in 0i16..20, key in vec(any::<u8>(), 0..40), value in vec(any::<u8>(), 0..300)) {
        let key = [&key_type.to_be_bytes()[..], &key].concat();
        let _ = decode(&key, Some(&value));
        // A valid key, so that the value is reached.
        let key = [&key_type.to_be_bytes()[..], b"\0\x01g\0\x01m\0\0\0\0"].concat();
        let _ = decode(&key, Some(&value));
        let _ = decode(&key, Some(&[&[0, 0][..], &value].concat()));
    }
}
