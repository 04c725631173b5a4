//! [`KeptRecords`]: which records of a batch stay, a bit for each: a batch may have very many.

/// Which records of a batch stay.
#[derive(Debug, Default)]
pub(super) struct KeptRecords {
    words: Vec<u64>,
    records: u32,
    kept: u32,
}

impl KeptRecords {
    /// Says whether the next record stays.
    pub(super) fn push(&mut self, is_kept: bool) {
        let bit = self.records % u64::BITS;
        if bit == 0 {
            self.words.push(0);
        }
        if let Some(word) = self.words.last_mut() {
            *word |= u64::from(is_kept) << bit;
        }
        self.records += 1;
        self.kept += u32::from(is_kept);
    }

    /// Whether the record at this index stays.
    pub(super) fn contains(&self, index: u32) -> bool {
        let word = usize::try_from(index / u64::BITS).ok();
        word.and_then(|word| self.words.get(word))
            .is_some_and(|word| word >> (index % u64::BITS) & 1 == 1)
    }

    /// Whether all stay.
    pub(super) const fn is_all(&self) -> bool {
        self.kept == self.records
    }

    /// Whether none stays.
    pub(super) const fn is_none(&self) -> bool {
        self.kept == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_what_it_was_told() {
        let mut kept = KeptRecords::default();
        assert!(kept.is_none() && kept.is_all());
        for index in 0..200 {
            kept.push(index % 3 == 0);
        }
        assert!((0..200).all(|index| kept.contains(index) == (index % 3 == 0)));
        assert!(!kept.contains(201) && !kept.is_none() && !kept.is_all());
    }
}
