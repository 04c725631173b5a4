//! [`Control`]: admin calls run on the control runtime, so that neither produce nor a slow disk under
//! it delays them, nor they it.

use std::{future::Future, sync::Arc};

use millstream_proto::ErrorCode;
use tokio::{runtime, task::JoinHandle};
use tonic::{Response, Status};

use super::wire;
use crate::service::{RequestContext, ServiceError, Services};

/// Where admin calls run. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Control {
    runtime: runtime::Handle,
    services: Arc<Services>,
}

impl Control {
    pub(super) fn new(runtime: runtime::Handle, services: Arc<Services>) -> Self {
        Self { runtime, services }
    }

    pub(super) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Runs a task there.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(task)
    }

    /// Runs one call there, until its deadline. When the client goes away the work goes on.
    pub(super) async fn run<T, F>(
        &self,
        context: RequestContext,
        work: impl FnOnce(Arc<Services>, RequestContext) -> F,
    ) -> Result<Response<T>, Status>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let deadline = context.deadline;
        let call = self
            .runtime
            .spawn(work(Arc::clone(&self.services), context));
        let joined = match deadline {
            None => call.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), call)
                .await
                .map_err(|_| timed_out())?,
        };
        joined.map(Response::new).map_err(|error| {
            tracing::error!(%error, "admin call panicked");
            wire::status(&ServiceError::panicked())
        })
    }
}

fn timed_out() -> Status {
    wire::status(&ServiceError::new(
        ErrorCode::RequestTimedOut,
        "call was not done by its deadline; it may still be carried out",
        "look whether it was, then retry with a later deadline",
    ))
}
