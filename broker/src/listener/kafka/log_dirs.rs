//! DescribeLogDirs: the data directory, and what partitions take of it.

use std::collections::BTreeMap;

use kafka_protocol::{
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
        describe_log_dirs_response::{
            DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
        },
    },
    protocol::StrBytes,
};
use millstream_proto::ErrorCode;

use super::client::Client;
use crate::service::{ServiceError, topics::TopicRef};

pub(super) async fn describe_log_dirs(
    client: Client,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    match describe(&client, &request).await {
        Ok(result) => DescribeLogDirsResponse::default().with_results(vec![result]),
        Err(error) => DescribeLogDirsResponse::default().with_error_code(error.code.number()),
    }
}

async fn describe(
    client: &Client,
    request: &DescribeLogDirsRequest,
) -> Result<DescribeLogDirsResult, ServiceError> {
    let (services, context) = (client.services(), client.context());
    let cluster = services.describe_cluster(&context).await?;
    let local = cluster.brokers.into_iter().find_map(|broker| broker.local);
    let directory = local.ok_or_else(ServiceError::panicked)?.directory;
    let wanted = wanted(client, request);
    let topics = wanted.into_iter().filter_map(|(name, partitions)| {
        // A topic that does not exist takes nothing.
        let described = services.describe_topic(&context, &TopicRef::Name(name), true);
        let described = described.ok()?;
        let partitions = described.partitions.iter().filter(|partition| {
            partitions.is_empty() || partitions.contains(&partition.partition.0)
        });
        let partitions = partitions.filter_map(|partition| {
            let log = partition.log.as_ref()?;
            let shown = DescribeLogDirsPartition::default()
                .with_partition_index(partition.partition.0)
                .with_partition_size(i64::try_from(log.size_bytes).unwrap_or(i64::MAX));
            Some(shown)
        });
        let shown = DescribeLogDirsTopic::default()
            .with_name(TopicName(StrBytes::from_string(described.name.to_string())))
            .with_partitions(partitions.collect());
        Some(shown)
    });
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Ok(DescribeLogDirsResult::default()
        .with_error_code(ErrorCode::None.number())
        .with_log_dir(StrBytes::from_string(directory.path.display().to_string()))
        .with_topics(topics.collect())
        .with_total_bytes(bytes(directory.total_bytes))
        .with_usable_bytes(bytes(directory.available_bytes)))
}

/// Topics asked for, with their partitions; all of them where there is none.
fn wanted(client: &Client, request: &DescribeLogDirsRequest) -> BTreeMap<String, Vec<i32>> {
    if let Some(topics) = &request.topics {
        let topics = topics.iter();
        return topics
            .map(|topic| (topic.topic.to_string(), topic.partitions.clone()))
            .collect();
    }
    let all = client.services().list_topics(&client.context(), true);
    let all = all.iter();
    all.map(|topic| (topic.name.to_string(), Vec::new()))
        .collect()
}
