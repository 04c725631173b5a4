//! The log against a vector of batches: any order of appends, flushes, truncations, deletions, clean
//! stops, kills and power cuts leaves what the vector says.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::testing::*;
use crate::{DataDirectory, LogConfig, PartitionLog, io::MemoryIo, recovery_point::BootId};

#[derive(Debug, Clone)]
enum Step {
    Append { records: usize, bytes: usize },
    Flush,
    Checkpoint,
    Truncate { part: f64 },
    DeleteRecords { part: f64 },
    Retain { bytes: u64 },
    ForgetTail,
    ReleaseIdle,
    Close,
    Kill,
    PowerCut { seed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1usize..6, 1usize..200).prop_map(|(records, bytes)| Step::Append { records, bytes }),
        3 => Just(Step::Flush),
        2 => Just(Step::Checkpoint),
        2 => (0.0..1.1f64).prop_map(|part| Step::Truncate { part }),
        1 => (0.0..1.0f64).prop_map(|part| Step::DeleteRecords { part }),
        1 => (0u64..4000).prop_map(|bytes| Step::Retain { bytes }),
        2 => Just(Step::ForgetTail),
        1 => Just(Step::ReleaseIdle),
        1 => Just(Step::Close),
        2 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
    ]
}

/// Batches with their first offset, and what a power cut must leave.
#[derive(Debug, Default)]
struct Model {
    batches: Vec<(i64, Vec<String>)>,
    log_start: i64,
    log_end: i64,
    flushed: i64,
    appended: u32,
}

impl Model {
    fn records(&self) -> Vec<(i64, String)> {
        let from = self.log_start;
        let mut all = Vec::new();
        for (base, values) in &self.batches {
            let last = base + i64::try_from(values.len()).unwrap() - 1;
            // Reads give whole batches.
            if last >= from {
                all.extend((*base..).zip(values.iter().cloned()));
            }
        }
        all
    }

    fn truncate(&mut self, end: i64) {
        while let Some((base, values)) = self.batches.last() {
            if base + i64::try_from(values.len()).unwrap() <= end {
                break;
            }
            self.log_end = *base;
            self.batches.pop();
        }
        self.flushed = self.flushed.min(self.log_end);
    }
}

struct Rig {
    io: MemoryIo,
    boot: u8,
    directory: Arc<DataDirectory>,
    log: Arc<PartitionLog>,
    config: LogConfig,
    model: Model,
}

impl Rig {
    fn new() -> Self {
        let io = memory();
        let config = LogConfig {
            segment_bytes: 1000,
            index_interval_bytes: 200,
            retention_ms: None,
            ..LogConfig::default()
        };
        let directory = directory(&io);
        let log = create(&directory, config.clone());
        directory.write_recovery_points().unwrap();
        Self {
            io,
            boot: 7,
            directory,
            log,
            config,
            model: Model::default(),
        }
    }

    fn reopen(&mut self) {
        self.directory = DataDirectory::open(
            Arc::new(self.io.clone()),
            DIR.as_ref(),
            limits(),
            BootId([self.boot; 16]),
        )
        .unwrap();
        self.log = reopen(&self.directory, self.config.clone());
    }

    fn apply(&mut self, step: &Step) {
        let model = &mut self.model;
        match step {
            Step::Append { records, bytes } => {
                let values: Vec<String> = (0..*records)
                    .map(|index| format!("{}-{index}-{}", model.appended, "x".repeat(*bytes)))
                    .collect();
                model.appended += 1;
                let texts: Vec<&str> = values.iter().map(String::as_str).collect();
                let appended = append(&self.log, &texts);
                assert_eq!(appended.base_offset.get(), model.log_end);
                model.batches.push((model.log_end, values));
                model.log_end += i64::try_from(*records).unwrap();
            }
            Step::Flush => {
                assert_eq!(self.log.flush().unwrap().get(), model.log_end);
                model.flushed = model.log_end;
            }
            Step::Checkpoint => {
                self.directory.checkpoint().unwrap();
                model.flushed = self.log.positions().flushed.get();
            }
            Step::Truncate { part } => self.truncate(*part),
            Step::DeleteRecords { part } => {
                let span = model.log_end - model.log_start;
                let at = model.log_start + scale(span, *part);
                self.log.delete_records(offset(at)).unwrap();
                model.log_start = at;
            }
            Step::Retain { bytes } => self.retain(*bytes),
            Step::ForgetTail => forget_tail(&self.log),
            Step::ReleaseIdle => self.log.release_idle_resources(),
            Step::Close => {
                let closed = self.log.close().unwrap();
                self.directory
                    .shut_down(1, &[(partition(0), closed)])
                    .unwrap();
                model.flushed = model.log_end;
                self.reopen();
            }
            Step::Kill => {
                self.reopen();
                self.model.flushed = self.model.log_end;
            }
            Step::PowerCut { seed } => self.power_cut(*seed),
        }
    }

    fn truncate(&mut self, part: f64) {
        let model = &mut self.model;
        let at = model.log_start + scale(model.log_end - model.log_start, part);
        self.log.truncate_to(offset(at)).unwrap();
        if at < model.log_end {
            model.truncate(at);
        }
        // A batch that holds log_start may have gone as a whole.
        if model.log_end < model.log_start {
            model.log_start = model.log_end;
        }
        model.flushed = self.log.positions().flushed.get();
    }

    fn retain(&mut self, bytes: u64) {
        let config = LogConfig {
            retention_bytes: Some(bytes),
            ..self.config.clone()
        };
        self.log.set_config(Arc::new(config));
        let end = self.log.positions().flushed;
        self.log.apply_retention(1_000_000, end).unwrap();
        self.log.set_config(Arc::new(self.config.clone()));
        let start = self.log.positions().log_start.get();
        assert!(
            start >= self.model.log_start && start <= self.model.flushed.max(self.model.log_start)
        );
        self.model.log_start = start;
    }

    fn power_cut(&mut self, seed: u64) {
        self.io = self.io.crash(seed);
        self.boot = self.boot.wrapping_add(1);
        self.reopen();
        let end = self.log.positions().log_end.get();
        let model = &mut self.model;
        assert!(
            (model.flushed..=model.log_end).contains(&end) || model.log_start > model.flushed,
            "log end is {end}, flushed were {} of {}",
            model.flushed,
            model.log_end
        );
        if end < model.log_end && end == model.log_start {
            // Nothing readable is left, as when delete_records went beyond what was flushed.
            model.batches.clear();
            model.log_end = end;
        } else if end < model.log_end {
            model.truncate(end);
            assert_eq!(model.log_end, end, "a batch boundary");
        }
        model.log_start = self.log.positions().log_start.get();
        model.flushed = model.log_end;
    }

    fn check(&self) {
        let positions = self.log.positions();
        assert_eq!(positions.log_end.get(), self.model.log_end);
        assert_eq!(positions.log_start.get(), self.model.log_start);
        assert!(positions.flushed.get() >= self.model.flushed);
        assert_eq!(
            records(&self.log, self.model.log_start),
            self.model.records()
        );
    }
}

fn scale(span: i64, part: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    {
        (span as f64 * part) as i64
    }
}

fn run(steps: &[Step]) {
    let mut rig = Rig::new();
    for step in steps {
        rig.apply(step);
        rig.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_vector_of_batches(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}
