//! Configurations of topics and brokers: show and change.
//!
//! An entry says its value, the default, and where the value comes from. Only topics can be changed
//! while the broker runs; a call changes all keys or none.

use millstream_proto::grpc::v1::{self, config_service_client::ConfigServiceClient};
use tonic::transport::Channel;

use super::{Admin, pair, refusal};
use crate::{
    connection::{ANSWER_BYTES_MAX, Broker, Repeat},
    error::Result,
};

/// What has a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker by id; `None` for the one that answers.
    Broker(Option<i32>),
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// Nobody set it.
    Default,
    /// The broker's configuration file.
    File,
    /// The broker's environment.
    Environment,
    /// The broker's command line.
    Flag,
    /// The topic.
    Topic,
    /// Changed while brokers ran, for all of them: a default for topics.
    Cluster,
    /// A source that this version of the client does not know.
    Unknown,
}

/// One configuration key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// Its value; empty where it is sensitive.
    pub value: String,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it can be changed through the API.
    pub read_only: bool,
    /// Whether its value is kept from readers.
    pub sensitive: bool,
    /// What it is when nobody sets it.
    pub default_value: String,
    /// What it does.
    pub documentation: String,
}

/// One change of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigChange {
    /// Sets a key.
    Set {
        /// The key.
        name: String,
        /// Its new value.
        value: String,
    },
    /// Takes a key back to its default.
    Delete {
        /// The key.
        name: String,
    },
}

impl ConfigResource {
    fn to_wire(&self) -> v1::ConfigResource {
        match self {
            Self::Topic(name) => v1::ConfigResource {
                r#type: v1::ConfigResourceType::Topic.into(),
                name: name.clone(),
            },
            Self::Broker(id) => v1::ConfigResource {
                r#type: v1::ConfigResourceType::Broker.into(),
                name: id.map_or_else(String::new, |id| id.to_string()),
            },
        }
    }
}

impl ConfigSource {
    const fn from_wire(source: v1::ConfigSource) -> Self {
        match source {
            v1::ConfigSource::Default => Self::Default,
            v1::ConfigSource::File => Self::File,
            v1::ConfigSource::Environment => Self::Environment,
            v1::ConfigSource::Flag => Self::Flag,
            v1::ConfigSource::Topic => Self::Topic,
            v1::ConfigSource::Cluster => Self::Cluster,
            v1::ConfigSource::Unspecified => Self::Unknown,
        }
    }
}

impl ConfigEntry {
    fn from_wire(entry: v1::ConfigEntry) -> Self {
        Self {
            source: ConfigSource::from_wire(entry.source()),
            name: entry.name,
            value: entry.value,
            read_only: entry.read_only,
            sensitive: entry.sensitive,
            default_value: entry.default_value,
            documentation: entry.documentation,
        }
    }
}

impl ConfigChange {
    fn to_wire(&self) -> v1::ConfigChange {
        use v1::config_change::Operation;
        let (name, operation) = match self {
            Self::Set { name, value } => (name, Operation::Set(value.clone())),
            Self::Delete { name } => (name, Operation::Delete(true)),
        };
        v1::ConfigChange {
            name: name.clone(),
            operation: Some(operation),
        }
    }
}

fn client(broker: &Broker) -> ConfigServiceClient<Channel> {
    ConfigServiceClient::new(broker.admin.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
}

impl Admin {
    /// Shows configurations: the named keys, or all where `keys` is empty. One result per resource,
    /// in order.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        keys: &[&str],
    ) -> Result<Vec<(ConfigResource, Result<Vec<ConfigEntry>>)>> {
        let request = v1::DescribeConfigsRequest {
            resources: resources.iter().map(ConfigResource::to_wire).collect(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        let (answer, broker) = self
            .ask("describing configurations", Repeat::Always, |broker| {
                let (mut client, request) = (client(&broker), request.clone());
                async move { client.describe_configs(request).await }
            })
            .await?;
        pair(
            resources.iter().cloned(),
            answer.results,
            &broker,
            |resource| {
                refusal(resource.error)?;
                Ok(resource
                    .entries
                    .into_iter()
                    .map(ConfigEntry::from_wire)
                    .collect())
            },
        )
    }

    /// Changes the named keys of a configuration and no others, or with `validate_only` checks
    /// whether that could be.
    ///
    /// # Errors
    /// What kept it from being done; all changes are done or none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves all of the changes made, or none.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<()> {
        let request = v1::AlterConfigsRequest {
            resource: Some(resource.to_wire()),
            changes: changes.iter().map(ConfigChange::to_wire).collect(),
            validate_only,
        };
        let (answer, _) = self
            .ask("changing a configuration", Repeat::Always, |broker| {
                let (mut client, request) = (client(&broker), request.clone());
                async move { client.alter_configs(request).await }
            })
            .await?;
        refusal(answer.error)
    }
}
