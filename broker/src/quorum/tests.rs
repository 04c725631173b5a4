//! The metadata log under crashes, damage, full disks and concurrent proposals.

mod cut_io;
mod driver;
mod lost;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_log::io::{Action, FaultIo, LogIo, MemoryIo, OpenMode, Operation, Rule, When};
use millstream_proto::{
    BrokerId, LeaderEpoch, PartitionIndex, ProducerId, TopicId, TopicName,
    metadata_record::{FileKind, Frame},
};
use proptest::prelude::*;

use super::*;
use cut_io::CutIo;

const DIR: &str = "/data/metadata";
/// "No space left on device".
const ENOSPC: i32 = 28;
const SMALL: MetadataLogOptions = MetadataLogOptions {
    preallocate_bytes: 256,
    snapshot_bytes: 1_500,
};
const LARGE: MetadataLogOptions = MetadataLogOptions {
    preallocate_bytes: 4096,
    snapshot_bytes: 1 << 30,
};

fn no_room(_: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
    Err(io::ErrorKind::StorageFull.into())
}

pub(super) fn registration(partition: i32) -> PartitionRegistration {
    PartitionRegistration {
        partition: PartitionIndex(partition),
        replicas: vec![BrokerId(1)],
        in_sync: vec![BrokerId(1)],
        leader: Some(BrokerId(1)),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
    }
}

pub(super) fn topic(name: &str, id: u8, partitions: i32) -> MetadataRecord {
    MetadataRecord::TopicCreated(TopicCreated {
        name: TopicName::new(name).expect("valid"),
        topic_id: TopicId::from_bytes([id; 16]),
        partitions: (0..partitions).map(registration).collect(),
        configs: [("retention.ms".to_owned(), id.to_string())].into(),
    })
}

fn memory() -> MemoryIo {
    let io = MemoryIo::new();
    io.create_dir_all(Path::new("/data")).expect("memory");
    io.sync_dir(Path::new("/")).expect("memory");
    MetadataLog::create(&io, Path::new(DIR)).expect("memory");
    io
}

fn open(
    io: impl LogIo,
    options: MetadataLogOptions,
) -> Result<(MetadataLog, log::Opened), OpenError> {
    MetadataLog::open(Arc::new(io), Path::new(DIR), options)
}

/// One random proposal that fits the image: what it is depends on the number.
fn proposal(image: &MetadataImage, number: u16) -> Vec<MetadataRecord> {
    let id = u8::try_from(number % 200).expect("below 200");
    let existing = image.topics().nth(usize::from(number) % 5);
    match (number % 8, existing) {
        (0, Some(topic)) => vec![MetadataRecord::TopicDeleted(TopicDeleted {
            topic_id: topic.topic_id,
        })],
        (1, Some(topic)) => {
            let count = i32::try_from(topic.partitions.len()).expect("few");
            vec![MetadataRecord::PartitionsAdded(PartitionsAdded {
                topic_id: topic.topic_id,
                partitions: vec![registration(count), registration(count + 1)],
            })]
        }
        (2, Some(topic)) => vec![MetadataRecord::TopicConfigChanged(TopicConfigChanged {
            topic_id: topic.topic_id,
            changes: [("segment.ms".to_owned(), Some(number.to_string()))].into(),
        })],
        (4, _) => vec![MetadataRecord::TopicDefaultsChanged(TopicDefaultsChanged {
            changes: [
                ("segment.ms".to_owned(), Some(number.to_string())),
                (
                    "flush.ms".to_owned(),
                    number.is_multiple_of(2).then(|| number.to_string()),
                ),
            ]
            .into(),
        })],
        (3, _) => vec![
            MetadataRecord::ProducerIdsAllocated(ProducerIdsAllocated {
                broker_id: BrokerId(1),
                first: image.next_producer_id(),
                count: 10,
            }),
            MetadataRecord::ProducerIdsAllocated(ProducerIdsAllocated {
                broker_id: BrokerId(1),
                first: ProducerId(image.next_producer_id().0 + 10),
                count: 5,
            }),
        ],
        _ => {
            let name = format!("topic-{id}");
            let wanted = topic(&name, id, 1 + i32::from(number % 40));
            let is_free = image.clone().apply(&wanted).is_ok();
            if is_free { vec![wanted] } else { Vec::new() }
        }
    }
}

/// Appends proposals until one fails; returns the image after the last success, and the one that
/// the failed append was going for.
fn run(
    log: &mut MetadataLog,
    mut image: MetadataImage,
    numbers: &[u16],
) -> (MetadataImage, Option<MetadataImage>) {
    for number in numbers {
        let records = proposal(&image, *number);
        if records.is_empty() {
            continue;
        }
        let mut next = image.clone();
        next.apply_all(&records).expect("it fits");
        next.advance_to(image.index() + 1, 1);
        if log.append(&records, &no_room).is_err() {
            return (image, Some(next));
        }
        image = next;
        // A failed snapshot loses nothing; the next append tells whether the log goes on.
        if log.is_snapshot_due() {
            let _ = log.snapshot(&image);
        }
    }
    (image, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_power_cut_at_any_operation_keeps_what_was_committed_and_no_half(
        lives in prop::collection::vec((prop::collection::vec(any::<u16>(), 1..40), 0..120u64, any::<u64>()), 1..5),
    ) {
        let mut disk = memory();
        let mut possible = vec![MetadataImage::default()];
        for (numbers, operations, seed) in lives {
            let cut = CutIo::new(disk.clone(), u64::MAX);
            let (mut log, opened) = open(cut.clone(), SMALL).expect("a power cut is no damage");
            prop_assert!(possible.contains(&opened.image), "index {}", opened.image.index());
            cut.cut_after(operations);
            let (committed, in_flight) = run(&mut log, opened.image, &numbers);
            possible = std::iter::once(committed).chain(in_flight).collect();
            disk = disk.crash(seed);
        }
        let (_, opened) = open(disk, SMALL).expect("a power cut is no damage");
        prop_assert!(possible.contains(&opened.image), "index {}", opened.image.index());
    }

    #[test]
    fn a_power_cut_while_opening_loses_nothing(
        numbers in prop::collection::vec(any::<u16>(), 1..30), first in 0..60u64, second in 0..8u64, seeds: [u64; 2],
    ) {
        let disk = memory();
        let cut = CutIo::new(disk.clone(), u64::MAX);
        let (mut log, opened) = open(cut.clone(), SMALL).expect("new");
        cut.cut_after(first);
        let (committed, in_flight) = run(&mut log, opened.image, &numbers);
        let disk = disk.crash(seeds[0]);
        let _ = open(CutIo::new(disk.clone(), second), SMALL);
        let (_, opened) = open(disk.crash(seeds[1]), SMALL).expect("a power cut is no damage");
        prop_assert!(opened.image == committed || Some(opened.image) == in_flight);
    }
}

/// A log with a snapshot and frames after it.
fn filled() -> (MemoryIo, MetadataImage) {
    let io = memory();
    let (mut log, opened) = open(io.clone(), SMALL).expect("new");
    let numbers: Vec<u16> = (4..60).collect();
    let (image, failed) = run(&mut log, opened.image, &numbers);
    assert_eq!(failed, None);
    let listing = file::list(&io, Path::new(DIR)).expect("memory");
    assert_eq!((listing.snapshots.len(), listing.logs.len()), (1, 1));
    assert!(log.size_bytes() > 200, "frames follow the snapshot");
    (io, image)
}

fn flip(io: &MemoryIo, path: &Path, byte: usize, bit: usize) {
    let mut bytes = io.contents(path).expect("memory");
    bytes[byte] ^= 1 << bit;
    let file = io.open(path, OpenMode::Write).expect("memory");
    file.write_all_at(&[io::IoSlice::new(&bytes)], 0)
        .expect("memory");
}

#[test]
fn every_flipped_bit_is_refused_and_named() {
    let (io, image) = filled();
    let (_, opened) = open(io.fork(), LARGE).expect("whole");
    assert_eq!(opened.image, image);
    for entry in io.list_dir(Path::new(DIR)).expect("memory") {
        let path = Path::new(DIR).join(&entry.name);
        for byte in 0..io.contents(&path).expect("memory").len() {
            let damaged = io.fork();
            flip(&damaged, &path, byte, byte % 8);
            let error = open(damaged, LARGE).expect_err("a flip is damage");
            let text = error.to_string();
            assert!(
                text.contains(path.to_str().expect("text")),
                "{byte}: {text}"
            );
            assert!(matches!(error, OpenError::Corrupt { .. }), "{byte}: {text}");
        }
    }
}

#[test]
fn a_last_write_cut_at_any_byte_is_cut_off_whole() {
    let (io, image) = filled();
    let (mut log, _) = open(io.clone(), LARGE).expect("whole");
    let start = usize::try_from(log.size_bytes()).expect("small");
    let witness = Path::new("/data/metadata-witness");
    let before = io.contents(witness).expect("memory");
    log.append(&[topic("last-of-all", 255, 30)], &no_room)
        .expect("room");
    // The write was cut: nobody was told of it.
    let file = io.open(witness, OpenMode::Write).expect("memory");
    file.write_all_at(&[io::IoSlice::new(&before)], 0)
        .expect("memory");
    let end = usize::try_from(log.size_bytes()).expect("small");
    let path = log.path().to_path_buf();
    for length in start..end {
        let torn = io.fork();
        let file = torn.open(&path, OpenMode::Write).expect("memory");
        file.set_len(length as u64).expect("memory");
        let (mut log, opened) = open(torn, LARGE).expect("torn is no damage");
        assert_eq!(opened.image, image, "cut at {length}");
        assert_eq!(opened.torn_bytes, (length - start) as u64);
        log.append(&[topic("after", 254, 1)], &no_room)
            .expect("goes on");
    }
}

#[test]
fn missing_files_are_refused() {
    let (io, _) = filled();
    for entry in io.list_dir(Path::new(DIR)).expect("memory") {
        let damaged = io.fork();
        let path = Path::new(DIR).join(&entry.name);
        damaged.remove_file(&path).expect("memory");
        let error = open(damaged, LARGE).expect_err("a file is missing");
        assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    }
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_name() {
    let io = memory();
    let path = file::path(FileKind::Log, Path::new(DIR), 1);
    let mut bytes = io.contents(&path).expect("memory");
    let frame = Frame {
        index: 1,
        term: 1,
        kind: 16,
        version: 2,
        payload: b"from the future",
    };
    frame.encode(&mut bytes);
    let file = io.open(&path, OpenMode::Write).expect("memory");
    file.write_all_at(&[io::IoSlice::new(&bytes)], 0)
        .expect("memory");
    let error = open(io, LARGE).expect_err("newer");
    assert_eq!(
        error.to_string(),
        "/data/metadata/00000000000000000001.log at byte 16: metadata record TopicCreated has \
         version 2, this build reads up to 1"
    );
}

#[test]
fn a_snapshot_rebuilds_the_image_and_removes_what_it_covers() {
    let (io, image) = filled();
    let (mut log, opened) = open(io.clone(), LARGE).expect("whole");
    log.snapshot(&opened.image).expect("room");
    let names: Vec<_> = io
        .list_dir(Path::new(DIR))
        .expect("memory")
        .into_iter()
        .map(|entry| entry.name.display().to_string())
        .collect();
    let index = image.index();
    assert_eq!(
        names,
        [
            format!("{index:020}.snapshot"),
            format!("{:020}.log", index + 1)
        ]
    );
    let (_, opened) = open(io, LARGE).expect("whole");
    assert_eq!(opened.image, image);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let io = MemoryIo::with_capacity(1_200);
    io.create_dir_all(Path::new("/data")).expect("memory");
    MetadataLog::create(&io, Path::new(DIR)).expect("room for a header and a witness");
    let (mut log, _) = open(io.clone(), LARGE).expect("new");
    let large = [topic("large", 1, 100)];
    let error = log.append(&large, &no_room).expect_err("no room");
    assert!(matches!(error, log::AppendError::DiskFull), "{error}");
    let give_up_reserve = {
        let io = io.clone();
        move |again: &mut dyn FnMut() -> io::Result<()>| {
            io.set_capacity(8_000);
            again()
        }
    };
    assert_eq!(log.append(&large, &give_up_reserve).expect("room now"), 1);
    let (_, opened) = open(io, LARGE).expect("whole");
    assert_eq!(opened.image.topic_count(), 1);
}

#[test]
fn after_a_failed_write_nothing_is_written_any_more() {
    let disk = memory();
    let cut = CutIo::new(disk, u64::MAX);
    let (mut log, _) = open(cut.clone(), LARGE).expect("new");
    log.append(&[topic("a", 1, 1)], &no_room).expect("works");
    cut.cut_after(1);
    let failed = log.append(&[topic("b", 2, 1)], &no_room).expect_err("cut");
    assert!(matches!(
        failed,
        log::AppendError::Failed {
            in_flight: true,
            ..
        }
    ));
    cut.cut_after(u64::MAX);
    let later = log
        .append(&[topic("c", 3, 1)], &no_room)
        .expect_err("stays failed");
    assert!(matches!(
        later,
        log::AppendError::Failed {
            in_flight: false,
            ..
        }
    ));
}

#[test]
fn a_snapshot_that_fails_at_any_step_keeps_what_is_appended_after_it() {
    let steps = [
        Operation::Open,
        Operation::SetLen,
        Operation::Write,
        Operation::SyncData,
        Operation::Rename,
        Operation::SyncDir,
    ];
    for step in 1.. {
        let (disk, image) = filled();
        let io = FaultIo::new(disk.clone());
        let (mut log, _) = open(io.clone(), LARGE).expect("whole");
        let full = Action::Fail(ENOSPC);
        let fault = io.inject(Rule::new(&steps, full).when(When::Nth(step)));
        let stored = log.snapshot(&image);
        fault.stop();
        // The disk was full for a moment.
        log.append(&[topic("after", 250, 1)], &no_room)
            .expect("the log goes on");
        for seed in 0..5 {
            let (_, opened) = open(disk.crash(seed), LARGE).unwrap_or_else(|error| {
                panic!("step {step}, cut {seed}: {error}");
            });
            let expected = image.index() + 1;
            assert_eq!(opened.image.index(), expected, "step {step}, cut {seed}");
        }
        if stored.is_ok() {
            assert!(step > 5, "a snapshot and the next file take several steps");
            break;
        }
    }
}
