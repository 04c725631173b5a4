//! Older versions, values at the edge of the format, and refusals.

use bytes::Bytes;

use super::*;
use crate::{PartitionIndex, TopicId};

const GROUP_KEY: &[u8] = b"\0\x02\0\x01g";
const COMMIT_KEY: &[u8] = b"\0\x01\0\x01g\0\x01t\0\0\0\x07";

fn known(key: &[u8], value: Option<&[u8]>) -> GroupRecord {
    match GroupRecord::decode(Some(key), value).unwrap() {
        Decoded::Known(record) => record,
        Decoded::Skipped { key_type } => panic!("key type {key_type} is skipped"),
    }
}

fn commit(value: &[u8]) -> OffsetCommitValue {
    match known(COMMIT_KEY, Some(value)) {
        GroupRecord::OffsetCommit(key, Some(value)) => {
            assert_eq!(key.group_id, "g");
            assert_eq!(key.topic, "t");
            assert_eq!(key.partition, PartitionIndex(7));
            value
        }
        other => panic!("{other:?}"),
    }
}

fn refusal(key: &[u8], value: &[u8]) -> String {
    GroupRecord::decode(Some(key), Some(value))
        .unwrap_err()
        .to_string()
}

#[test]
fn every_version_of_an_offset_commit_is_read() {
    let expected = OffsetCommitValue {
        offset: 5,
        leader_epoch: -1,
        metadata: "m".into(),
        commit_timestamp_ms: 9,
        expire_timestamp_ms: None,
        topic_id: None,
    };
    let five = [0, 0, 0, 0, 0, 0, 0, 5];
    let nine = [0, 0, 0, 0, 0, 0, 0, 9];
    for version in [0, 2] {
        let bytes = [&[0, version][..], &five, b"\0\x01m", &nine].concat();
        assert_eq!(commit(&bytes), expected, "version {version}");
    }
    let mut first = [&[0, 1][..], &five, b"\0\x01m", &nine, &[0xff; 8]].concat();
    assert_eq!(commit(&first), expected);
    first.truncate(21);
    first.extend_from_slice(&five);
    assert_eq!(commit(&first).expire_timestamp_ms, Some(5));
    let third = [&[0, 3][..], &five, &[0, 0, 0, 2], b"\0\x01m", &nine].concat();
    assert_eq!(commit(&third).leader_epoch, 2);
    let fourth = [&[0, 4][..], &five, &[0, 0, 0, 2], b"\x02m", &nine, &[0]].concat();
    assert_eq!(
        commit(&fourth),
        OffsetCommitValue {
            leader_epoch: 2,
            ..expected
        }
    );
}

#[test]
fn unknown_tagged_fields_are_skipped_and_known_ones_found_behind_them() {
    let fixed = [&[0, 4][..], &[0; 8], &[0; 4], &[1], &[0; 8]].concat();
    let id = [7; 16];
    let tagged = [&fixed[..], &[2, 9, 3, 1, 2, 3, 0, 16], &id].concat();
    assert_eq!(commit(&tagged).topic_id, Some(TopicId::from_bytes(id)));
}

#[test]
fn keys_of_the_oldest_type_are_offset_commits() {
    let mut key = COMMIT_KEY.to_vec();
    key[1] = 0;
    assert_eq!(known(&key, None), known(COMMIT_KEY, None));
}

#[test]
fn every_version_of_a_classic_group_is_read() {
    let member = |version: i16| {
        let mut bytes = b"\0\x01m".to_vec();
        if version >= 3 {
            bytes.extend_from_slice(b"\0\x01i");
        }
        bytes.extend_from_slice(b"\0\x01c\0\x01h");
        if version >= 1 {
            bytes.extend_from_slice(&[0, 0, 0, 60]);
        }
        bytes.extend_from_slice(b"\0\0\0\x1e\0\0\0\x01s\0\0\0\x02aa");
        bytes
    };
    for version in 0..=3i16 {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend_from_slice(b"\0\x01p\0\0\0\x04\xff\xff\0\x01l");
        if version >= 2 {
            bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 8]);
        }
        bytes.extend_from_slice(&[0, 0, 0, 1]);
        bytes.extend_from_slice(&member(version));
        let expected = ClassicGroupValue {
            protocol_type: "p".into(),
            generation: 4,
            protocol: None,
            leader: Some("l".into()),
            current_state_timestamp_ms: if version >= 2 { 8 } else { -1 },
            members: vec![ClassicMember {
                member_id: "m".into(),
                instance_id: (version >= 3).then(|| "i".into()),
                client_id: "c".into(),
                client_host: "h".into(),
                rebalance_timeout_ms: if version >= 1 { 60 } else { 30 },
                session_timeout_ms: 30,
                subscription: Bytes::from_static(b"s"),
                assignment: Bytes::from_static(b"aa"),
            }],
        };
        let found = known(GROUP_KEY, Some(&bytes));
        assert_eq!(found, GroupRecord::ClassicGroup("g".into(), Some(expected)));
    }
    let flexible = b"\0\x04\x02p\0\0\0\x04\0\x02l\0\0\0\0\0\0\0\x08\x02\
        \x02m\x02i\x02c\x02h\0\0\0\x3c\0\0\0\x1e\x02s\x03aa\0\0";
    let GroupRecord::ClassicGroup(_, Some(value)) = known(GROUP_KEY, Some(flexible)) else {
        panic!("not a classic group");
    };
    assert_eq!(value.protocol, None);
    assert_eq!(value.members[0].instance_id.as_deref(), Some("i"));
    assert_eq!(value.members[0].assignment, Bytes::from_static(b"aa"));
}

#[test]
fn key_types_without_a_use_are_skipped_whatever_follows() {
    for key_type in [9, 10, 15, 17, 0x4001, -1, i16::MAX] {
        let mut key = i16::to_be_bytes(key_type).to_vec();
        key.extend_from_slice(&[0xff; 9]);
        assert_eq!(
            GroupRecord::decode(Some(&key), Some(b"")),
            Ok(Decoded::Skipped { key_type })
        );
    }
}

#[test]
fn refusals_name_the_field_what_was_found_and_what_was_expected() {
    assert_eq!(
        GroupRecord::decode(None, None).unwrap_err().to_string(),
        "group record has no key"
    );
    assert_eq!(
        refusal(COMMIT_KEY, b"\0\x05"),
        "offset commit has version 5, expected 0 to 4"
    );
    assert_eq!(
        refusal(COMMIT_KEY, b"\xff\xff"),
        "offset commit has version -1, expected 0 to 4"
    );
    assert_eq!(
        refusal(COMMIT_KEY, b"\0\x03\0\0"),
        "offset needs 8 more bytes, found 2"
    );
    assert_eq!(
        refusal(GROUP_KEY, b"\0\x03\xff\xff"),
        "protocolType is null"
    );
    assert_eq!(
        refusal(GROUP_KEY, b"\0\x03\0\x01\xff"),
        "protocolType is not UTF-8"
    );
    assert_eq!(
        refusal(GROUP_KEY, b"\0\x03\xff\xfe"),
        "protocolType has length -2, expected 0 to 0"
    );
    assert_eq!(
        refusal(
            GROUP_KEY,
            b"\0\x03\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0\x7f\xff\xff\xff"
        ),
        "members has length 2147483647, expected 0 to 0"
    );
    assert_eq!(
        refusal(b"\0\x03\0\x01g", b"\0\0\0\0\0\x01\xff\xff\xff\xff\xff"),
        "tagged fields is no number of 32 bits"
    );
}

#[test]
fn text_longer_than_the_format_allows_is_not_written() {
    let longest = GroupRecord::ClassicGroup("g".repeat(0x7fff), None);
    let (key, _) = longest.encode().unwrap();
    assert_eq!(known(&key, None), longest);
    let longer = GroupRecord::ClassicGroup("g".repeat(0x8000), None);
    assert_eq!(
        longer.encode().unwrap_err().to_string(),
        "groupId has length 32768, at most 32767 can be written"
    );
}
