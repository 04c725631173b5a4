//! [`GroupConfig`]: what a consumer in a group works by.

use std::{fmt, sync::Arc, time::Duration};

use super::RebalanceListener;
use crate::consumer::Start;

/// What a consumer in a group works by.
#[derive(Clone)]
pub(crate) struct GroupConfig {
    pub(crate) group_id: String,
    pub(crate) instance_id: String,
    pub(crate) rack_id: String,
    pub(crate) client_id: String,
    /// Empty for the broker's default.
    pub(crate) assignor: String,
    /// `None` for the broker's default.
    pub(crate) session_timeout: Option<Duration>,
    /// `None` for the broker's default.
    pub(crate) rebalance_timeout: Option<Duration>,
    /// `None` for none.
    pub(crate) auto_commit_interval: Option<Duration>,
    /// Where partitions without a commit start; `None` where that is an error.
    pub(crate) initial: Option<Start>,
    pub(crate) listener: Option<Arc<dyn RebalanceListener>>,
}

impl GroupConfig {
    pub(crate) fn new(group_id: String) -> Self {
        Self {
            group_id,
            instance_id: String::new(),
            rack_id: String::new(),
            client_id: "millstream".to_owned(),
            assignor: String::new(),
            session_timeout: None,
            rebalance_timeout: None,
            auto_commit_interval: Some(Duration::from_secs(5)),
            initial: None,
            listener: None,
        }
    }
}

impl fmt::Debug for GroupConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupConfig")
            .field("group_id", &self.group_id)
            .field("instance_id", &self.instance_id)
            .field("auto_commit_interval", &self.auto_commit_interval)
            .field("initial", &self.initial)
            .finish_non_exhaustive()
    }
}
