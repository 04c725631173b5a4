//! Whether a partition is to be compacted, and how dirty it is.

use std::sync::Arc;

use millstream_proto::Offset;

use super::{super::PartitionLog, end_of};
use crate::{
    compaction::{Compactable, CompactionConfig, Ratio, plan, reader},
    error::StorageError,
    manifest::Manifest,
    segment::Segment,
};

/// How dirty a partition is that nobody used since the start: nothing changes it until somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::partition) struct DirtyAtStart {
    clean_bytes: u64,
    dirty_bytes: u64,
}

impl DirtyAtStart {
    fn of(manifest: &Manifest) -> Self {
        let mut found = Self {
            clean_bytes: 0,
            dirty_bytes: 0,
        };
        for entry in manifest.entries() {
            if entry.meta.end_offset() <= manifest.cleaned_to() {
                found.clean_bytes += entry.meta.size_bytes;
            } else {
                found.dirty_bytes += entry.meta.size_bytes;
            }
        }
        found
    }

    /// Whether it is worth a look at the log: one that must not stay dirty for long is looked at as soon
    /// as it is dirty, for the manifest does not say since when.
    fn may_be_due(self, config: &CompactionConfig) -> bool {
        let ratio = Ratio::of(self.dirty_bytes, self.clean_bytes + self.dirty_bytes);
        self.dirty_bytes > 0 && (config.max_lag_ms.is_some() || ratio > config.dirty_ratio_min)
    }
}

impl PartitionLog {
    /// What can be compacted now; `None` where the topic does not ask for it, or the partition was not
    /// used since the start and needs nothing. Reads the manifest or headers at most.
    ///
    /// # Errors
    /// An offline partition; what the disk says.
    pub fn compactable(
        &self,
        now_ms: i64,
        high_watermark: Offset,
    ) -> Result<Option<Compactable>, StorageError> {
        let config = self.config();
        if !config.cleanup_compact
            || (!self.view().is_opened() && !self.may_be_due_unopened(&config.compaction))
        {
            return Ok(None);
        }
        let view = self.opened_view()?;
        let segments = self.compactable_segments(&view, now_ms, high_watermark);
        let first_dirty = self.first_dirty(&view);
        let mut found = Compactable {
            first_dirty,
            end: end_of(&segments).unwrap_or(first_dirty).max(first_dirty),
            ..Compactable::default()
        };
        for segment in &segments {
            let meta = segment.meta();
            if meta.end_offset() <= first_dirty {
                found.clean_bytes += meta.size_bytes;
                continue;
            }
            found.dirty_bytes += meta.size_bytes;
            if let Some(max_lag_ms) = config.compaction.max_lag_ms
                && !found.is_overdue
            {
                found.is_overdue = self.begins_before(segment, now_ms, max_lag_ms)?;
            }
        }
        Ok(Some(found))
    }

    /// Asks the manifest, once; one that cannot be read is a matter for whoever opens the partition.
    fn may_be_due_unopened(&self, config: &CompactionConfig) -> bool {
        let found = self.dirty_at_start.get_or_init(|| {
            let manifest = Manifest::load(&**self.directory.io(), &self.path).ok()?;
            manifest.as_ref().map(DirtyAtStart::of)
        });
        found.is_none_or(|dirty| dirty.may_be_due(config))
    }

    fn begins_before(
        &self,
        segment: &Arc<Segment>,
        now_ms: i64,
        age_ms: u64,
    ) -> Result<bool, StorageError> {
        let file = segment
            .open_file()
            .map_err(|error| self.read_failed(&segment.log_path(), error))?;
        let first_ms = reader::first_timestamp(&*file);
        Ok(first_ms.is_some_and(|first_ms| !plan::is_younger(first_ms, now_ms, age_ms)))
    }
}
