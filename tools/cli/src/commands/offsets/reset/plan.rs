//! [`Move`]: what becomes of one committed offset.

use millstream::{Start, admin::PartitionLog};
use serde_json::{Value, json};

/// From one offset to another, which is the one wanted as far as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// What is committed now.
    pub(super) from: Option<i64>,
    pub(super) wanted: i64,
    pub(super) log_start_offset: i64,
    pub(super) log_end_offset: i64,
}

/// The offset of a start in one log; `found` is what a look-up by time came to.
pub(super) const fn wanted(start: Start, found: Option<i64>, log: &PartitionLog) -> i64 {
    match (start, found) {
        (Start::Offset(offset), _) | (Start::TimestampMs(_), Some(offset)) => offset,
        (Start::Latest | Start::TimestampMs(_), _) => log.high_watermark,
        _ => log.log_start_offset,
    }
}

impl Move {
    pub(super) fn place(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }

    /// The offset to commit: as `kafka-consumer-groups` does it, the nearest one in the log.
    pub(super) fn to(&self) -> i64 {
        self.wanted
            .min(self.log_end_offset)
            .max(self.log_start_offset)
    }

    fn lag_after(&self) -> i64 {
        self.log_end_offset.saturating_sub(self.to()).max(0)
    }

    /// Why it is not the offset wanted.
    pub(super) fn note(&self) -> Option<String> {
        let wanted = self.wanted;
        if wanted > self.log_end_offset {
            Some(format!("{wanted} is beyond the end of the log"))
        } else if wanted < self.log_start_offset {
            Some(format!("{wanted} is before the start of the log"))
        } else {
            None
        }
    }

    pub(super) fn row(&self) -> Vec<String> {
        let from = self.from.map(|offset| offset.to_string());
        let mut row = vec![
            self.topic.clone(),
            self.partition.to_string(),
            from.unwrap_or_else(|| "none".to_owned()),
            self.to().to_string(),
            self.lag_after().to_string(),
        ];
        row.extend(self.note());
        row
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "topic": self.topic,
            "partition": self.partition,
            "from": self.from,
            "to": self.to(),
            "lag_after": self.lag_after(),
            "clamped": self.note().is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(wanted: i64) -> (i64, i64, bool) {
        let planned = Move {
            topic: "flights".to_owned(),
            partition: 0,
            from: None,
            wanted,
            log_start_offset: 10,
            log_end_offset: 20,
        };
        (planned.to(), planned.lag_after(), planned.note().is_some())
    }

    #[test]
    fn an_offset_that_is_not_in_the_log_becomes_the_nearest_with_a_note() {
        assert_eq!(to(15), (15, 5, false));
        assert_eq!(to(10), (10, 10, false));
        assert_eq!(to(20), (20, 0, false));
        assert_eq!(to(3), (10, 10, true));
        assert_eq!(to(99), (20, 0, true));
    }
}
