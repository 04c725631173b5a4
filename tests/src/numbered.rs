//! [`Numbered`]: a topic whose values say partition and offset, so that whatever is read of it can be
//! checked; and copies of stopped data directories, to be damaged.

use std::{fs, ops::Range, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use millstream_proto::{
    ProducerEpoch, ProducerId,
    record::{BatchOptions, ProducerIdentity, Record},
};

use crate::{
    Cli, Daemon, Native,
    checker::{self, ValueId},
    native::{self, FetchStream},
};

/// How long a fetch may take until data or an error comes.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Bits of a value that tell the offset; those above tell the partition.
const OFFSET_BITS: u32 = 40;

/// A topic of numbered records, in batches of one size, by one idempotent producer.
#[derive(Debug, Clone)]
pub struct Numbered {
    name: String,
    /// As requests carry it.
    pub topic_id: Bytes,
    producer: (i64, i16),
    records_per_batch: u64,
}

impl Numbered {
    /// Creates the topic.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub async fn create(
        client: &Native,
        name: &str,
        partitions: i32,
        records_per_batch: u64,
        configs: &[(&str, &str)],
    ) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            topic_id: client.create_topic(name, partitions, configs).await?,
            producer: client.init_producer_id().await?,
            records_per_batch,
        })
    }

    /// Batch number `number` of a partition; its sequences are its offsets.
    ///
    /// # Errors
    /// A number beyond the sequences.
    pub fn batch(&self, partition: i32, number: u64) -> Result<Bytes> {
        let first = number * self.records_per_batch;
        let identity = ProducerIdentity {
            id: ProducerId(self.producer.0),
            epoch: ProducerEpoch(self.producer.1),
            base_sequence: i32::try_from(first)?,
        };
        let options = BatchOptions {
            producer: Some(identity),
            ..BatchOptions::default()
        };
        let values = first..first + self.records_per_batch;
        let values = values.map(|offset| checker::encode(value(partition, offset)));
        let timestamp_ms = i64::try_from(1_000_000 + number)?;
        Ok(native::batch(options, timestamp_ms, values))
    }

    /// Writes batches, each acknowledged before the next.
    ///
    /// # Errors
    /// When one is refused.
    pub async fn write(&self, client: &Native, partition: i32, numbers: Range<u64>) -> Result<()> {
        let mut stream = client.produce().await?;
        for number in numbers {
            let batch = self.batch(partition, number)?;
            stream.produce(&self.topic_id, partition, batch).await?;
        }
        Ok(())
    }

    /// Checks records of a partition.
    ///
    /// # Errors
    /// The first one that is not the one of its offset.
    pub fn check(&self, partition: i32, records: &[Record]) -> Result<()> {
        for record in records {
            let found = record.value.as_deref().and_then(checker::decode);
            let expected = value(partition, u64::try_from(record.offset.get())?);
            ensure!(
                found == Some(expected),
                "{}-{partition} has {found:?} at offset {}",
                self.name,
                record.offset
            );
        }
        Ok(())
    }

    /// Reads batch by batch what was written; returns how many records came, all of them right.
    ///
    /// # Errors
    /// A wrong record, or a log that does not reach as far as what was written.
    pub async fn read_right_or_fail(
        &self,
        client: &Native,
        partition: i32,
        batches: u64,
    ) -> Result<u64> {
        let end = client.offsets(&self.name, partition).await?.log_end_offset;
        ensure!(
            end >= i64::try_from(batches * self.records_per_batch)?,
            "truncated to {end}"
        );
        let mut right = 0;
        for number in 0..batches {
            let offset = i64::try_from(number * self.records_per_batch)?;
            let mut stream = client.fetch().await?;
            stream.add(&self.topic_id, partition, offset, 1).await?;
            // An error is an answer; wrong bytes are not.
            let Ok(batches) = first_batches(&mut stream).await else {
                continue;
            };
            let records = native::records(batches).context("a broken batch was served")?;
            self.check(partition, &records)?;
            right += u64::try_from(records.len())?;
        }
        Ok(right)
    }
}

fn value(partition: i32, offset: u64) -> ValueId {
    ValueId((u64::from(partition.unsigned_abs()) << OFFSET_BITS) | offset)
}

/// What comes first beside news of offsets.
async fn first_batches(stream: &mut FetchStream) -> Result<Bytes> {
    loop {
        let data = tokio::time::timeout(ANSWER_WITHIN, stream.data()).await??;
        if !data.batches.is_empty() {
            return Ok(data.batches);
        }
    }
}

/// Copies a directory with all that is in it.
///
/// # Errors
/// Whatever the system says.
pub fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What `millstream log verify` says of a directory: exit code and text.
///
/// # Errors
/// When it cannot be started.
pub fn verify(daemon: &Daemon, directory: &Path) -> Result<(Option<i32>, String)> {
    let path = directory.to_string_lossy().into_owned();
    let output = Cli::new(daemon, ["log", "verify", &path])?.run()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok((output.status.code(), text))
}
