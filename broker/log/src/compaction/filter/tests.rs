//! Each rule of the filter, batch by batch.

use millstream_proto::{
    LeaderEpoch, ProducerEpoch,
    record::{
        BatchBuilder, BatchOptions, Compression, ProducerIdentity, control::TransactionResult,
    },
};

use super::*;

const NOW_MS: i64 = 10_000;
const RETENTION_MS: u64 = 500;
const P: ProducerId = ProducerId(7);

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

/// A batch at an offset; `None` is a tombstone.
fn batch(base: i64, options: BatchOptions, records: &[(&str, Option<&str>)]) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: offset(base),
        leader_epoch: LeaderEpoch(0),
        ..options
    });
    for (key, value) in records {
        let key = (!key.is_empty()).then_some(key.as_bytes());
        builder
            .append(1_000 + base, key, value.map(str::as_bytes), &[])
            .unwrap();
    }
    Batch::parse(builder.finish().unwrap()).unwrap()
}

fn plain(base: i64, records: &[(&str, Option<&str>)]) -> Batch {
    batch(base, BatchOptions::default(), records)
}

fn of_producer(base: i64, is_transactional: bool, records: &[(&str, Option<&str>)]) -> Batch {
    let producer = Some(ProducerIdentity {
        id: P,
        epoch: ProducerEpoch(0),
        base_sequence: 0,
    });
    let options = BatchOptions {
        producer,
        is_transactional,
        ..BatchOptions::default()
    };
    batch(base, options, records)
}

fn marker(base: i64, result: TransactionResult) -> Batch {
    let marker = EndTransactionMarker::new(result, 0);
    let bytes = marker
        .to_batch(1_000, P, ProducerEpoch(0), LeaderEpoch(0))
        .unwrap();
    let mut bytes = bytes.to_vec();
    millstream_proto::record::patch::base_offset(&mut bytes, offset(base)).unwrap();
    Batch::parse(bytes.into()).unwrap()
}

/// A filter whose map knows these newest offsets.
struct Setting {
    map: KeyMap,
    map_end: Offset,
    now_ms: i64,
    last_batches: LastBatches,
    aborted: Vec<AbortedTransaction>,
}

impl Setting {
    fn new(newest: &[(&str, i64)]) -> Self {
        let mut map = KeyMap::new(1 << 16);
        for (key, at) in newest {
            assert!(map.put(map.fingerprint(key.as_bytes()), offset(*at)));
        }
        Self {
            map,
            map_end: offset(1_000),
            now_ms: NOW_MS,
            last_batches: LastBatches::new(),
            aborted: Vec::new(),
        }
    }

    fn judge_all(&self, batches: &[Batch]) -> Vec<Verdict> {
        let mut filter = Filter {
            map: &self.map,
            map_end: self.map_end,
            now_ms: self.now_ms,
            delete_retention_ms: RETENTION_MS,
            last_batches: &self.last_batches,
            transactions: TransactionTracker::new(self.aborted.clone()),
            records: RecordCounts::default(),
        };
        let judged = batches.iter().map(|batch| filter.judge(batch, false));
        judged.collect::<Result<_, _>>().unwrap()
    }

    fn judge(&self, batch: &Batch) -> Fate {
        self.judge_all(std::slice::from_ref(batch)).remove(0).fate
    }
}

fn replaced(fate: &Fate) -> Batch {
    match fate {
        Fate::Replaced(bytes) => Batch::parse(bytes.clone()).unwrap(),
        other => panic!("{other:?} is no replacement"),
    }
}

fn offsets(batch: &Batch) -> Vec<i64> {
    let records = batch.records(1 << 20).unwrap();
    records.map(|record| record.unwrap().offset.get()).collect()
}

#[test]
fn a_batch_without_superseded_records_keeps_its_bytes() {
    let setting = Setting::new(&[("a", 10), ("c", 3)]);
    let batch = plain(10, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
    assert_eq!(setting.judge(&batch), Fate::Whole);
}

#[test]
fn superseded_records_go_and_the_others_keep_offset_and_codec() {
    let setting = Setting::new(&[("a", 12), ("b", 90)]);
    let options = BatchOptions {
        compression: Compression::Lz4,
        ..BatchOptions::default()
    };
    let batch = batch(
        10,
        options,
        &[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))],
    );
    let kept = replaced(&setting.judge(&batch));
    assert_eq!(offsets(&kept), [12]);
    assert_eq!(kept.compression(), Compression::Lz4);
    assert_eq!(kept.delete_horizon_ms(), None);
    assert_eq!(
        (kept.base_offset(), kept.last_offset()),
        (offset(10), offset(12))
    );
}

#[test]
fn a_batch_of_which_nothing_stays_goes_unless_it_is_the_last_of_a_segment() {
    let setting = Setting::new(&[("a", 90)]);
    let batch = plain(10, &[("a", Some("1"))]);
    assert_eq!(setting.judge(&batch), Fate::Gone);
    let mut filter = Filter {
        map: &setting.map,
        map_end: setting.map_end,
        now_ms: NOW_MS,
        delete_retention_ms: 0,
        last_batches: &setting.last_batches,
        transactions: TransactionTracker::new(Vec::new()),
        records: RecordCounts::default(),
    };
    let kept = replaced(&filter.judge(&batch, true).unwrap().fate);
    assert_eq!((kept.record_count(), kept.last_offset()), (0, offset(10)));
    assert_eq!(filter.records, RecordCounts { seen: 1, kept: 0 });
    let again = filter.judge(&kept, true).unwrap().fate;
    assert_eq!(
        again,
        Fate::Whole,
        "it stays, and nothing is written for it"
    );
}

#[test]
fn a_tombstone_gets_its_horizon_once_and_goes_when_that_has_passed() {
    let mut setting = Setting::new(&[("a", 11)]);
    let batch = plain(10, &[("b", Some("1")), ("a", None)]);
    let stamped = replaced(&setting.judge(&batch));
    assert_eq!(stamped.delete_horizon_ms(), Some(NOW_MS + 500));
    assert_eq!(offsets(&stamped), [10, 11]);
    setting.now_ms = NOW_MS + 499;
    assert_eq!(setting.judge(&stamped), Fate::Whole, "not stamped anew");
    setting.now_ms = NOW_MS + 500;
    let after = replaced(&setting.judge(&stamped));
    assert_eq!(offsets(&after), [10]);
}

/// The format has 63 bits for a record's distance from the horizon.
#[test]
fn a_tombstone_too_far_from_the_horizon_stays_for_good_and_the_rest_is_compacted() {
    let setting = Setting::new(&[("a", 12)]);
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: offset(10),
        ..BatchOptions::default()
    });
    for (key, value) in [("a", Some("1")), ("b", None), ("a", Some("2"))] {
        let value = value.map(str::as_bytes);
        builder
            .append(i64::MIN, Some(key.as_bytes()), value, &[])
            .unwrap();
    }
    let batch = Batch::parse(builder.finish().unwrap()).unwrap();
    let kept = replaced(&setting.judge(&batch));
    assert_eq!(offsets(&kept), [11, 12]);
    assert_eq!(kept.delete_horizon_ms(), None);
    assert_eq!(setting.judge(&kept), Fate::Whole);
}

#[test]
fn a_batch_that_grows_beyond_its_room_stays_as_it_is() {
    let batch = plain(10, &[("a", None)]);
    let stamped = Setting::new(&[("a", 10)]).judge(&batch);
    let bytes = replaced(&stamped).into_bytes();
    assert!(bytes.len() > batch.bytes().len());
    let size = u64::try_from(bytes.len()).unwrap();
    assert_eq!(stamped.fitting(&batch, size), Some(&bytes));
    assert_eq!(stamped.fitting(&batch, size - 1), Some(batch.bytes()));
    let shrunk = Fate::Replaced(batch.bytes().slice(..40));
    assert_eq!(shrunk.fitting(&batch, 0).unwrap().len(), 40);
    assert_eq!(Fate::Gone.fitting(&batch, size), None);
}

#[test]
fn a_superseded_tombstone_goes_at_once() {
    let setting = Setting::new(&[("a", 11)]);
    assert_eq!(setting.judge(&plain(10, &[("a", None)])), Fate::Gone);
}

#[test]
fn what_lies_behind_the_maps_end_stays() {
    let mut setting = Setting::new(&[("a", 90)]);
    setting.map_end = offset(11);
    let batch = plain(10, &[("a", Some("1")), ("a", Some("2"))]);
    assert_eq!(offsets(&replaced(&setting.judge(&batch))), [11]);
    let behind = plain(11, &[("a", Some("1"))]);
    assert_eq!(setting.judge(&behind), Fate::Whole);
}

#[test]
fn a_record_without_key_stays() {
    let setting = Setting::new(&[]);
    assert_eq!(setting.judge(&plain(10, &[("", Some("1"))])), Fate::Whole);
    assert_eq!(setting.judge(&plain(10, &[("", None)])), Fate::Whole);
}

#[test]
fn a_live_producers_last_batch_is_emptied_and_stays_empty() {
    let mut setting = Setting::new(&[("a", 90)]);
    let batch = of_producer(10, false, &[("a", Some("1"))]);
    assert_eq!(setting.judge(&batch), Fate::Gone);
    let last = (ProducerEpoch(0), Some(offset(10)));
    setting.last_batches.insert(P, last);
    let emptied = replaced(&setting.judge(&batch));
    assert_eq!((emptied.record_count(), emptied.producer_id()), (0, P));
    assert_eq!(setting.judge(&emptied), Fate::Whole);
    setting
        .last_batches
        .insert(P, (ProducerEpoch(0), Some(offset(40))));
    assert_eq!(setting.judge(&emptied), Fate::Gone);
}

fn aborted(first: i64, last: i64) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: P,
        first_offset: offset(first),
        last_offset: offset(last),
        last_stable_offset: offset(last + 1),
    }
}

#[test]
fn aborted_records_go_and_their_marker_and_entry_stay_for_that_pass() {
    let mut setting = Setting::new(&[]);
    setting.aborted = vec![aborted(10, 12)];
    let batches = [
        of_producer(10, true, &[("a", Some("1"))]),
        plain(11, &[("a", Some("2"))]),
        marker(12, TransactionResult::Abort),
        of_producer(13, true, &[("a", Some("3"))]),
        marker(14, TransactionResult::Commit),
    ];
    let verdicts = setting.judge_all(&batches);
    let fates: Vec<&Fate> = verdicts.iter().map(|verdict| &verdict.fate).collect();
    assert_eq!(
        fates,
        [
            &Fate::Gone,
            &Fate::Whole,
            &Fate::Whole,
            &Fate::Whole,
            &Fate::Whole
        ]
    );
    assert_eq!(verdicts[2].aborted, Some(aborted(10, 12)));
    // The pass after, when nothing of the transaction is left.
    let after = setting.judge_all(&batches[1..3]);
    assert_eq!(after[1].aborted, None);
    assert_eq!(
        replaced(&after[1].fate).delete_horizon_ms(),
        Some(NOW_MS + 500)
    );
}

#[test]
fn a_marker_goes_when_its_horizon_has_passed_and_no_batch_is_left() {
    let mut setting = Setting::new(&[]);
    let commit = marker(12, TransactionResult::Commit);
    let stamped = replaced(&setting.judge(&commit));
    assert_eq!(stamped.delete_horizon_ms(), Some(NOW_MS + 500));
    assert_eq!(offsets(&stamped), [12]);
    setting.now_ms += 500;
    assert_eq!(setting.judge(&stamped), Fate::Gone);
    // With a batch of its transaction before it, it stays however late it is.
    let batches = [of_producer(11, true, &[("a", Some("1"))]), stamped.clone()];
    assert_eq!(setting.judge_all(&batches)[1].fate, Fate::Whole);
    // The last word of a producer's epoch is emptied instead, and then stays.
    setting.last_batches.insert(P, (ProducerEpoch(0), None));
    let emptied = replaced(&setting.judge(&stamped));
    assert!(emptied.is_control() && emptied.record_count() == 0);
    assert_eq!(setting.judge(&emptied), Fate::Whole);
}
