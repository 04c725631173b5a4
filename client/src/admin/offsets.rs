//! Offsets: look up by position or time; delete records below one.

use super::Admin;
use crate::{consumer::IsolationLevel, error::Result};

/// Which offset of a partition is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first offset there is.
    Earliest,
    /// The end of the log as the isolation level sees it.
    Latest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record with this time or a later one, in milliseconds since the epoch.
    TimestampMs(i64),
}

/// An offset that was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedOffset {
    /// The offset; `None` where no record answers.
    pub offset: Option<i64>,
    /// Time of the record found, in milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The leadership that answered.
    pub leader_epoch: i32,
}

impl Admin {
    /// Looks up offsets, one for each (topic, partition, spec). One result per item, in order.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    pub async fn list_offsets(
        &self,
        queries: &[(&str, i32, OffsetSpec)],
        isolation: IsolationLevel,
    ) -> Result<Vec<Result<ListedOffset>>> {
        let _ = (queries, isolation);
        todo!()
    }

    /// Deletes records below an offset, `None` for all up to the high watermark, for each
    /// (topic, partition, offset). Each result is the new log start offset, once that is durable.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    pub async fn delete_records(
        &self,
        items: &[(&str, i32, Option<i64>)],
    ) -> Result<Vec<Result<i64>>> {
        let _ = items;
        todo!()
    }
}
