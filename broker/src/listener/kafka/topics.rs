//! CreateTopics, DeleteTopics, CreatePartitions and DeleteRecords.

use std::collections::HashMap;

use kafka_protocol::{
    messages::{
        BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
        CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest,
        DeleteTopicsResponse, TopicName,
        create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
        delete_records_request::DeleteRecordsPartition,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
        delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
    },
    protocol::StrBytes,
};
use millstream_proto::{ErrorCode, PartitionIndex, TopicId};
use uuid::Uuid;

use super::{client::Client, configs, wire};
use crate::service::{
    ServiceError,
    configs::ConfigResource,
    excerpt,
    offsets::checked_offset,
    topics::{CreatedTopic, NewTopic, TopicRef},
};

/// Stands for the broker's default in a number of partitions or replicas.
const BY_DEFAULT: i32 = -1;
/// Stands for the high watermark in DeleteRecords.
const ALL_RECORDS: i64 = -1;
/// The first version of CreateTopics whose answer describes the topic.
const DESCRIBED: i16 = 5;
/// The first version of DeleteTopics that names topics by id, too.
const BY_ID: i16 = 6;

pub(super) async fn create_topics(
    client: Client,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut times: HashMap<TopicName, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let mut results = Vec::with_capacity(times.len());
    for topic in request.topics {
        let created = match times.remove(&topic.name) {
            None => continue,
            Some(1) => create(&client, &topic, request.validate_only).await,
            Some(_) => Err(ServiceError::invalid_request(
                format!("topic {} is created twice", excerpt(&topic.name)),
                "name each topic once",
            )),
        };
        results.push(match created {
            Ok(created) => describe_created(&client, topic.name, &created),
            Err(error) => CreatableTopicResult::default()
                .with_name(topic.name)
                .with_error_code(error.code.number())
                .with_error_message(wire::error_message(&error))
                .with_num_partitions(BY_DEFAULT)
                .with_replication_factor(-1),
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

async fn create(
    client: &Client,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<CreatedTopic, ServiceError> {
    check_values(&topic.configs)?;
    let assigned = topic.assignments.iter();
    let assigned = assigned.map(|partition| (partition.partition_index, &*partition.broker_ids));
    let partitions = match topic.assignments.len() {
        0 => Some(topic.num_partitions).filter(|count| *count != BY_DEFAULT),
        count => {
            check_assignment(client, assigned)?;
            i32::try_from(count).ok()
        }
    };
    let replicas = i32::from(topic.replication_factor);
    let configs = topic.configs.iter().filter_map(|config| {
        let value = config.value.as_ref()?;
        Some((config.name.to_string(), value.to_string()))
    });
    let topic = NewTopic {
        name: topic.name.to_string(),
        partitions,
        replication_factor: Some(replicas).filter(|count| *count != BY_DEFAULT),
        configs: configs.collect(),
    };
    let (services, context) = (client.services(), client.context());
    services.create_topic(&context, &topic, validate_only).await
}

/// Refuses keys without a value, as Kafka does.
fn check_values(configs: &[CreatableTopicConfig]) -> Result<(), ServiceError> {
    let without = configs.iter().filter(|config| config.value.is_none());
    let names: Vec<&str> = without.map(|config| &*config.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names = names.join(",");
    Err(ServiceError::new(
        ErrorCode::InvalidConfig,
        format!("Null value not supported for topic configs: {names}"),
        "",
    ))
}

/// Refuses replicas elsewhere than on this broker, the only one.
fn check_assignment<'a>(
    client: &Client,
    assigned: impl Iterator<Item = (i32, &'a [BrokerId])>,
) -> Result<(), ServiceError> {
    let local = client.services().local_broker().id;
    for (expected, (partition, brokers)) in (0..).zip(assigned) {
        if partition != expected || !matches!(brokers, [broker] if broker.0 == local.0) {
            return Err(ServiceError::new(
                ErrorCode::InvalidReplicaAssignment,
                format!("partition {partition} is not assigned to broker {local} alone, in order"),
                "leave the assignment to the broker",
            ));
        }
    }
    Ok(())
}

fn describe_created(
    client: &Client,
    name: TopicName,
    created: &CreatedTopic,
) -> CreatableTopicResult {
    let topic_id = created.topic_id.unwrap_or(TopicId::from_bytes([0; 16]));
    let result = CreatableTopicResult::default()
        .with_topic_id(Uuid::from_bytes(*topic_id.as_bytes()))
        .with_num_partitions(i32::try_from(created.partitions).unwrap_or(i32::MAX))
        .with_replication_factor(i16::try_from(created.replication_factor).unwrap_or(i16::MAX));
    let resource = ConfigResource::Topic(name.to_string());
    let configs = match client.version {
        DESCRIBED.. => {
            let described = client
                .services()
                .describe_configs(&client.context(), &resource, &[]);
            described.unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let configs = configs.into_iter().map(|entry| {
        CreatableTopicConfigs::default()
            .with_config_source(configs::source(entry.source))
            .with_read_only(entry.read_only)
            .with_name(StrBytes::from_string(entry.name))
            .with_value(Some(StrBytes::from_string(entry.value)))
    });
    result.with_configs(Some(configs.collect())).with_name(name)
}

pub(super) async fn delete_topics(
    client: Client,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let named = request.topic_names.into_iter();
    let named = named.map(|name| DeleteTopicState::default().with_name(Some(name)));
    let topics = match client.version {
        BY_ID.. => request.topics,
        _ => named.collect(),
    };
    let mut results = Vec::with_capacity(topics.len());
    for topic in topics {
        results.push(delete(&client, topic).await);
    }
    DeleteTopicsResponse::default().with_responses(results)
}

async fn delete(client: &Client, topic: DeleteTopicState) -> DeletableTopicResult {
    let (services, context) = (client.services(), client.context());
    let name = match &topic.name {
        Some(name) => Ok(name.to_string()),
        None => {
            let id = TopicRef::Id(TopicId::from_bytes(topic.topic_id.into_bytes()));
            let described = services.describe_topic(&context, &id, false);
            described.map(|topic| topic.name.to_string())
        }
    };
    let deleted = match &name {
        Ok(name) => services.delete_topic(&context, name, false).await,
        Err(error) => Err(error.clone()),
    };
    let found = name.ok().map(|name| TopicName(StrBytes::from_string(name)));
    let result = DeletableTopicResult::default();
    match deleted {
        Ok(topic_id) => result
            .with_name(found)
            .with_topic_id(Uuid::from_bytes(*topic_id.as_bytes())),
        Err(error) => result
            .with_name(topic.name)
            .with_topic_id(topic.topic_id)
            .with_error_code(error.code.number())
            .with_error_message(wire::error_message(&error)),
    }
}

pub(super) async fn create_partitions(
    client: Client,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let added = add_partitions(&client, &topic, request.validate_only).await;
        let result = CreatePartitionsTopicResult::default().with_name(topic.name);
        results.push(match added {
            Ok(()) => result,
            Err(error) => result
                .with_error_code(error.code.number())
                .with_error_message(wire::error_message(&error)),
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn add_partitions(
    client: &Client,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), ServiceError> {
    let (services, context) = (client.services(), client.context());
    if let Some(assignments) = &topic.assignments {
        let name = TopicRef::Name(topic.name.to_string());
        let existing = services.describe_topic(&context, &name, false)?;
        check_assigned_count(topic, existing.partitions.len(), assignments.len())?;
        let assigned = (0..).zip(assignments.iter().map(|added| &*added.broker_ids));
        check_assignment(client, assigned)?;
    }
    services
        .create_partitions(&context, &topic.name, topic.count, validate_only)
        .await
}

/// Refuses replicas of more or fewer partitions than are added. Where none would be, the total is wrong.
fn check_assigned_count(
    topic: &CreatePartitionsTopic,
    existing: usize,
    assigned: usize,
) -> Result<(), ServiceError> {
    let total = usize::try_from(topic.count).unwrap_or(0);
    match total.saturating_sub(existing) {
        0 => Ok(()),
        added if added == assigned => Ok(()),
        added => Err(ServiceError::new(
            ErrorCode::InvalidReplicaAssignment,
            format!("{assigned} assignments for the {added} partitions that are added"),
            "assign each added partition, or leave that to the broker",
        )),
    }
}

pub(super) async fn delete_records(
    client: Client,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let topic_id = client.services().topic_id(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            partitions.push(delete_before(&client, topic_id.clone(), asked).await);
        }
        topics.push(
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete_before(
    client: &Client,
    topic_id: Result<TopicId, ServiceError>,
    asked: &DeleteRecordsPartition,
) -> DeleteRecordsPartitionResult {
    let before = match asked.offset {
        ALL_RECORDS => Ok(None),
        offset => checked_offset(offset).map(Some),
    };
    let (services, context) = (client.services(), client.context());
    let partition = PartitionIndex(asked.partition_index);
    let deleted = match (topic_id, before) {
        (Ok(topic_id), Ok(before)) => {
            let deleted = services.delete_records(&context, topic_id, partition, before);
            deleted.await
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    let result =
        DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
    match deleted {
        Ok(log_start) => result.with_low_watermark(log_start.get()),
        Err(error) => result
            .with_low_watermark(-1)
            .with_error_code(error.code.number()),
    }
}
