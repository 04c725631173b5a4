//! DescribeConfigs, IncrementalAlterConfigs, AlterConfigs and ListConfigResources.

mod broker_names;

use std::collections::BTreeMap;

use kafka_protocol::{
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        ListConfigResourcesRequest, ListConfigResourcesResponse, alter_configs_response,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
        incremental_alter_configs_request::AlterableConfig,
        incremental_alter_configs_response, list_config_resources_response,
    },
    protocol::StrBytes,
};
use millstream_proto::ErrorCode;

use self::broker_names::{of_groups, under_kafkas_names};
use super::{client::Client, wire};
use crate::{
    config::topic::{self, Kind},
    service::{
        ServiceError,
        configs::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource},
        excerpt,
    },
};

/// Types of resources (ConfigResource of Kafka 4.3).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;
/// Where a value comes from (DescribeConfigsResponse of Kafka 4.3).
const FROM_TOPIC: i8 = 1;
const FROM_RUNNING_BROKER: i8 = 2;
const FROM_ALL_BROKERS: i8 = 3;
const FROM_BROKER: i8 = 4;
const FROM_DEFAULT: i8 = 5;
/// What is done to a value (IncrementalAlterConfigs).
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Where a value comes from, as Kafka numbers it.
pub(super) const fn source(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => FROM_TOPIC,
        ConfigSource::Cluster => FROM_RUNNING_BROKER,
        ConfigSource::File | ConfigSource::Environment | ConfigSource::Flag => FROM_BROKER,
        ConfigSource::Default => FROM_DEFAULT,
    }
}

/// Whether a resource is what holds for all brokers: only what was set there is listed of it.
fn is_all_brokers(resource_type: i8, name: &str) -> bool {
    resource_type == BROKER && name.is_empty()
}

pub(super) async fn describe_configs(
    client: Client,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|asked| {
        let entries = entries(&client, asked.resource_type, &asked.resource_name);
        let of_all_brokers = is_all_brokers(asked.resource_type, &asked.resource_name);
        let result = DescribeConfigsResult::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(asked.resource_name);
        match entries {
            Ok(entries) => {
                let wanted = entries.into_iter().filter(|entry| {
                    let keys = asked.configuration_keys.as_deref().unwrap_or_default();
                    let is_asked = keys.is_empty() || keys.iter().any(|key| **key == *entry.name);
                    is_asked && (!of_all_brokers || entry.source == ConfigSource::Cluster)
                });
                let (synonyms, text) = (request.include_synonyms, request.include_documentation);
                let entries = wanted.map(|entry| {
                    let source = match of_all_brokers {
                        true => FROM_ALL_BROKERS,
                        false => source(entry.source),
                    };
                    described(entry, source, synonyms, text)
                });
                result.with_configs(entries.collect())
            }
            Err(error) => result
                .with_error_code(error.code.number())
                .with_error_message(wire::error_message(&error)),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn entries(
    client: &Client,
    resource_type: i8,
    name: &str,
) -> Result<Vec<ConfigEntry>, ServiceError> {
    let describe = |resource: &ConfigResource| {
        let (services, context) = (client.services(), client.context());
        services.describe_configs(&context, resource, &[])
    };
    let of_broker = |id: String| describe(&ConfigResource::Broker(id)).map(under_kafkas_names);
    if resource_type == GROUP {
        // Any group's are those of the broker that answers.
        return of_broker(String::new()).map(of_groups);
    }
    match resource(resource_type, name)? {
        ConfigResource::Broker(id) => of_broker(id),
        topic @ ConfigResource::Topic(_) => describe(&topic),
    }
}

/// What can be changed or described by itself.
fn resource(resource_type: i8, name: &str) -> Result<ConfigResource, ServiceError> {
    match resource_type {
        TOPIC => Ok(ConfigResource::Topic(name.to_owned())),
        BROKER => Ok(ConfigResource::Broker(name.to_owned())),
        GROUP => Err(ServiceError::new(
            ErrorCode::InvalidConfig,
            "a group has no configuration of its own",
            "groups.session_timeout and groups.heartbeat_interval of the broker hold for all groups",
        )),
        other => Err(ServiceError::invalid_request(
            format!("resource type {other} has no configuration here, expected 2, 4 or 32"),
            "ask for a topic (2), a broker (4) or a group (32)",
        )),
    }
}

fn described(
    entry: ConfigEntry,
    source: i8,
    with_synonyms: bool,
    with_documentation: bool,
) -> DescribeConfigsResourceResult {
    let text = StrBytes::from_string;
    let synonyms = match with_synonyms {
        true => synonyms(&entry, source),
        false => Vec::new(),
    };
    DescribeConfigsResourceResult::default()
        .with_config_type(config_type(&entry.name))
        .with_config_source(source)
        .with_read_only(entry.read_only)
        .with_synonyms(synonyms)
        .with_documentation(with_documentation.then(|| text(entry.documentation)))
        .with_name(text(entry.name))
        .with_value(Some(text(entry.value)))
}

/// Every place in which a value is set, from the one in force to the default, each under the name that it has there.
fn synonyms(entry: &ConfigEntry, in_force: i8) -> Vec<DescribeConfigsSynonym> {
    let text = StrBytes::from_string;
    let synonym = |value: &str, from| {
        let name = match from {
            FROM_TOPIC => &*entry.name,
            _ => broker_names::of_default(&entry.name),
        };
        DescribeConfigsSynonym::default()
            .with_name(text(name.to_owned()))
            .with_value(Some(text(value.to_owned())))
            .with_source(from)
    };
    let mut synonyms = Vec::new();
    if entry.source != ConfigSource::Default {
        synonyms.push(synonym(&entry.value, in_force));
    }
    let beneath = entry.beneath.iter();
    synonyms.extend(beneath.map(|(from, value)| synonym(value, source(*from))));
    synonyms.push(synonym(&entry.default_value, FROM_DEFAULT));
    synonyms
}

/// The type of a key's values (ConfigDef.Type of Kafka 4.3).
fn config_type(name: &str) -> i8 {
    const BOOLEAN: i8 = 1;
    const STRING: i8 = 2;
    const INT: i8 = 3;
    const LONG: i8 = 5;
    const DOUBLE: i8 = 6;
    const LIST: i8 = 7;
    let topic_key = broker_names::topic_key(name).unwrap_or(name);
    let key = topic::KEYS.iter().find(|key| key.name == topic_key);
    match key.map(|key| &key.kind) {
        Some(Kind::Whole { max, .. }) if i32::try_from(*max).is_ok() => INT,
        Some(Kind::Whole { .. }) => LONG,
        Some(Kind::Ratio) => DOUBLE,
        Some(Kind::Bool) => BOOLEAN,
        // Those that take any text are lists of replicas.
        Some(Kind::ListOf(_) | Kind::Text) => LIST,
        None if broker_names::is_converted(name) => LONG,
        Some(Kind::OneOf(_)) | None => STRING,
    }
}

pub(super) async fn incremental_alter_configs(
    client: Client,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for asked in request.resources {
        let altered = async {
            let resource = resource(asked.resource_type, &asked.resource_name)?;
            let current = entries(&client, asked.resource_type, &asked.resource_name)?;
            let changes = changes(&current, &asked.configs)?;
            alter(&client, &resource, &current, changes, request.validate_only).await
        };
        let altered = altered.await;
        let response = incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(asked.resource_name);
        responses.push(match altered {
            Ok(()) => response,
            Err(error) => response
                .with_error_code(error.code.number())
                .with_error_message(wire::error_message(&error)),
        });
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

async fn alter(
    client: &Client,
    resource: &ConfigResource,
    current: &[ConfigEntry],
    mut changes: Vec<ConfigChange>,
    validate_only: bool,
) -> Result<(), ServiceError> {
    if let ConfigResource::Broker(_) = resource {
        changes.retain(|change| !is_so_for_good(current, change));
        for change in &mut changes {
            change.name = broker_names::ours(&change.name);
        }
    }
    let (services, context) = (client.services(), client.context());
    services
        .alter_configs(&context, resource, &changes, validate_only)
        .await
}

/// Whether a key that cannot be changed has the value already: as Kafka, a broker takes that.
fn is_so_for_good(current: &[ConfigEntry], change: &ConfigChange) -> bool {
    current.iter().any(|entry| {
        let wanted = change.value.as_ref().unwrap_or(&entry.default_value);
        entry.name == change.name && entry.read_only && *wanted == entry.value
    })
}

fn changes(
    current: &[ConfigEntry],
    asked: &[AlterableConfig],
) -> Result<Vec<ConfigChange>, ServiceError> {
    let current: BTreeMap<&str, &str> = current
        .iter()
        .map(|entry| (&*entry.name, &*entry.value))
        .collect();
    let change = |config: &AlterableConfig| {
        let value = config.value.as_deref().unwrap_or_default();
        let listed = current.get(&*config.name).copied().unwrap_or_default();
        Ok(ConfigChange {
            name: config.name.to_string(),
            value: match config.config_operation {
                SET => Some(value.to_owned()),
                DELETE => None,
                APPEND => Some(join(&config.name, listed, |items| {
                    let added = value.split(',').filter(|item| !items.contains(item));
                    items.extend(added.collect::<Vec<_>>());
                })?),
                SUBTRACT => Some(join(&config.name, listed, |items| {
                    items.retain(|item| !value.split(',').any(|gone| gone == *item));
                })?),
                other => {
                    return Err(ServiceError::invalid_request(
                        format!(
                            "operation {other} on {}, expected 0 to 3",
                            excerpt(&config.name)
                        ),
                        "0 sets, 1 deletes, 2 appends to a list, 3 takes from one",
                    ));
                }
            },
        })
    };
    asked.iter().map(change).collect()
}

/// A list with its items changed.
fn join<'a>(
    name: &str,
    listed: &'a str,
    change: impl FnOnce(&mut Vec<&'a str>),
) -> Result<String, ServiceError> {
    let topic_key = broker_names::topic_key(name).unwrap_or(name);
    let key = topic::KEYS.iter().find(|key| key.name == topic_key);
    if key.is_some_and(|key| !matches!(key.kind, Kind::ListOf(_) | Kind::Text)) {
        return Err(ServiceError::new(
            ErrorCode::InvalidConfig,
            format!("config {name} is no list"),
            "set it instead",
        ));
    }
    let mut items: Vec<&str> = listed.split(',').filter(|item| !item.is_empty()).collect();
    change(&mut items);
    Ok(items.join(","))
}

/// What is not named goes back to its default.
pub(super) async fn alter_configs(
    client: Client,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for asked in request.resources {
        let altered = async {
            let resource = resource(asked.resource_type, &asked.resource_name)?;
            let current = entries(&client, asked.resource_type, &asked.resource_name)?;
            let own = match resource {
                ConfigResource::Topic(_) => ConfigSource::Topic,
                ConfigResource::Broker(_) => ConfigSource::Cluster,
            };
            let overridden = current.iter().filter(|entry| entry.source == own);
            let mut values: BTreeMap<String, Option<String>> =
                overridden.map(|entry| (entry.name.clone(), None)).collect();
            for config in &asked.configs {
                let value = config.value.as_ref().map(ToString::to_string);
                values.insert(config.name.to_string(), value);
            }
            let changes = values.into_iter();
            let changes = changes
                .map(|(name, value)| ConfigChange { name, value })
                .collect();
            alter(&client, &resource, &current, changes, request.validate_only).await
        };
        let altered = altered.await;
        let response = alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(asked.resource_name);
        responses.push(match altered {
            Ok(()) => response,
            Err(error) => response
                .with_error_code(error.code.number())
                .with_error_message(wire::error_message(&error)),
        });
    }
    AlterConfigsResponse::default().with_responses(responses)
}

/// The first version that lists other resources than subscriptions to client metrics, of which there are none.
const ALL_TYPES: i16 = 1;

pub(super) async fn list_config_resources(
    client: Client,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let types = &request.resource_types;
    let is_wanted = |resource_type: i8| {
        client.version >= ALL_TYPES && (types.is_empty() || types.contains(&resource_type))
    };
    let resource = |resource_type: i8, name: String| {
        list_config_resources_response::ConfigResource::default()
            .with_resource_type(resource_type)
            .with_resource_name(StrBytes::from_string(name))
    };
    let mut resources = Vec::new();
    if is_wanted(TOPIC) {
        let topics = client.services().list_topics(&client.context(), true);
        resources.extend(
            topics
                .iter()
                .map(|topic| resource(TOPIC, topic.name.to_string())),
        );
    }
    if is_wanted(BROKER) {
        let local = client.services().local_broker();
        resources.push(resource(BROKER, local.id.to_string()));
    }
    ListConfigResourcesResponse::default().with_config_resources(resources)
}
