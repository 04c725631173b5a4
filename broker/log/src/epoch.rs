//! [`EpochHistory`]: which leader epoch starts at which offset.
//!
//! On disk twice: `leader-epoch-checkpoint` in Kafka's text, which has no checksum, and
//! `leader-epochs`, framed, which is believed where both are there and whole.
//!
//! ```text
//! leader-epoch-checkpoint:       leader-epochs, payload, big-endian:
//! 0            version           | count u32 | entries: epoch i32, start offset i64 |
//! 2            count
//! 0 0          epoch start_offset
//! 3 4711
//! ```
//! Epochs and start offsets increase strictly. An epoch ends where the next one starts.

use std::{fmt::Write as _, io, path::Path};

use bytes::{Buf, BufMut};
use millstream_proto::{LeaderEpoch, Offset};

use crate::{
    frame::{self, FrameKind, LoadError},
    io::LogIo,
    layout::{LEADER_EPOCH_CHECKPOINT, LEADER_EPOCHS},
};

/// The frame of `leader-epochs`.
pub const KIND: FrameKind = FrameKind {
    id: 2,
    version: 1,
    name: "leader epochs",
};

/// Start of one leadership in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The leadership.
    pub leader_epoch: LeaderEpoch,
    /// Offset of its first record.
    pub start_offset: Offset,
}

/// All leaderships that have records in the log, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochHistory {
    entries: Vec<EpochStart>,
}

/// An epoch history as it was found.
#[derive(Debug)]
pub struct LoadedEpochs {
    /// The history.
    pub history: EpochHistory,
    /// Whether it comes from the framed file, whose checksum fits.
    pub is_framed: bool,
    /// What was wrong with the framed file.
    pub damage: Option<LoadError>,
}

/// Why a text is no epoch history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the epoch history is not {expected}")]
pub struct EpochTextError {
    /// Line, from 1.
    pub line: usize,
    /// What should be there.
    pub expected: &'static str,
}

impl EpochHistory {
    /// No leadership yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// All entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// The newest leadership.
    #[must_use]
    pub fn latest(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    /// Notes that `leader_epoch` writes at `start_offset`. Returns whether the history changed and
    /// must be stored before the append counts. Entries that this contradicts (a later epoch, or a
    /// start at or after the offset) are replaced, as Kafka does.
    pub fn assign(&mut self, leader_epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if leader_epoch.0 < 0 {
            return false;
        }
        match self.entries.last() {
            Some(last)
                if last.leader_epoch == leader_epoch && last.start_offset <= start_offset =>
            {
                return false;
            }
            _ => {}
        }
        self.entries
            .retain(|entry| entry.leader_epoch < leader_epoch && entry.start_offset < start_offset);
        self.entries.push(EpochStart {
            leader_epoch,
            start_offset,
        });
        true
    }

    /// The leadership that wrote the record at `offset`; `None` before the first entry.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= offset);
        self.entries
            .get(after.checked_sub(1)?)
            .map(|entry| entry.leader_epoch)
    }

    /// The largest epoch at most `leader_epoch` and where it ends; `None` when the history does not
    /// know (the epoch is newer than all, or older than all that are kept).
    #[must_use]
    pub fn end_offset(&self, leader_epoch: LeaderEpoch, log_end: Offset) -> Option<EpochStart> {
        let latest = self.entries.last()?;
        if leader_epoch > latest.leader_epoch {
            return None;
        }
        let after = self
            .entries
            .partition_point(|entry| entry.leader_epoch <= leader_epoch);
        let floor = self.entries.get(after.checked_sub(1)?)?;
        Some(EpochStart {
            leader_epoch: floor.leader_epoch,
            start_offset: self
                .entries
                .get(after)
                .map_or(log_end, |next| next.start_offset),
        })
    }

    /// Drops leaderships that start at `end` or later. Returns whether the history changed.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let keep = self
            .entries
            .partition_point(|entry| entry.start_offset < end);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        changed
    }

    /// Drops leaderships that end at or before `start`, and lets the one at `start` begin there.
    /// Returns whether the history changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= start);
        let Some(floor) = after.checked_sub(1) else {
            return false;
        };
        let unchanged = floor == 0
            && self
                .entries
                .first()
                .is_some_and(|entry| entry.start_offset == start);
        if unchanged {
            return false;
        }
        self.entries.drain(..floor);
        if let Some(first) = self.entries.first_mut() {
            first.start_offset = start;
        }
        true
    }

    /// Kafka's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            writeln!(text, "{} {}", entry.leader_epoch, entry.start_offset)
                .expect("writing to a string does not fail");
        }
        text
    }

    /// Reads Kafka's text.
    ///
    /// # Errors
    /// The first line that is not as expected.
    pub fn from_text(text: &str) -> Result<Self, EpochTextError> {
        let error = |line, expected| EpochTextError { line, expected };
        let mut lines = text.lines();
        if lines.next() != Some("0") {
            return Err(error(1, "version 0"));
        }
        let count: usize = lines
            .next()
            .and_then(|line| line.parse().ok())
            .ok_or_else(|| error(2, "a count"))?;
        let mut history = Self::new();
        for (index, line) in lines.enumerate() {
            let entry = parse_entry(line)
                .filter(|entry| history.follows(*entry))
                .ok_or_else(|| error(index + 3, "an epoch and an offset above those before"))?;
            history.entries.push(entry);
        }
        if history.entries.len() == count {
            Ok(history)
        } else {
            Err(error(2, "the number of lines that follow"))
        }
    }

    fn follows(&self, entry: EpochStart) -> bool {
        self.entries.last().is_none_or(|last| {
            last.leader_epoch < entry.leader_epoch && last.start_offset < entry.start_offset
        })
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(4 + self.entries.len() * 12);
        payload.put_u32(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        for entry in &self.entries {
            payload.put_i32(entry.leader_epoch.0);
            payload.put_i64(entry.start_offset.get());
        }
        payload
    }

    fn from_payload(mut payload: &[u8]) -> Option<Self> {
        let mut history = Self::new();
        for _ in 0..payload.try_get_u32().ok()? {
            let entry = EpochStart {
                leader_epoch: LeaderEpoch(payload.try_get_i32().ok()?),
                start_offset: Offset::new(payload.try_get_i64().ok()?)?,
            };
            history
                .entries
                .push(Some(entry).filter(|entry| history.follows(*entry))?);
        }
        (!payload.has_remaining()).then_some(history)
    }

    /// Reads the history of a partition: the framed file, or Kafka's text where that is missing or
    /// broken; empty where there is neither.
    ///
    /// # Errors
    /// The file cannot be read, or neither is whole.
    pub fn load(io: &dyn LogIo, dir: &Path) -> Result<LoadedEpochs, EpochLoadError> {
        let path = dir.join(LEADER_EPOCHS);
        let damage = match KIND.load(io, &path) {
            Ok(None) => None,
            Ok(Some(frame)) => match Self::from_payload(&frame.payload) {
                Some(history) => {
                    return Ok(LoadedEpochs {
                        history,
                        is_framed: true,
                        damage: None,
                    });
                }
                None => Some(LoadError::Corrupt {
                    path,
                    source: KIND.payload_error("entries do not increase"),
                }),
            },
            Err(error @ LoadError::Corrupt { .. }) => Some(error),
            Err(LoadError::Io { source, .. }) => return Err(source.into()),
        };
        let text = frame::read_file(io, &dir.join(LEADER_EPOCH_CHECKPOINT))?;
        let history = match text {
            None => Self::new(),
            Some(text) => {
                let text = String::from_utf8(text).map_err(|_| EpochTextError {
                    line: 1,
                    expected: "text",
                })?;
                Self::from_text(&text)?
            }
        };
        Ok(LoadedEpochs {
            history,
            is_framed: false,
            damage,
        })
    }

    /// Replaces both files durably. Where that fails half-way the framed one is newer, and believed.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn store(&self, io: &dyn LogIo, dir: &Path) -> io::Result<()> {
        KIND.store(io, &dir.join(LEADER_EPOCHS), &self.payload())?;
        frame::replace_file(
            io,
            &dir.join(LEADER_EPOCH_CHECKPOINT),
            self.to_text().as_bytes(),
        )
    }
}

fn parse_entry(line: &str) -> Option<EpochStart> {
    let (epoch, offset) = line.split_once(' ')?;
    Some(EpochStart {
        leader_epoch: LeaderEpoch(epoch.parse().ok()?),
        start_offset: Offset::new(offset.parse().ok()?)?,
    })
}

/// Why no epoch history can be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpochLoadError {
    /// The text is broken and there is no whole framed file.
    #[error(transparent)]
    Text(#[from] EpochTextError),
    /// The system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests;
