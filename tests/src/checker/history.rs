//! [`History`]: what happened in one partition, as its clients saw it.

use super::ValueId;

/// One consumer. A consumer that starts over keeps its id.
pub type ReaderId = u32;

/// One observation. Offsets are those the broker named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The broker acknowledged a value at an offset. A value that was sent and is neither
    /// acknowledged nor refused may or may not be in the log.
    Acknowledged {
        /// The value.
        value: ValueId,
        /// Its offset; `None` where the broker knows only that it has the value.
        offset: Option<i64>,
    },
    /// The broker refused a value and said that it is not in the log.
    Refused {
        /// The value.
        value: ValueId,
    },
    /// A reader starts at an offset: at its first, or by a seek.
    Sought {
        /// Who.
        reader: ReaderId,
        /// The next offset it asks for.
        offset: i64,
    },
    /// A reader got a record.
    Polled {
        /// Who.
        reader: ReaderId,
        /// Where.
        offset: i64,
        /// What; `None` for bytes that no one wrote.
        value: Option<ValueId>,
    },
    /// A reader got everything up to the log's end, exclusive.
    Reached {
        /// Who.
        reader: ReaderId,
        /// The end.
        end: i64,
    },
    /// Records below an offset may be gone: retention, or delete_records.
    LogStart {
        /// The first offset that must be there.
        offset: i64,
    },
}

/// Operations of one partition in the order observed.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The operations.
    pub operations: Vec<Operation>,
}

impl History {
    /// Adds an observation.
    pub fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Acknowledged values.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        let is_ack = |operation: &&Operation| matches!(operation, Operation::Acknowledged { .. });
        self.operations.iter().filter(is_ack).count()
    }
}
