//! [`MetadataWitness`]: how far the metadata log was committed, kept outside of that log.
//!
//! No log can tell an end that it lost from one that was never written. The witness can: it is written
//! after a metadata record was made durable and before anybody is told of it, so a log that ends below it
//! has lost something. It stands beside the metadata directory, so that it outlives it.
//!
//! ```text
//! <data_dir>/metadata-witness:   | slot of even indexes, 512 bytes | slot of odd indexes, 512 bytes |
//! slot:                          a frame whose payload is | index u64 | zeros |, or all zeros before its first
//! ```
//! The slots are written in turn and in place: that takes no space, so it succeeds on a full disk, and
//! should a write tear, the slot before it says all that anybody was told.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

use bytes::Buf;

use crate::{
    frame::{self, FrameError, FrameKind, HEADER_BYTES, LoadError},
    io::{LogFile, LogIo, OpenMode},
    layout::METADATA_WITNESS,
};

/// The frame of a slot.
pub const KIND: FrameKind = FrameKind {
    id: 8,
    version: 1,
    name: "metadata witness",
};

/// The smallest unit that a disk writes whole.
const SLOT_BYTES: usize = 512;
const SLOTS: usize = 2;
const PAYLOAD_BYTES: usize = SLOT_BYTES - HEADER_BYTES;

/// What the witness says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Testimony {
    /// Index of the last committed entry of the metadata log; 0 before the first.
    pub index: u64,
    /// What is wrong with the slot that was not believed: a torn write, or damage.
    pub damage: Option<FrameError>,
}

/// The witness of an open metadata log.
#[derive(Debug)]
pub struct MetadataWitness {
    file: Arc<dyn LogFile>,
}

impl MetadataWitness {
    /// Puts a new witness in a data directory, durably.
    ///
    /// # Errors
    /// Whatever the system says; an old one stays then.
    pub fn create(io: &dyn LogIo, data_dir: &Path, index: u64) -> io::Result<()> {
        let mut bytes = vec![0; SLOTS * SLOT_BYTES];
        let slot = bytes.chunks_exact_mut(SLOT_BYTES).nth(slot_of(index));
        if let Some(slot) = slot {
            slot.copy_from_slice(&encode(index)?);
        }
        frame::replace_file(io, &data_dir.join(METADATA_WITNESS), &bytes)
    }

    /// Reads what the witness of a data directory says; `None` where there is none.
    ///
    /// # Errors
    /// Neither slot is whole, whatever the system says.
    pub fn load(io: &dyn LogIo, data_dir: &Path) -> Result<Option<Testimony>, LoadError> {
        let path = data_dir.join(METADATA_WITNESS);
        match frame::read_file(io, &path) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => decode(&bytes)
                .map(Some)
                .map_err(|source| LoadError::Corrupt { path, source }),
            Err(source) => Err(LoadError::Io { path, source }),
        }
    }

    /// Opens the witness for a log that ends at `index` and is durable up to there, and says so; one that
    /// is not there is created.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn open(io: &dyn LogIo, data_dir: &Path, index: u64) -> io::Result<Self> {
        let path = data_dir.join(METADATA_WITNESS);
        let file = match io.open(&path, OpenMode::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::create(io, data_dir, index)?;
                io.open(&path, OpenMode::Write)?
            }
            opened => opened?,
        };
        let witness = Self { file };
        witness.attest(index)?;
        Ok(witness)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Notes durably that the log is committed up to `index`, one above the last time.
    ///
    /// # Errors
    /// Whatever the system says: then nobody may be told of that index.
    pub fn attest(&self, index: u64) -> io::Result<()> {
        let position = slot_of(index) * SLOT_BYTES;
        self.file
            .write_all_at(&[IoSlice::new(&encode(index)?)], position as u64)?;
        self.file.sync_data()
    }
}

const fn slot_of(index: u64) -> usize {
    if index.is_multiple_of(2) { 0 } else { 1 }
}

fn encode(index: u64) -> io::Result<Vec<u8>> {
    let mut payload = index.to_be_bytes().to_vec();
    payload.resize(PAYLOAD_BYTES, 0);
    KIND.encode(&payload)
}

fn decode(bytes: &[u8]) -> Result<Testimony, FrameError> {
    if bytes.len() != SLOTS * SLOT_BYTES {
        return Err(FrameError::Length {
            kind: KIND.name,
            expected: SLOTS * SLOT_BYTES,
            found: bytes.len(),
        });
    }
    let mut index = None;
    let mut damage = None;
    for (number, slot) in bytes.chunks_exact(SLOT_BYTES).enumerate() {
        match decode_slot(number, slot) {
            Ok(found) => index = index.max(found),
            Err(error) => damage = Some(error),
        }
    }
    match (index, damage) {
        (Some(index), damage) => Ok(Testimony { index, damage }),
        (None, Some(damage)) => Err(damage),
        (None, None) => Err(KIND.payload_error("no slot was ever written")),
    }
}

/// `None` for a slot that was never written.
fn decode_slot(number: usize, slot: &[u8]) -> Result<Option<u64>, FrameError> {
    if slot.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let frame = KIND.decode(slot)?;
    let index = frame.payload.as_slice().try_get_u64().ok();
    index
        .filter(|index| slot_of(*index) == number)
        .map(Some)
        .ok_or_else(|| KIND.payload_error("its index belongs into the other slot"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::MemoryIo;

    const DIR: &str = "/data";

    fn at(index: u64) -> (MemoryIo, MetadataWitness) {
        let io = MemoryIo::new();
        io.create_dir_all(Path::new(DIR)).unwrap();
        io.sync_dir(Path::new("/")).unwrap();
        MetadataWitness::create(&io, Path::new(DIR), 0).unwrap();
        let witness = MetadataWitness::open(&io, Path::new(DIR), 0).unwrap();
        (1..=index).for_each(|index| witness.attest(index).unwrap());
        (io, witness)
    }

    fn load(io: &MemoryIo) -> Result<Option<Testimony>, LoadError> {
        MetadataWitness::load(io, Path::new(DIR))
    }

    fn testimony(index: u64) -> Option<Testimony> {
        let damage = None;
        Some(Testimony { index, damage })
    }

    #[test]
    fn what_was_attested_outlives_a_power_cut() {
        for index in 0..5 {
            let (io, _witness) = at(index);
            for seed in 0..20 {
                assert_eq!(load(&io.crash(seed)).unwrap(), testimony(index));
            }
        }
    }

    #[test]
    fn a_write_that_tears_leaves_what_was_attested_before() {
        let (io, witness) = at(7);
        let path = witness.path();
        let whole = io.contents(path).unwrap();
        witness.attest(8).unwrap();
        let after = io.contents(path).unwrap();
        for cut in 1..SLOT_BYTES {
            let torn = [&after[..cut], &whole[cut..]].concat();
            let file = io.open(path, OpenMode::Write).unwrap();
            file.write_all_at(&[IoSlice::new(&torn)], 0).unwrap();
            let found = load(&io).unwrap().unwrap();
            assert!(found.index == 7 || torn == after, "cut at {cut}: {found:?}");
            assert!(found.index == 7 || found.damage.is_none(), "{found:?}");
        }
    }

    #[test]
    fn every_flipped_bit_is_seen_and_one_never_says_too_much() {
        let (io, witness) = at(7);
        let good = io.contents(witness.path()).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let found = decode(&bad).unwrap();
            assert!(found.damage.is_some() && found.index <= 7, "bit {bit}");
        }
    }

    #[test]
    fn a_file_that_is_cut_blank_or_damaged_twice_is_refused() {
        let (io, witness) = at(7);
        let good = io.contents(witness.path()).unwrap();
        for length in 0..good.len() {
            assert!(decode(&good[..length]).is_err(), "cut at {length}");
        }
        assert!(decode(&vec![0; good.len()]).is_err());
        let mut bad = good;
        bad[20] ^= 1;
        bad[SLOT_BYTES + 20] ^= 1;
        assert!(decode(&bad).is_err());
    }

    #[test]
    fn a_missing_witness_is_created() {
        let (io, _witness) = at(3);
        io.remove_file(&Path::new(DIR).join(METADATA_WITNESS))
            .unwrap();
        assert_eq!(load(&io).unwrap(), None);
        MetadataWitness::open(&io, Path::new(DIR), 9).unwrap();
        assert_eq!(load(&io.crash(1)).unwrap(), testimony(9));
    }
}
