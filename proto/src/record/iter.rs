//! [`BatchIter`] and [`OwnedBatchIter`]: batches back to back, as segments and fetches hold them.
//!
//! Both end after the first error. Bytes that end inside a batch are [`BatchError::Truncated`].

use bytes::Bytes;

use super::{Batch, BatchError, BatchView};

/// Batches back to back in borrowed bytes.
#[derive(Debug, Clone)]
pub struct BatchIter<'a> {
    rest: &'a [u8],
    position: usize,
}

impl<'a> BatchIter<'a> {
    /// Starts at the first batch of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            position: 0,
        }
    }

    /// Where the next batch starts, in bytes from the start; after an error, where the bad one does.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for BatchIter<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = BatchView::parse(self.rest);
        match &parsed {
            Ok(view) => {
                self.rest = self.rest.get(view.size_bytes()..).unwrap_or_default();
                self.position += view.size_bytes();
            }
            Err(_) => self.rest = &[],
        }
        Some(parsed)
    }
}

/// Batches back to back in shared bytes; each item shares the allocation.
#[derive(Debug, Clone)]
pub struct OwnedBatchIter {
    rest: Bytes,
}

impl OwnedBatchIter {
    /// Starts at the first batch of `bytes`.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }
}

impl Iterator for OwnedBatchIter {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = BatchView::parse(&self.rest).map(|view| view.size_bytes());
        match parsed {
            Ok(size_bytes) => Some(Batch::parse(self.rest.split_to(size_bytes))),
            Err(error) => {
                self.rest.clear();
                Some(Err(error))
            }
        }
    }
}
