//! `ProducerIdService`.

use std::sync::Arc;

use millstream_proto::grpc::v1::{self, producer_id_service_server::ProducerIdService};
use tonic::{Request, Response, Status};

use super::{control::Control, wire};
use crate::service::{RequestContext, Services};

/// Adapter of [`ProducerIdService`].
#[derive(Debug)]
pub(super) struct ProducerIdAdapter {
    control: Control,
}

impl ProducerIdAdapter {
    pub(super) fn new(control: Control) -> Self {
        Self { control }
    }
}

#[tonic::async_trait]
impl ProducerIdService for ProducerIdAdapter {
    async fn init_producer_id(
        &self,
        request: Request<v1::InitProducerIdRequest>,
    ) -> Result<Response<v1::InitProducerIdResponse>, Status> {
        let work = |services: Arc<Services>, context: RequestContext| async move {
            match services.init_producer_id(&context).await {
                Ok((id, epoch)) => v1::InitProducerIdResponse {
                    error: None,
                    producer_id: id.0,
                    producer_epoch: i32::from(epoch.0),
                },
                Err(error) => v1::InitProducerIdResponse {
                    error: Some(wire::error(error)),
                    producer_id: -1,
                    producer_epoch: -1,
                },
            }
        };
        self.control.run(wire::context(&request), work).await
    }
}
