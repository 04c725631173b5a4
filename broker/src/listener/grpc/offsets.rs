//! `OffsetService`.

use std::sync::Arc;

use millstream_proto::{
    Offset, PartitionIndex,
    grpc::v1::{self, offset_service_server::OffsetService},
};
use tonic::{Request, Response, Status};

use super::{control::Control, wire};
use crate::{
    partition::Isolation,
    service::{
        RequestContext, ServiceError, Services,
        offsets::{FoundOffset, OffsetSpec, checked_offset},
    },
};

/// Adapter of [`OffsetService`].
#[derive(Debug)]
pub(super) struct OffsetAdapter {
    control: Control,
}

impl OffsetAdapter {
    pub(super) fn new(control: Control) -> Self {
        Self { control }
    }
}

#[tonic::async_trait]
impl OffsetService for OffsetAdapter {
    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        let context = wire::context(&request);
        let request = request.into_inner();
        let isolation = wire::isolation(request.isolation_level);
        let work = move |services: Arc<Services>, context: RequestContext| async move {
            let mut results = Vec::with_capacity(request.queries.len());
            for query in request.queries {
                let found = match &isolation {
                    Ok(isolation) => find(&services, &context, *isolation, &query).await,
                    Err(error) => Err(error.clone()),
                };
                results.push(found_to_wire(query, found));
            }
            v1::ListOffsetsResponse { results }
        };
        self.control.run(context, work).await
    }

    async fn delete_records(
        &self,
        request: Request<v1::DeleteRecordsRequest>,
    ) -> Result<Response<v1::DeleteRecordsResponse>, Status> {
        let context = wire::context(&request);
        let request = request.into_inner();
        let work = move |services: Arc<Services>, context: RequestContext| async move {
            let mut results = Vec::with_capacity(request.items.len());
            for item in request.items {
                let (log_start_offset, error) = match delete(&services, &context, &item).await {
                    Ok(log_start) => (log_start.get(), None),
                    Err(error) => (-1, Some(wire::error(error))),
                };
                results.push(v1::DeleteRecordsResult {
                    topic_id: item.topic_id,
                    partition: item.partition,
                    error,
                    log_start_offset,
                });
            }
            v1::DeleteRecordsResponse { results }
        };
        self.control.run(context, work).await
    }
}

async fn find(
    services: &Services,
    context: &RequestContext,
    isolation: Isolation,
    query: &v1::OffsetQuery,
) -> Result<FoundOffset, ServiceError> {
    use v1::offset_query::Spec;
    let spec = match query.spec {
        Some(Spec::Earliest(true)) => OffsetSpec::Earliest,
        Some(Spec::Latest(true)) => OffsetSpec::Latest,
        Some(Spec::MaxTimestamp(true)) => OffsetSpec::MaxTimestamp,
        Some(Spec::TimestampMs(timestamp)) => OffsetSpec::Timestamp(timestamp),
        _ => {
            return Err(ServiceError::invalid_request(
                "offset query says nothing to look for",
                "set one of earliest, latest, max_timestamp, timestamp_ms",
            ));
        }
    };
    let topic_id = wire::topic_id(&query.topic_id)?;
    let partition = PartitionIndex(query.partition);
    services
        .list_offset(context, topic_id, partition, isolation, spec)
        .await
}

fn found_to_wire(
    query: v1::OffsetQuery,
    found: Result<FoundOffset, ServiceError>,
) -> v1::OffsetResult {
    let (found, error) = match found {
        Ok(found) => (Some(found), None),
        Err(error) => (None, Some(wire::error(error))),
    };
    v1::OffsetResult {
        topic_id: query.topic_id,
        partition: query.partition,
        error,
        offset: found.and_then(|f| f.offset).map_or(-1, Offset::get),
        timestamp_ms: found.and_then(|f| f.timestamp_ms).unwrap_or(-1),
        leader_epoch: found.map_or(-1, |f| f.leader_epoch.0),
    }
}

async fn delete(
    services: &Services,
    context: &RequestContext,
    item: &v1::DeleteRecordsItem,
) -> Result<Offset, ServiceError> {
    /// Means "everything that readers see".
    const ALL: i64 = -1;
    let before = match item.before_offset {
        ALL => None,
        offset => Some(checked_offset(offset)?),
    };
    let topic_id = wire::topic_id(&item.topic_id)?;
    services
        .delete_records(context, topic_id, PartitionIndex(item.partition), before)
        .await
}
