//! [`Compaction`]: up to where compaction may have left gaps in a log. In a log of ours its manifest says.
//!
//! Kafka notes in `cleaner-offset-checkpoint`, beside the partitions' directories, the first offset
//! of each compacted partition that the cleaner has not seen:
//!
//! ```text
//! 0                    version
//! 1                    count
//! my-topic 0 140       topic partition first_dirty_offset
//! ```

use std::path::Path;

use millstream_proto::Offset;

use super::{InspectError, Report};
use crate::{frame, io::LogIo};

/// The file of Kafka that says how far each log was compacted.
pub(super) const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";

/// Where offsets may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compaction {
    /// Nowhere.
    None,
    /// Below this offset.
    Below(Offset),
    /// Anywhere: compacted, not known how far.
    Anywhere,
}

impl Compaction {
    /// Whether the offsets before `next` may be missing.
    #[must_use]
    pub fn allows_gap_before(self, next: Offset) -> bool {
        match self {
            Self::None => false,
            Self::Below(first_dirty) => next <= first_dirty,
            Self::Anywhere => true,
        }
    }

    /// Whether records of the batch that ends with `last` may be missing.
    #[must_use]
    pub fn covers(self, last: Offset) -> bool {
        match self {
            Self::None => false,
            Self::Below(first_dirty) => last < first_dirty,
            Self::Anywhere => true,
        }
    }

    /// What the checkpoint beside the partition's directory says; `None` where it says nothing.
    pub(super) fn load(
        io: &dyn LogIo,
        partition_dir: &Path,
        report: &mut Report,
    ) -> Result<Option<Self>, InspectError> {
        let path = partition_dir
            .parent()
            .unwrap_or(Path::new("."))
            .join(CLEANER_CHECKPOINT);
        let Some(bytes) = frame::read_file(io, &path).map_err(InspectError::at(&path))? else {
            return Ok(None);
        };
        let Some(entries) = std::str::from_utf8(&bytes).ok().and_then(parse) else {
            report.add_file(
                &path,
                "it is not a version, a count and as many lines of three words",
            );
            return Ok(None);
        };
        let name = partition_dir
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let found = entries.into_iter().find(|(partition, _)| partition == name);
        Ok(found.map(|(_, first_dirty)| Self::Below(first_dirty)))
    }
}

/// Names of partition directories with their offsets.
pub(super) fn parse(text: &str) -> Option<Vec<(String, Offset)>> {
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let entries = lines.map(parse_line).collect::<Option<Vec<_>>>()?;
    (entries.len() == count).then_some(entries)
}

fn parse_line(line: &str) -> Option<(String, Offset)> {
    let mut words = line.split(' ');
    let (topic, partition) = (words.next()?, words.next()?);
    let offset = Offset::new(words.next()?.parse().ok()?)?;
    words
        .next()
        .is_none()
        .then(|| (format!("{topic}-{partition}"), offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_is_version_count_and_lines() {
        let entries = parse("0\n2\na-b 0 140\nc 12 0\n").unwrap();
        let names: Vec<_> = entries
            .iter()
            .map(|(name, offset)| (&**name, offset.get()))
            .collect();
        assert_eq!(names, [("a-b-0", 140), ("c-12", 0)]);
        for bad in [
            "",
            "1\n0\n",
            "0\n2\na 0 1\n",
            "0\n1\na 0\n",
            "0\n1\na 0 -1\n",
            "0\n1\na 0 1 2\n",
        ] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn gaps_end_at_the_first_dirty_offset() {
        let offset = |value| Offset::new(value).unwrap();
        let compaction = Compaction::Below(offset(140));
        assert!(compaction.allows_gap_before(offset(140)) && compaction.covers(offset(139)));
        assert!(!compaction.allows_gap_before(offset(141)) && !compaction.covers(offset(140)));
    }
}
