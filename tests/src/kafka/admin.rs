//! Configurations of topics and brokers over the Kafka protocol.

use anyhow::{Context as _, Result, ensure};
use kafka_protocol::{
    messages::{
        DescribeConfigsRequest, IncrementalAlterConfigsRequest,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::DescribeConfigsResourceResult,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        incremental_alter_configs_response::AlterConfigsResourceResponse,
    },
    protocol::StrBytes,
};

use super::Kafka;

const DESCRIBE_CONFIGS_VERSION: i16 = 4;
const ALTER_CONFIGS_VERSION: i16 = 1;

/// Whose configuration.
#[derive(Debug, Clone, Copy)]
pub enum ConfigOwner<'a> {
    /// A topic's, by name.
    Topic(&'a str),
    /// A broker's, by id.
    Broker(&'a str),
}

impl ConfigOwner<'_> {
    fn type_and_name(self) -> (i8, StrBytes) {
        let (number, name) = match self {
            Self::Topic(name) => (2, name),
            Self::Broker(id) => (4, id),
        };
        (number, StrBytes::from_string(name.to_owned()))
    }
}

/// What is done to a key.
#[derive(Debug, Clone, Copy)]
pub enum ConfigOperation {
    /// It has this value.
    Set = 0,
    /// It has its default again.
    Delete = 1,
    /// Its list has this item as well.
    Append = 2,
    /// Its list no longer has this item.
    Subtract = 3,
}

impl Kafka {
    /// Changes one key and returns the answer as it stands.
    ///
    /// # Errors
    /// As [`Kafka::call`].
    pub async fn alter_config(
        &mut self,
        owner: ConfigOwner<'_>,
        operation: ConfigOperation,
        key: &str,
        value: &str,
    ) -> Result<AlterConfigsResourceResponse> {
        let (resource_type, name) = owner.type_and_name();
        let config = AlterableConfig::default()
            .with_name(StrBytes::from_string(key.to_owned()))
            .with_config_operation(operation as i8)
            .with_value(Some(StrBytes::from_string(value.to_owned())));
        let resource = AlterConfigsResource::default()
            .with_resource_type(resource_type)
            .with_resource_name(name)
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let response = self.call(ALTER_CONFIGS_VERSION, &request).await?;
        let mut responses = response.responses.into_iter();
        responses.next().context("one result a resource")
    }

    /// All keys.
    ///
    /// # Errors
    /// As [`Kafka::call`]; a refusal.
    pub async fn configs(
        &mut self,
        owner: ConfigOwner<'_>,
    ) -> Result<Vec<DescribeConfigsResourceResult>> {
        let (resource_type, name) = owner.type_and_name();
        let resource = DescribeConfigsResource::default()
            .with_resource_type(resource_type)
            .with_resource_name(name)
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let response = self.call(DESCRIBE_CONFIGS_VERSION, &request).await?;
        let mut results = response.results.into_iter();
        let result = results.next().context("one result a resource")?;
        ensure!(result.error_code == 0, "{result:?}");
        Ok(result.configs)
    }

    /// The value of one key.
    ///
    /// # Errors
    /// As [`Kafka::configs`]; an unknown key.
    pub async fn config(&mut self, owner: ConfigOwner<'_>, key: &str) -> Result<String> {
        let configs = self.configs(owner).await?;
        let found = configs.into_iter().find(|config| &*config.name == key);
        let value = found.with_context(|| key.to_owned())?.value;
        Ok(value.unwrap_or_default().to_string())
    }
}
