//! [`KeyMap`]: the newest offset of each key, in bounded memory.
//!
//! ```text
//!   up to 256 tables with open addressing, by the first byte of a key's hash:
//!   slot, 24 bytes: | hash u128 | offset + 1 u64, 0 where the slot is free |
//! ```
//! Keys are known by a hash of 128 bits (SipHash twice) under keys drawn at random for each map, as
//! nobody compares them afterwards: keys cannot be chosen to collide, and 10^9 of them do by accident
//! with a probability of 10^-21. Tables grow one by one, so growing needs little beside the map. In a small
//! map there are fewer of them, as the fullest one ends it.

use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};

use millstream_proto::{
    Offset,
    record::{Part, Piece},
};

const TABLES_MAX: usize = 256;
/// Bytes for which there is one table more.
const TABLE_BYTES_MIN: usize = 64 << 10;
const SLOT_BYTES: usize = size_of::<Slot>();
/// Slots of a table that holds its first key.
const SLOTS_MIN: usize = 8;

/// The hash of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64, u64);

/// A fingerprint of a key that is seen piece by piece.
#[derive(Debug)]
pub(crate) struct Fingerprinting(DefaultHasher, DefaultHasher);

/// Fingerprint and offset plus one.
type Slot = (u64, u64, u64);

/// The newest offset of each key.
#[derive(Debug)]
pub(crate) struct KeyMap {
    hashers: (RandomState, RandomState),
    tables: Vec<Table>,
    /// Most slots of one table.
    slots_max: usize,
    keys: usize,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    used: usize,
}

impl KeyMap {
    /// An empty map that will take at most `bytes_max` bytes, and at least room for a few keys.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let fitting = (bytes_max / TABLE_BYTES_MIN).clamp(1, TABLES_MAX);
        // A power of two, so that they are equally likely.
        let count = 1 << fitting.ilog2();
        let mut tables = Vec::new();
        tables.resize_with(count, Table::default);
        Self {
            hashers: (RandomState::new(), RandomState::new()),
            tables,
            slots_max: (bytes_max / count / SLOT_BYTES).max(SLOTS_MIN),
            keys: 0,
        }
    }

    /// Starts the fingerprint of a key.
    pub(crate) fn fingerprinting(&self) -> Fingerprinting {
        Fingerprinting(self.hashers.0.build_hasher(), self.hashers.1.build_hasher())
    }

    /// The fingerprint of a whole key.
    #[cfg(test)]
    pub(crate) fn fingerprint(&self, key: &[u8]) -> Fingerprint {
        let mut fingerprinting = self.fingerprinting();
        fingerprinting.see(Piece {
            part: Part::Key,
            bytes: key,
        });
        fingerprinting.finish()
    }

    /// Notes a record's offset unless a newer one is known; false when the map has no room for
    /// another key.
    pub(crate) fn put(&mut self, key: Fingerprint, offset: Offset) -> bool {
        let slots_max = self.slots_max;
        let index = key.table(self.tables.len());
        let Some(table) = self.tables.get_mut(index) else {
            return false;
        };
        let stored = offset.get().unsigned_abs() + 1;
        if let Some(slot) = table.find_mut(key)
            && slot.2 != 0
        {
            slot.2 = slot.2.max(stored);
            return true;
        }
        if !table.make_room(slots_max) {
            return false;
        }
        let Some(slot) = table.find_mut(key) else {
            return false;
        };
        *slot = (key.0, key.1, stored);
        table.used += 1;
        self.keys += 1;
        true
    }

    /// The newest offset of a key.
    pub(crate) fn get(&self, key: Fingerprint) -> Option<Offset> {
        let (.., stored) = self.tables.get(key.table(self.tables.len()))?.find(key)?;
        Offset::new(i64::try_from(stored.checked_sub(1)?).ok()?)
    }

    /// Keys that it holds.
    pub(crate) const fn len(&self) -> usize {
        self.keys
    }

    /// Memory of its slots.
    pub(crate) fn bytes(&self) -> usize {
        let slots: usize = self.tables.iter().map(|table| table.slots.capacity()).sum();
        slots * SLOT_BYTES
    }
}

impl Fingerprinting {
    /// Takes a piece of the record: what is not of the key is passed over.
    pub(crate) fn see(&mut self, piece: Piece<'_>) {
        if piece.part == Part::Key {
            self.0.write(piece.bytes);
            self.1.write(piece.bytes);
        }
    }

    pub(crate) fn finish(&self) -> Fingerprint {
        Fingerprint(self.0.finish(), self.1.finish())
    }
}

impl Fingerprint {
    fn table(self, tables: usize) -> usize {
        let [first, ..] = self.0.to_be_bytes();
        usize::from(first) % tables
    }

    /// Where to look first in a table of `slots`.
    fn start(self, slots: usize) -> usize {
        let within_table = u128::from(self.0 << 8);
        let scaled = (within_table * slots as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }
}

impl Table {
    /// The key's slot, or the free one where it belongs; `None` in an empty table.
    fn find(&self, key: Fingerprint) -> Option<Slot> {
        self.slots.get(self.position(key)?).copied()
    }

    fn find_mut(&mut self, key: Fingerprint) -> Option<&mut Slot> {
        let position = self.position(key)?;
        self.slots.get_mut(position)
    }

    /// There is always a free slot: a table is never filled beyond nine tenths.
    fn position(&self, key: Fingerprint) -> Option<usize> {
        let start = key.start(self.slots.len());
        let after = (start..self.slots.len()).chain(0..start);
        after.into_iter().find(|position| {
            self.slots
                .get(*position)
                .is_some_and(|slot| slot.2 == 0 || (slot.0, slot.1) == (key.0, key.1))
        })
    }

    /// Grows where it is three quarters full, as far as the bound allows; false when one more key
    /// would fill it beyond nine tenths.
    fn make_room(&mut self, slots_max: usize) -> bool {
        let slots = self.slots.len();
        if (self.used + 1) * 4 > slots * 3 && slots < slots_max {
            self.grow((slots * 2).clamp(SLOTS_MIN, slots_max));
        }
        (self.used + 1) * 10 <= self.slots.len() * 9
    }

    fn grow(&mut self, slots: usize) {
        let before = std::mem::replace(&mut self.slots, vec![(0, 0, 0); slots]);
        for slot in before.into_iter().filter(|slot| slot.2 != 0) {
            if let Some(free) = self.find_mut(Fingerprint(slot.0, slot.1)) {
                *free = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn offset(value: i64) -> Offset {
        Offset::new(value).unwrap()
    }

    proptest! {
        #[test]
        fn it_answers_as_a_map_of_whole_keys_does(puts in prop::collection::vec((0_u16..2_000, 0_i64..1_000), 0..4_000)) {
            let mut map = KeyMap::new(1 << 20);
            let mut model: HashMap<u16, i64> = HashMap::new();
            for (key, at) in puts {
                let fingerprint = map.fingerprint(&key.to_be_bytes());
                prop_assert!(map.put(fingerprint, offset(at)));
                let newest = model.entry(key).or_insert(at);
                *newest = (*newest).max(at);
            }
            prop_assert_eq!(map.len(), model.len());
            for key in 0_u16..2_000 {
                let found = map.get(map.fingerprint(&key.to_be_bytes()));
                prop_assert_eq!(found.map(Offset::get), model.get(&key).copied());
            }
        }
    }

    #[test]
    fn a_key_in_pieces_has_the_fingerprint_of_the_whole() {
        let map = KeyMap::new(1 << 16);
        let key: Vec<u8> = (0..=255).collect();
        for cut in [0, 1, 7, 8, 13, 64, 255] {
            let mut pieces = map.fingerprinting();
            for (part, bytes) in [
                (Part::Other, b"length".as_slice()),
                (Part::Key, &key[..cut]),
                (Part::Key, &key[cut..]),
            ] {
                pieces.see(Piece { part, bytes });
            }
            assert_eq!(pieces.finish(), map.fingerprint(&key), "{cut}");
        }
    }

    #[test]
    fn a_full_map_refuses_new_keys_within_its_bound_and_still_takes_known_ones() {
        const BYTES_MAX: usize = 256 << 10;
        let mut map = KeyMap::new(BYTES_MAX);
        let mut taken = Vec::new();
        let refused = (0_i64..)
            .find(|key| {
                let fingerprint = map.fingerprint(&key.to_be_bytes());
                let fits = map.put(fingerprint, offset(*key));
                if fits {
                    taken.push(fingerprint);
                }
                !fits
            })
            .unwrap();
        assert!(map.bytes() <= BYTES_MAX, "{} bytes", map.bytes());
        // The fullest of four tables ends it, which is not far from the mean.
        let capacity = i64::try_from(BYTES_MAX / SLOT_BYTES).unwrap();
        assert!(
            refused > capacity * 8 / 10,
            "full after {refused} of {capacity}"
        );
        for fingerprint in taken {
            assert!(map.put(fingerprint, offset(i64::MAX - 1)));
            assert_eq!(map.get(fingerprint), Some(offset(i64::MAX - 1)));
        }
    }
}
