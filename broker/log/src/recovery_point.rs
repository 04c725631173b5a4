//! [`RecoveryPoints`]: for each partition of a data directory, the durable offset below which a bad
//! batch is corruption, and in which boot of the machine it was written.
//!
//! One framed file a data directory. Whoever writes it makes sure that what is below each offset was
//! flushed, directory entries included. It trails the flushed offsets by a bounded time and size.
//!
//! ```text
//! payload: | boot id of the last write, 16 bytes | count u32 | entries |
//! entry:   | offset i64 | boot id, 16 bytes | name length u16 | directory name |
//! ```

use std::{collections::BTreeMap, fmt, io, path::Path};

use bytes::{Buf, BufMut};
use millstream_proto::Offset;

use crate::{
    frame::{self, FrameKind, LoadError},
    hooks,
    io::LogIo,
    layout::RECOVERY_POINTS,
};

/// The frame of the file.
pub const KIND: FrameKind = FrameKind {
    id: 4,
    version: 1,
    name: "recovery points",
};

/// One boot of the kernel: the page cache does not survive into another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

impl BootId {
    /// Reads the text of `/proc/sys/kernel/random/boot_id`: a UUID; `None` for any other text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 {
            return None;
        }
        u128::from_str_radix(&digits, 16)
            .ok()
            .map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The recovery point of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryPoint {
    /// Everything below it is durable.
    pub offset: Offset,
    /// The boot in which it was written.
    pub boot_id: BootId,
}

/// Recovery points of a data directory, by name of the partition's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryPoints {
    boot_id: Option<BootId>,
    points: BTreeMap<String, RecoveryPoint>,
}

impl RecoveryPoints {
    /// No partitions.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            boot_id: None,
            points: BTreeMap::new(),
        }
    }

    /// The boot in which the file was written last: that of a partition which is not in it, as it
    /// was created after that.
    #[must_use]
    pub const fn boot_id(&self) -> Option<BootId> {
        self.boot_id
    }

    /// Sets the boot in which the file is written; returns whether it changed.
    pub fn set_boot_id(&mut self, boot_id: BootId) -> bool {
        self.boot_id.replace(boot_id) != Some(boot_id)
    }

    /// The recovery point of a partition's directory.
    #[must_use]
    pub fn get(&self, directory: &str) -> Option<RecoveryPoint> {
        self.points.get(directory).copied()
    }

    /// Sets the recovery point of a partition's directory; returns whether it changed.
    pub fn set(&mut self, directory: &str, point: RecoveryPoint) -> bool {
        if self.get(directory) == Some(point) {
            return false;
        }
        self.points.insert(directory.to_owned(), point);
        true
    }

    /// Forgets a partition's directory.
    pub fn remove(&mut self, directory: &str) {
        self.points.remove(directory);
    }

    /// All of them in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, RecoveryPoint)> + '_ {
        self.points
            .iter()
            .map(|(name, point)| (name.as_str(), *point))
    }

    fn payload(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.put_slice(&self.boot_id.map_or([0; 16], |boot_id| boot_id.0));
        bytes.put_u32(u32::try_from(self.points.len()).map_err(io::Error::other)?);
        for (name, point) in &self.points {
            bytes.put_i64(point.offset.get());
            bytes.put_slice(&point.boot_id.0);
            bytes.put_u16(u16::try_from(name.len()).map_err(io::Error::other)?);
            bytes.put_slice(name.as_bytes());
        }
        Ok(bytes)
    }

    fn from_payload(mut payload: &[u8]) -> Option<Self> {
        let mut points = Self::new();
        let mut boot_id = [0; 16];
        payload.try_copy_to_slice(&mut boot_id).ok()?;
        points.boot_id = (boot_id != [0; 16]).then_some(BootId(boot_id));
        for _ in 0..payload.try_get_u32().ok()? {
            let offset = Offset::new(payload.try_get_i64().ok()?)?;
            let mut boot_id = [0; 16];
            payload.try_copy_to_slice(&mut boot_id).ok()?;
            let length = usize::from(payload.try_get_u16().ok()?);
            let name = payload.split_off(..length)?;
            points.set(
                std::str::from_utf8(name).ok()?,
                RecoveryPoint {
                    offset,
                    boot_id: BootId(boot_id),
                },
            );
        }
        (!payload.has_remaining()).then_some(points)
    }

    /// Reads the recovery points of a data directory; `None` when there are none.
    ///
    /// # Errors
    /// A corrupt file, whatever the system says.
    pub fn load(io: &dyn LogIo, data_dir: &Path) -> Result<Option<Self>, LoadError> {
        let path = data_dir.join(RECOVERY_POINTS);
        let Some(frame) = KIND.load(io, &path)? else {
            return Ok(None);
        };
        Self::from_payload(&frame.payload)
            .map(Some)
            .ok_or_else(|| LoadError::Corrupt {
                path,
                source: KIND.payload_error("an entry is cut off or not text"),
            })
    }

    /// Replaces the recovery points of a data directory durably.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn store(&self, io: &dyn LogIo, data_dir: &Path) -> io::Result<()> {
        let bytes = KIND.encode(&self.payload()?)?;
        let path = data_dir.join(RECOVERY_POINTS);
        frame::replace_file_pausing(io, &path, &bytes, || {
            hooks::reached(hooks::Phase::RecoveryPoint);
        })
    }
}
