//! Rows of every file of a log but the `.log`.

use millstream_log::{
    inspect::{Dump, ProducerRow},
    manifest::{Manifest, ManifestEntry},
    segment_meta::NO_TIMESTAMP,
};
use millstream_proto::Offset;
use serde_json::Value;

use super::row::Row;

/// The file's rows; an error where it is no file of a log or does not decode.
///
/// # Errors
/// Says why.
pub(crate) fn rows(dump: Dump) -> Result<Vec<Row>, String> {
    Ok(match dump {
        Dump::Unreadable(reason) => return Err(reason),
        Dump::OffsetIndex(entries) => entries
            .into_iter()
            .map(|entry| {
                Row::new("last_offset", entry.last_offset.get()).with("position", entry.position)
            })
            .collect(),
        Dump::TimeIndex(entries) => entries
            .into_iter()
            .map(|entry| {
                Row::new("timestamp_ms", entry.timestamp_ms)
                    .with("last_offset", entry.last_offset.get())
            })
            .collect(),
        Dump::TransactionIndex(entries) => entries
            .into_iter()
            .map(|entry| {
                Row::new("producer_id", entry.producer_id.0)
                    .with("first_offset", entry.first_offset.get())
                    .with("last_offset", entry.last_offset.get())
                    .with("last_stable_offset", entry.last_stable_offset.get())
            })
            .collect(),
        Dump::Producers(producers) => producers.iter().map(producer).collect(),
        Dump::EpochHistory(history) => history
            .entries()
            .iter()
            .map(|entry| {
                Row::new("leader_epoch", entry.leader_epoch.0)
                    .with("start_offset", entry.start_offset.get())
            })
            .collect(),
        Dump::Manifest(manifest) => self::manifest(&manifest),
        Dump::TopicId(topic_id) => vec![Row::new("topic_id", topic_id.to_string())],
        Dump::LogStart(offset) => vec![Row::new("log_start_offset", offset.get())],
        Dump::FlushFailure(failure) => vec![
            Row::new("flushed_offset", failure.flushed_offset.get()).with("reason", failure.reason),
        ],
        Dump::RecoveryPoints(points) => points
            .iter()
            .map(|(directory, point)| {
                Row::new("partition", directory).with("recovery_point", point.offset.get())
            })
            .collect(),
        Dump::CleanShutdown(marker) => marker
            .partitions
            .iter()
            .map(|(directory, partition)| {
                Row::new("partition", directory.as_str())
                    .with("log_start_offset", partition.log_start.get())
                    .with("log_end_offset", partition.log_end.get())
                    .with("leader_epoch", partition.leader_epoch)
            })
            .collect(),
        Dump::MetadataWitness(testimony) => {
            vec![Row::new("metadata_index", testimony.index)]
        }
        _ => Vec::new(),
    })
}

/// A row for each segment, for each cut, and for what compaction did, if it did anything.
fn manifest(manifest: &Manifest) -> Vec<Row> {
    let mut rows: Vec<_> = manifest.entries().iter().map(segment).collect();
    rows.extend(manifest.cuts().map(|(base_offset, size_bytes)| {
        Row::new("cut_segment", base_offset.get()).with("size_bytes", size_bytes)
    }));
    if manifest.compacted_below() > Offset::ZERO || manifest.swap().is_some() {
        let merged = manifest.swap().map(|swap| {
            let merged = swap.merged.iter().map(|base_offset| base_offset.get());
            Value::from(merged.collect::<Vec<_>>())
        });
        rows.push(
            Row::new("compacted_below", manifest.compacted_below().get())
                .with("cleaned_to", manifest.cleaned_to().get())
                .with(
                    "swap_segment",
                    manifest.swap().map(|swap| swap.base_offset.get()),
                )
                .with("swap_merged", merged),
        );
    }
    rows
}

fn segment(entry: &ManifestEntry) -> Row {
    let (meta, checksums) = (&entry.meta, &entry.checksums);
    let max_timestamp_ms = Some(meta.max_timestamp_ms).filter(|ms| *ms != NO_TIMESTAMP);
    Row::new("base_offset", meta.base_offset.get())
        .with("last_offset", meta.last_offset.map(Offset::get))
        .with("size_bytes", meta.size_bytes)
        .with("max_timestamp_ms", max_timestamp_ms)
        .with(
            "max_timestamp_offset",
            max_timestamp_ms.map(|_| meta.max_timestamp_offset.get()),
        )
        .with("sealed", entry.sealed)
        .with("log_crc", checksums.log)
        .with("index_crc", checksums.offset_index)
        .with("index_bytes", checksums.offset_index_bytes)
        .with("timeindex_crc", checksums.time_index)
        .with("timeindex_bytes", checksums.time_index_bytes)
        .with("txnindex_crc", checksums.transaction_index)
}

fn producer(producer: &ProducerRow) -> Row {
    let entry = &producer.entry;
    let batches: Vec<_> = entry
        .batches()
        .iter()
        .map(|batch| {
            Value::from(format!(
                "{}..{}@{}",
                batch.base_sequence(),
                batch.last_sequence,
                batch.last_offset
            ))
        })
        .collect();
    Row::new("producer_id", producer.producer_id.0)
        .with("producer_epoch", entry.epoch.0)
        .with("last_sequence", entry.last_sequence())
        .with("last_timestamp_ms", entry.last_timestamp_ms)
        .with("coordinator_epoch", entry.coordinator_epoch)
        .with(
            "transaction_first_offset",
            entry.transaction_first_offset.map(Offset::get),
        )
        .with("sequences_at_last_offset", batches)
}
