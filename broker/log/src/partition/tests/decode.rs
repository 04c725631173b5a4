//! Batches that a topic wants decoded: what bounds them.

use bytes::Bytes;
use millstream_proto::{
    ErrorCode,
    record::{BatchBuilder, BatchOptions, Compression},
};

use super::super::testing::*;
use crate::{AppendError, CompressionPolicy, LogConfig};

/// A batch of one record of zeros, which every codec makes small.
fn zeros(compression: Compression, bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression,
        ..BatchOptions::default()
    });
    let value = vec![0; bytes];
    builder
        .append(1_000_000, Some(b"key"), Some(&value), &[])
        .unwrap();
    builder.finish().unwrap()
}

fn config(compression: Compression) -> LogConfig {
    LogConfig {
        compression: CompressionPolicy::Fixed(compression),
        ..LogConfig::default()
    }
}

#[test]
fn a_batch_obeys_max_message_bytes_in_the_topics_codec_as_well() {
    let log = create(&directory(&memory()), config(Compression::None));
    let error = log.append(zeros(Compression::Zstd, 2 << 20), &context());
    let error = error.unwrap_err();
    assert!(
        matches!(
            error,
            AppendError::RecompressedTooLarge { max: 1_048_588, .. }
        ),
        "{error}"
    );
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    log.append(zeros(Compression::Zstd, 1 << 19), &context())
        .unwrap();
}

#[test]
fn records_decompress_to_64_mib_at_least_and_no_more_where_batches_are_small() {
    let compacted = LogConfig {
        cleanup_compact: true,
        max_message_bytes: 100_000,
        ..LogConfig::default()
    };
    for config in [
        compacted,
        LogConfig {
            max_message_bytes: 100_000,
            ..config(Compression::Gzip)
        },
    ] {
        let log = create(&directory(&memory()), config);
        let error = log.append(zeros(Compression::Zstd, 64 << 20), &context());
        let error = error.unwrap_err();
        assert!(
            matches!(error, AppendError::DecodedTooLarge { max } if max == 64 << 20),
            "{error}"
        );
        assert_eq!(error.code(), ErrorCode::MessageTooLarge);
        log.append(zeros(Compression::Zstd, 63 << 20), &context())
            .unwrap();
    }
}

#[test]
fn what_takes_long_to_decode_is_given_back_by_a_quick_append_and_taken_by_another() {
    let log = create(&directory(&memory()), config(Compression::Gzip));
    let quick = zeros(Compression::None, 1_000_000);
    assert!(log.decoding_bytes_max(&quick).is_some());
    log.append_quickly(quick, &context()).unwrap();
    for lengthy in [
        zeros(Compression::Zstd, 2 << 20),
        zeros(Compression::Snappy, 2 << 20),
    ] {
        match log.append_quickly(lengthy.clone(), &context()) {
            Err(AppendError::Lengthy { batch }) => assert_eq!(batch, lengthy),
            other => panic!("{other:?}"),
        }
        log.append(lengthy, &context()).unwrap();
    }
    // What is not decoded is never lengthy.
    let same = zeros(Compression::Gzip, 100 << 20);
    assert_eq!(log.decoding_bytes_max(&same), None);
    log.append_quickly(same, &context()).unwrap();
}
