//! `GroupService`: one stream per member (member.rs), streams of commits (commits.rs), and calls.
//!
//! ```text
//!   member stream    requests are read on the control runtime; answers go from the coordinator
//!                    straight to the stream
//!   commit stream    on the stream's own task, as produce: a commit is an append
//!   calls            on the control runtime
//! ```

mod commits;
mod convert;
mod member;

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use millstream_proto::grpc::v1::{self, group_service_server::GroupService};
use tonic::{Request, Response, Status, Streaming};

use super::{control::Control, wire};
use crate::{
    service::{RequestContext, Services, groups::admin::GroupFilter},
    shutdown::Shutdown,
};

/// Adapter of [`GroupService`].
#[derive(Debug)]
pub(super) struct GroupAdapter {
    control: Control,
    shutdown: Shutdown,
}

impl GroupAdapter {
    pub(super) fn new(control: Control, shutdown: Shutdown) -> Self {
        Self { control, shutdown }
    }
}

#[tonic::async_trait]
impl GroupService for GroupAdapter {
    type MemberStream = Pin<Box<dyn Stream<Item = Result<v1::MemberResponse, Status>> + Send>>;
    type CommitOffsetsStream =
        Pin<Box<dyn Stream<Item = Result<v1::CommitOffsetsResponse, Status>> + Send>>;

    async fn member(
        &self,
        request: Request<Streaming<v1::MemberRequest>>,
    ) -> Result<Response<Self::MemberStream>, Status> {
        let answers = member::serve(&self.control, &self.shutdown, request);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn commit_offsets(
        &self,
        request: Request<Streaming<v1::CommitOffsetsRequest>>,
    ) -> Result<Response<Self::CommitOffsetsStream>, Status> {
        let services = Arc::clone(self.control.services());
        let answers = commits::serve(services, &self.shutdown, request);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fetch_offsets(
        &self,
        request: Request<v1::FetchOffsetsRequest>,
    ) -> Result<Response<v1::FetchOffsetsResponse>, Status> {
        let context = wire::context(&request);
        let request = request.into_inner();
        let work = move |services: Arc<Services>, context: RequestContext| async move {
            let reader = convert::reader(request.member_id, request.member_epoch);
            let asked = request.partitions.into_iter().flat_map(convert::asked);
            let found = services
                .fetch_offsets(&context, &request.group_id, &reader, asked.collect())
                .await;
            match found {
                Ok(found) => v1::FetchOffsetsResponse {
                    error: None,
                    offsets: found.into_iter().map(convert::found_commit).collect(),
                },
                Err(error) => v1::FetchOffsetsResponse {
                    error: Some(wire::error(error)),
                    offsets: Vec::new(),
                },
            }
        };
        self.control.run(context, work).await
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        let context = wire::context(&request);
        let request = request.into_inner();
        let work = move |services: Arc<Services>, context: RequestContext| async move {
            let filter = GroupFilter {
                types: convert::group_types(&request),
                states: request.states,
            };
            let (groups, missing) = services.list_groups(&context, &filter).await;
            v1::ListGroupsResponse {
                groups: groups.iter().map(convert::listing).collect(),
                error: missing.map(wire::error),
            }
        };
        self.control.run(context, work).await
    }

    async fn describe_groups(
        &self,
        request: Request<v1::DescribeGroupsRequest>,
    ) -> Result<Response<v1::DescribeGroupsResponse>, Status> {
        let context = wire::context(&request);
        let group_ids = request.into_inner().group_ids;
        let work = move |services: Arc<Services>, context: RequestContext| async move {
            let mut groups = Vec::with_capacity(group_ids.len());
            for group_id in group_ids {
                let described = services.describe_group(&context, &group_id).await;
                groups.push(match described {
                    Ok(group) => convert::description(group),
                    Err(error) => v1::GroupDescription {
                        group_id,
                        error: Some(wire::error(error)),
                        ..v1::GroupDescription::default()
                    },
                });
            }
            v1::DescribeGroupsResponse { groups }
        };
        self.control.run(context, work).await
    }

    async fn delete_groups(
        &self,
        request: Request<v1::DeleteGroupsRequest>,
    ) -> Result<Response<v1::DeleteGroupsResponse>, Status> {
        let context = wire::context(&request);
        let group_ids = request.into_inner().group_ids;
        let work = move |services: Arc<Services>, context: RequestContext| async move {
            let mut results = Vec::with_capacity(group_ids.len());
            for group_id in group_ids {
                let deleted = services.delete_group(&context, &group_id).await;
                results.push(v1::DeleteGroupResult {
                    group_id,
                    error: deleted.err().map(wire::error),
                });
            }
            v1::DeleteGroupsResponse { results }
        };
        self.control.run(context, work).await
    }

    async fn delete_offsets(
        &self,
        request: Request<v1::DeleteOffsetsRequest>,
    ) -> Result<Response<v1::DeleteOffsetsResponse>, Status> {
        let context = wire::context(&request);
        let v1::DeleteOffsetsRequest { group_id, offsets } = request.into_inner();
        let work = move |services: Arc<Services>, context: RequestContext| async move {
            let place = |offset: &v1::OffsetDelete| (offset.topic.clone(), offset.partition);
            let places = offsets.iter().map(place).collect();
            match services.delete_offsets(&context, group_id, places).await {
                Ok(results) => v1::DeleteOffsetsResponse {
                    error: None,
                    results: convert::deleted(offsets, results),
                },
                Err(error) => v1::DeleteOffsetsResponse {
                    error: Some(wire::error(error)),
                    results: Vec::new(),
                },
            }
        };
        self.control.run(context, work).await
    }
}
