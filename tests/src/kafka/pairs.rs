//! A topic's partition 0 over the Kafka protocol, and its records as text: `key=value`, or `key` without a value.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use kafka_protocol::messages::{
    ListOffsetsRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use millstream_proto::record::{Batch, BatchBuilder, BatchOptions, OwnedBatchIter};

use super::{Kafka, error_name, topic_name};

const LIST_OFFSETS_VERSION: i16 = 7;
/// What stands for the first offset instead of a timestamp.
const EARLIEST: i64 = -2;
const FETCH_BYTES: i32 = 1 << 20;
/// How long records may take to become what they should be.
const WITHIN: Duration = Duration::from_secs(20);

impl Kafka {
    /// The first offset of a topic's partition 0.
    ///
    /// # Errors
    /// As [`Kafka::call`]; a refusal.
    pub async fn log_start(&mut self, topic: &str) -> Result<i64> {
        let partition = ListOffsetsPartition::default().with_timestamp(EARLIEST);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![topic]);
        let response = self.call(LIST_OFFSETS_VERSION, &request).await?;
        let mut topics = response.topics.into_iter();
        let mut partitions = topics.next().context("one topic")?.partitions.into_iter();
        let partition = partitions.next().context("one partition")?;
        ensure!(partition.error_code == 0, "{partition:?}");
        Ok(partition.offset)
    }

    /// All batches of a topic's partition 0, from its first offset to the high watermark.
    ///
    /// # Errors
    /// As [`Kafka::fetch`]; a batch that is none.
    pub async fn batches(&mut self, topic: &str) -> Result<Vec<Batch>> {
        let mut next = self.log_start(topic).await?;
        let mut found: Vec<Batch> = Vec::new();
        loop {
            let data = self.fetch(topic, 0, next, FETCH_BYTES).await?;
            ensure!(data.error_code == 0, "error {}", data.error_code);
            for batch in OwnedBatchIter::new(data.records.unwrap_or_default()) {
                let batch = batch?;
                batch.verify_crc()?;
                next = batch.header().last_offset().get() + 1;
                found.push(batch);
            }
            if next >= data.high_watermark {
                return Ok(found);
            }
        }
    }

    /// All records of a topic's partition 0.
    ///
    /// # Errors
    /// As [`Kafka::batches`]; a record without a key.
    pub async fn pairs(&mut self, topic: &str) -> Result<Vec<String>> {
        const OUTPUT_BYTES_MAX: usize = 64 << 20;
        let mut pairs = Vec::new();
        for batch in self.batches(topic).await? {
            for record in batch.records(OUTPUT_BYTES_MAX)? {
                let record = record?;
                let key = record.key.context("a key")?;
                let key = String::from_utf8(key.to_vec())?;
                pairs.push(match record.value {
                    Some(value) => format!("{key}={}", String::from_utf8(value.to_vec())?),
                    None => key,
                });
            }
        }
        Ok(pairs)
    }
    /// Produces records to a topic's partition 0, each in a batch of its own.
    ///
    /// # Errors
    /// As [`Kafka::produce`]; a refusal.
    pub async fn put(&mut self, topic: &str, pairs: &[&str]) -> Result<()> {
        for pair in pairs {
            let (key, value) = match pair.split_once('=') {
                Some((key, value)) => (key, Some(value.as_bytes())),
                None => (*pair, None),
            };
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let mut batch = BatchBuilder::new(BatchOptions::default());
            let now_ms = i64::try_from(now.as_millis())?;
            batch.append(now_ms, Some(key.as_bytes()), value, &[])?;
            let code = self.produce(topic, 0, batch.finish()?).await?.error_code;
            ensure!(code == 0, "{}", error_name(code));
        }
        Ok(())
    }

    /// Waits until these are all records of a topic's partition 0.
    ///
    /// # Errors
    /// As [`Kafka::pairs`]; other records at last.
    pub async fn wait_for_pairs(&mut self, topic: &str, expected: &[&str]) -> Result<()> {
        let start = Instant::now();
        let mut found = self.pairs(topic).await?;
        while found != expected && start.elapsed() < WITHIN {
            found = self.pairs(topic).await?;
        }
        ensure!(
            found == expected,
            "{topic}: {found:?}, expected {expected:?}"
        );
        Ok(())
    }
}
