//! What an answer says of the things that its request names.

use kafka_protocol::{messages::ResponseKind, protocol::StrBytes};

/// An error code, and what is said with it.
pub(super) type Outcome = (i16, Option<StrBytes>);

/// That of the whole answer where it is an error, else one for each thing.
pub(super) fn outcomes(answer: ResponseKind) -> Vec<Outcome> {
    match answer {
        ResponseKind::CreateTopics(it) => each(it.topics, |it| (it.error_code, it.error_message)),
        ResponseKind::DeleteTopics(it) => {
            each(it.responses, |it| (it.error_code, it.error_message))
        }
        ResponseKind::CreatePartitions(it) => {
            each(it.results, |it| (it.error_code, it.error_message))
        }
        ResponseKind::Metadata(it) => each(it.topics, |topic| code(topic.error_code)),
        ResponseKind::DescribeTopicPartitions(it) => {
            each(it.topics, |topic| code(topic.error_code))
        }
        ResponseKind::DescribeLogDirs(it) => {
            let dirs = each(it.results, |dir| code(dir.error_code));
            whole(it.error_code, None, dirs)
        }
        ResponseKind::Produce(it) => {
            let topics = it.responses.into_iter();
            let partitions = topics.flat_map(|topic| topic.partition_responses);
            each(partitions, |it| (it.error_code, it.error_message))
        }
        ResponseKind::Fetch(it) => {
            let topics = it.responses.into_iter();
            let partitions = topics.flat_map(|topic| topic.partitions);
            let partitions = each(partitions, |it| code(it.error_code));
            whole(it.error_code, None, partitions)
        }
        ResponseKind::ListOffsets(it) => {
            let partitions = it.topics.into_iter().flat_map(|topic| topic.partitions);
            each(partitions, |it| code(it.error_code))
        }
        ResponseKind::OffsetForLeaderEpoch(it) => {
            let partitions = it.topics.into_iter().flat_map(|topic| topic.partitions);
            each(partitions, |it| code(it.error_code))
        }
        ResponseKind::DeleteRecords(it) => {
            let partitions = it.topics.into_iter().flat_map(|topic| topic.partitions);
            each(partitions, |it| code(it.error_code))
        }
        ResponseKind::DescribeProducers(it) => {
            let partitions = it.topics.into_iter().flat_map(|topic| topic.partitions);
            each(partitions, |it| (it.error_code, it.error_message))
        }
        ResponseKind::InitProducerId(it) => vec![code(it.error_code)],
        ResponseKind::DescribeConfigs(it) => {
            each(it.results, |it| (it.error_code, it.error_message))
        }
        ResponseKind::IncrementalAlterConfigs(it) => {
            each(it.responses, |it| (it.error_code, it.error_message))
        }
        ResponseKind::AlterConfigs(it) => {
            each(it.responses, |it| (it.error_code, it.error_message))
        }
        ResponseKind::ApiVersions(it) => vec![code(it.error_code)],
        ResponseKind::SaslHandshake(it) => vec![code(it.error_code)],
        other => of_groups(other),
    }
}

fn of_groups(answer: ResponseKind) -> Vec<Outcome> {
    match answer {
        ResponseKind::FindCoordinator(it) => {
            let found = each(it.coordinators, |it| (it.error_code, it.error_message));
            whole(it.error_code, it.error_message, found)
        }
        ResponseKind::OffsetCommit(it) => {
            let partitions = it.topics.into_iter().flat_map(|topic| topic.partitions);
            each(partitions, |it| code(it.error_code))
        }
        ResponseKind::OffsetFetch(it) => {
            let groups = it.groups.into_iter().flat_map(|group| {
                let topics = group.topics.into_iter();
                let partitions = topics.flat_map(|topic| topic.partitions);
                let partitions = each(partitions, |it| code(it.error_code));
                whole(group.error_code, None, partitions)
            });
            whole(it.error_code, None, groups.collect())
        }
        ResponseKind::OffsetDelete(it) => {
            let partitions = it.topics.into_iter().flat_map(|topic| topic.partitions);
            let partitions = each(partitions, |it| code(it.error_code));
            whole(it.error_code, None, partitions)
        }
        ResponseKind::ConsumerGroupHeartbeat(it) => vec![(it.error_code, it.error_message)],
        ResponseKind::JoinGroup(it) => vec![code(it.error_code)],
        ResponseKind::SyncGroup(it) => vec![code(it.error_code)],
        ResponseKind::Heartbeat(it) => vec![code(it.error_code)],
        ResponseKind::LeaveGroup(it) => {
            let members = each(it.members, |member| code(member.error_code));
            whole(it.error_code, None, members)
        }
        ResponseKind::DescribeGroups(it) => {
            each(it.groups, |group| (group.error_code, group.error_message))
        }
        ResponseKind::ConsumerGroupDescribe(it) => {
            each(it.groups, |group| (group.error_code, group.error_message))
        }
        ResponseKind::ListGroups(it) => vec![code(it.error_code)],
        ResponseKind::DeleteGroups(it) => each(it.results, |group| code(group.error_code)),
        other => panic!("no case asks for {other:?}"),
    }
}

fn code(code: i16) -> Outcome {
    (code, None)
}

fn each<T>(things: impl IntoIterator<Item = T>, outcome: fn(T) -> Outcome) -> Vec<Outcome> {
    things.into_iter().map(outcome).collect()
}

fn whole(code: i16, message: Option<StrBytes>, each: Vec<Outcome>) -> Vec<Outcome> {
    match code {
        0 => each,
        _ => vec![(code, message)],
    }
}
