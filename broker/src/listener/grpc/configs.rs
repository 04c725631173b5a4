//! `ConfigService`.

use std::sync::Arc;

use millstream_proto::grpc::v1::{self, config_service_server::ConfigService};
use tonic::{Request, Response, Status};

use super::{control::Control, wire};
use crate::service::{
    RequestContext, ServiceError, Services,
    configs::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource},
};

/// Adapter of [`ConfigService`].
#[derive(Debug)]
pub(super) struct ConfigAdapter {
    control: Control,
}

impl ConfigAdapter {
    pub(super) fn new(control: Control) -> Self {
        Self { control }
    }
}

#[tonic::async_trait]
impl ConfigService for ConfigAdapter {
    async fn describe_configs(
        &self,
        request: Request<v1::DescribeConfigsRequest>,
    ) -> Result<Response<v1::DescribeConfigsResponse>, Status> {
        let context = wire::context(&request);
        let request = request.into_inner();
        let work = move |services: Arc<Services>, context: RequestContext| async move {
            let describe = |asked: v1::ConfigResource| {
                let described = resource(&asked).and_then(|resource| {
                    services.describe_configs(&context, &resource, &request.keys)
                });
                let (entries, error) = match described {
                    Ok(entries) => (entries.into_iter().map(entry).collect(), None),
                    Err(error) => (Vec::new(), Some(wire::error(error))),
                };
                v1::ConfigResourceDescription {
                    resource: Some(asked),
                    error,
                    entries,
                }
            };
            v1::DescribeConfigsResponse {
                results: request.resources.into_iter().map(describe).collect(),
            }
        };
        self.control.run(context, work).await
    }

    async fn alter_configs(
        &self,
        request: Request<v1::AlterConfigsRequest>,
    ) -> Result<Response<v1::AlterConfigsResponse>, Status> {
        let context = wire::context(&request);
        let request = request.into_inner();
        let work = move |services: Arc<Services>, context: RequestContext| async move {
            let altered = alter(&services, &context, request).await;
            v1::AlterConfigsResponse {
                error: altered.err().map(wire::error),
            }
        };
        self.control.run(context, work).await
    }
}

async fn alter(
    services: &Services,
    context: &RequestContext,
    request: v1::AlterConfigsRequest,
) -> Result<(), ServiceError> {
    let resource = resource(&request.resource.unwrap_or_default())?;
    let changes: Vec<ConfigChange> = request
        .changes
        .into_iter()
        .map(change)
        .collect::<Result<_, _>>()?;
    services
        .alter_configs(context, &resource, &changes, request.validate_only)
        .await
}

fn resource(asked: &v1::ConfigResource) -> Result<ConfigResource, ServiceError> {
    match v1::ConfigResourceType::try_from(asked.r#type) {
        Ok(v1::ConfigResourceType::Topic) => Ok(ConfigResource::Topic(asked.name.clone())),
        Ok(v1::ConfigResourceType::Broker) => Ok(ConfigResource::Broker(asked.name.clone())),
        Ok(v1::ConfigResourceType::Unspecified) | Err(_) => Err(ServiceError::invalid_request(
            format!("config resource type is {}, expected 1 or 2", asked.r#type),
            "name a topic (1) or a broker (2)",
        )),
    }
}

fn change(change: v1::ConfigChange) -> Result<ConfigChange, ServiceError> {
    use v1::config_change::Operation;
    let value = match change.operation {
        Some(Operation::Set(value)) => Some(value),
        Some(Operation::Delete(true)) => None,
        Some(Operation::Delete(false)) | None => {
            return Err(ServiceError::invalid_request(
                "config change says neither set nor delete",
                "say one of the two for each key",
            ));
        }
    };
    Ok(ConfigChange {
        name: change.name,
        value,
    })
}

fn entry(entry: ConfigEntry) -> v1::ConfigEntry {
    let source = match entry.source {
        ConfigSource::Default => v1::ConfigSource::Default,
        ConfigSource::File => v1::ConfigSource::File,
        ConfigSource::Environment => v1::ConfigSource::Environment,
        ConfigSource::Flag => v1::ConfigSource::Flag,
        ConfigSource::Cluster => v1::ConfigSource::Cluster,
        ConfigSource::Topic => v1::ConfigSource::Topic,
    };
    v1::ConfigEntry {
        name: entry.name,
        value: entry.value,
        source: source.into(),
        read_only: entry.read_only,
        sensitive: false,
        default_value: entry.default_value,
        documentation: entry.documentation,
    }
}
