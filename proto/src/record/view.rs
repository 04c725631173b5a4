//! [`BatchView`]: one whole batch in borrowed bytes, header decoded, records untouched.

use std::ops::Deref;

use super::{BatchError, BatchHeader, CRC_COVERS_FROM, HEADER_BYTES};

/// One whole batch in borrowed bytes. Dereferences to its [`BatchHeader`].
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    header: BatchHeader,
    /// Exactly the batch: `header.size_bytes()` long.
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Takes the batch at the start of `bytes`; what follows it is left alone. The CRC is not
    /// checked here.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] where the bytes end early; otherwise the first field that is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::decode(bytes)?;
        match bytes.get(..header.size_bytes()) {
            Some(bytes) => Ok(Self { header, bytes }),
            None => Err(BatchError::Truncated {
                expected: header.size_bytes(),
                found: bytes.len(),
            }),
        }
    }

    /// Takes bytes that are exactly one batch.
    ///
    /// # Errors
    /// As [`BatchView::parse`], and [`BatchError::TrailingBytes`].
    pub fn parse_only(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let view = Self::parse(bytes)?;
        if bytes.len() > view.size_bytes() {
            return Err(BatchError::TrailingBytes {
                expected: view.size_bytes(),
                found: bytes.len(),
            });
        }
        Ok(view)
    }

    /// The decoded header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records, compressed as the header says.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Checks the CRC-32C over everything from the attributes to the end.
    ///
    /// # Errors
    /// [`BatchError::Crc`].
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.crc(), covered_crc(self.bytes));
        if stored == computed {
            Ok(())
        } else {
            Err(BatchError::Crc { stored, computed })
        }
    }
}

impl Deref for BatchView<'_> {
    type Target = BatchHeader;

    fn deref(&self) -> &BatchHeader {
        &self.header
    }
}

/// CRC-32C of what the checksum of the batch `bytes` covers.
pub(super) fn covered_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes.get(CRC_COVERS_FROM..).unwrap_or_default())
}
