//! Behaviour of a partition log over the memory file system.

use super::testing::*;
use crate::LogConfig;

#[test]
fn appended_records_come_back_from_memory_and_from_the_file() {
    let io = memory();
    let directory = directory(&io);
    let log = create(&directory, LogConfig::default());
    let first = append(&log, &["a", "b"]);
    let second = append(&log, &["c"]);
    assert_eq!(
        (first.base_offset, first.last_offset),
        (offset(0), offset(1))
    );
    assert_eq!(second.base_offset, offset(2));
    let expected = vec![(0, "a".into()), (1, "b".into()), (2, "c".into())];
    assert_eq!(records(&log, 0), expected);
    forget_tail(&log);
    assert_eq!(records(&log, 0), expected);
    assert_eq!(records(&log, 1)[0].0, 0, "whole batches");
}
