//! Record batches and their codecs; records of groups and of metadata.

use bytes::Bytes;
use millstream_proto::{
    group_record::{Decoded, GroupRecord},
    metadata_record::{FileKind, Frame, entry, frame},
    record::{
        Batch, Compression, OwnedBatchIter, Part, Record, RecordError, RewriteError, patch,
        rewrite::{self, RewriteLimits},
    },
};

/// What anything may decompress to.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
const LIMITS: RewriteLimits = RewriteLimits {
    plain_bytes_max: OUTPUT_BYTES_MAX,
    size_bytes_max: 2 * OUTPUT_BYTES_MAX,
};

/// Batches back to back, then the same bytes as one batch whose CRC is made right. Both readers of
/// records agree, and a batch that is made anew has the same records.
pub(crate) fn batch(input: &[u8]) {
    for batch in OwnedBatchIter::new(Bytes::copy_from_slice(input)).flatten() {
        let _ = batch.verify_crc();
        read_both_ways(&batch);
    }
    let mut input = input.to_vec();
    patch::recompute_crc(&mut input);
    if let Ok(batch) = Batch::parse(input.into()) {
        let records = read_both_ways(&batch);
        if let Some(records) = records.filter(|records| !records.is_empty()) {
            make_anew(&batch, &records);
        }
    }
}

fn read_both_ways(batch: &Batch) -> Option<Vec<Record>> {
    let read = batch
        .records(OUTPUT_BYTES_MAX)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let scanned = scan(batch);
    let of_read = |record: &Record| {
        let key = record.key.as_ref().map(|key| key.to_vec());
        (
            record.offset.get(),
            record.timestamp,
            key,
            record.value.is_some(),
        )
    };
    assert_eq!(
        read.as_ref()
            .map(|read| read.iter().map(of_read).collect::<Vec<_>>())
            .ok(),
        scanned.as_ref().ok().cloned(),
        "{:?} and {:?}",
        read.as_ref().err(),
        scanned.as_ref().err()
    );
    read.ok()
}

/// Offset, timestamp, key, and whether there is a value.
type Scanned = (i64, i64, Option<Vec<u8>>, bool);

fn scan(batch: &Batch) -> Result<Vec<Scanned>, RecordError> {
    let mut found = Vec::new();
    let mut records = batch.scan(OUTPUT_BYTES_MAX)?;
    while let Some(start) = records.start()? {
        let mut key = Vec::new();
        let shape = records.rest::<RecordError>(|piece| {
            if piece.part == Part::Key {
                key.extend_from_slice(piece.bytes);
            }
            Ok(())
        })?;
        let key = shape.has_key.then_some(key);
        found.push((start.offset.get(), start.timestamp, key, shape.has_value));
    }
    Ok(found)
}

fn make_anew(batch: &Batch, records: &[Record]) {
    for codec in Compression::ALL {
        let made = rewrite::recompressed::<RewriteError>(batch, codec, &LIMITS, |_, _| Ok(()));
        let Ok(made) = made else { continue };
        let made = Batch::parse(made).expect("what is made is a batch");
        let again = made
            .records(2 * OUTPUT_BYTES_MAX)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>);
        assert_eq!(again.expect("its records are read"), records, "{codec}");
    }
}

/// A codec's number and what it is to read: output is bounded, and comes back through the codec.
pub(crate) fn codec(input: &[u8]) {
    let Some((number, input)) = input.split_first() else {
        return;
    };
    let mut codecs = Compression::ALL.iter().cycle();
    let codec = codecs.nth(usize::from(*number)).expect("it never ends");
    let Ok(output) = codec.decompress(Bytes::copy_from_slice(input), OUTPUT_BYTES_MAX) else {
        return;
    };
    assert!(output.len() <= OUTPUT_BYTES_MAX);
    let mut again = Vec::new();
    codec
        .compress(None, &output, &mut again)
        .expect("memory is all it takes");
    let again = codec.decompress(again.into(), OUTPUT_BYTES_MAX);
    assert_eq!(again.expect("it was written just now"), output);
}

/// A key behind its length in two bytes, then a value where anything is left: what is read can be written,
/// and read again.
pub(crate) fn group(input: &[u8]) {
    let Some((length, rest)) = input.split_first_chunk() else {
        return;
    };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (key, value) = rest.split_at(length);
    let value = (!value.is_empty()).then_some(value);
    if let Ok(Decoded::Known(record)) = GroupRecord::decode(Some(key), value)
        && let Ok((key, value)) = record.encode()
    {
        let again = GroupRecord::decode(Some(&key), value.as_deref());
        assert!(matches!(again, Ok(Decoded::Known(_))), "{again:?}");
    }
}

/// A file of the metadata log as it stands, then a kind, a version and a payload as one frame.
pub(crate) fn metadata(input: &[u8]) {
    for kind in [FileKind::Log, FileKind::Snapshot] {
        let _ = kind.check_header(input);
    }
    match frame::decode(input) {
        Ok((frame, size)) => {
            assert!(size <= input.len());
            let _ = entry::decode(&frame);
        }
        Err(error) => drop(frame::diagnose(input, 0, error)),
    }
    if let Some((&[kind_high, kind, version_high, version], payload)) = input.split_first_chunk() {
        let _ = entry::decode(&Frame {
            index: 1,
            term: 1,
            kind: u16::from_be_bytes([kind_high, kind]),
            version: u16::from_be_bytes([version_high, version]),
            payload,
        });
    }
}
