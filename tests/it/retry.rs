//! A producer that never saw its acknowledgements sends again after kill -9: nothing is written
//! twice, although the batches lie on both sides of a roll.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use millstream_proto::{
    ProducerEpoch, ProducerId,
    record::{BatchOptions, ProducerIdentity},
};
use millstream_tests::{
    Daemon, Native,
    checker::{self, ValueId},
    native, retry,
};

/// Batches that may be unacknowledged at a time.
const IN_FLIGHT: usize = 5;
const RECORDS_PER_BATCH: usize = 2_500;
/// Five batches of about 280 KB are more than a segment holds.
const SEGMENT_BYTES: &str = "1048576";

/// An idempotent producer without any cleverness.
struct Producer {
    id: i64,
    epoch: i16,
    next_value: u64,
}

impl Producer {
    fn batches(&mut self) -> Result<Vec<Bytes>> {
        (0..IN_FLIGHT)
            .map(|_| {
                let first = self.next_value;
                self.next_value += u64::try_from(RECORDS_PER_BATCH)?;
                let producer = ProducerIdentity {
                    id: ProducerId(self.id),
                    epoch: ProducerEpoch(self.epoch),
                    base_sequence: i32::try_from(first)?,
                };
                let options = BatchOptions {
                    producer: Some(producer),
                    ..Default::default()
                };
                let values = (first..self.next_value).map(|id| checker::encode(ValueId(id)));
                Ok(native::batch(options, 1, values))
            })
            .collect()
    }
}

/// The values of partition 0 in order.
async fn values(client: &Native, topic_id: &Bytes) -> Result<Vec<Option<ValueId>>> {
    let found = client.fetch().await?.read_to_end(topic_id, 0, 0).await?;
    Ok(found
        .iter()
        .map(|record| record.value.as_deref().and_then(checker::decode))
        .collect())
}

#[tokio::test]
async fn five_unacknowledged_batches_across_a_roll_are_not_written_twice() -> Result<()> {
    let mut daemon = Daemon::start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic_id = client
        .create_topic("retried", 1, &[("segment.bytes", SEGMENT_BYTES)])
        .await?;
    let (id, epoch) = client.init_producer_id().await?;
    let mut producer = Producer {
        id,
        epoch,
        next_value: 0,
    };
    for round in 0..6 {
        let client = Native::connect(daemon.native()).await?;
        let before = client.offsets("retried", 0).await?;
        let batches = producer.batches()?;
        {
            let mut stream = client.produce().await?;
            for batch in &batches {
                stream.send(&topic_id, 0, batch.clone()).await?;
            }
            if round % 2 == 0 {
                // All five are in the log, and no acknowledgement was ever looked at.
                let end = i64::try_from(producer.next_value)?;
                retry::until_async(
                    "five batches in the log",
                    Duration::from_secs(10),
                    async || {
                        let offsets = client.offsets("retried", 0).await.ok()?;
                        (offsets.high_watermark == end).then_some(())
                    },
                )
                .await?;
                let after = client.offsets("retried", 0).await?;
                ensure!(
                    after.segments > before.segments,
                    "the five batches cross a roll"
                );
            }
        }
        match round {
            4 | 5 => ensure!(daemon.terminate()?.success(), "SIGTERM stops it"),
            _ => daemon.kill()?,
        }
        daemon.restart()?;

        let client = Native::connect(daemon.native()).await?;
        let mut stream = client.produce().await?;
        for batch in &batches {
            stream.send(&topic_id, 0, batch.clone()).await?;
        }
        for index in 0..IN_FLIGHT {
            let ack = stream.ack().await?;
            ensure!(
                ack.error.is_none(),
                "round {round}, batch {index}: {:?}",
                ack.error
            );
            let expected = before.log_end_offset + i64::try_from(index * RECORDS_PER_BATCH)?;
            assert_eq!(ack.base_offset, expected, "round {round}, batch {index}");
            ensure!(
                ack.duplicate || round % 2 == 1,
                "round {round}, batch {index}: no duplicate"
            );
        }
        let expected: Vec<_> = (0..producer.next_value)
            .map(|id| Some(ValueId(id)))
            .collect();
        assert_eq!(values(&client, &topic_id).await?, expected, "round {round}");
    }
    Ok(())
}

#[tokio::test]
async fn a_gap_in_the_sequence_is_refused() -> Result<()> {
    let daemon = Daemon::start()?;
    let client = Native::connect(daemon.native()).await?;
    let topic_id = client.create_topic("ordered", 1, &[]).await?;
    let (id, epoch) = client.init_producer_id().await?;
    let mut producer = Producer {
        id,
        epoch,
        next_value: 0,
    };
    let batches = producer.batches()?;
    let mut stream = client.produce().await?;
    stream.produce(&topic_id, 0, batches[0].clone()).await?;
    let refused = stream
        .produce(&topic_id, 0, batches[2].clone())
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("OUT_OF_ORDER_SEQUENCE_NUMBER"),
        "{refused}"
    );
    // The stream goes on, and so does the producer from where it was.
    stream.produce(&topic_id, 0, batches[1].clone()).await?;
    stream.produce(&topic_id, 0, batches[2].clone()).await?;
    assert_eq!(
        values(&client, &topic_id).await?.len(),
        3 * RECORDS_PER_BATCH
    );
    Ok(())
}

#[tokio::test]
async fn the_first_record_waits_for_a_broker_that_restarts() -> Result<()> {
    let mut daemon = Daemon::start()?;
    let client = millstream::Client::connect(&daemon.native().to_string()).await?;
    let topic = millstream::NewTopic::new("patient").partitions(1);
    client.admin().create_topic(topic).await?;
    let producer = client.producer().build()?;
    daemon.kill()?;
    let sending = tokio::spawn(async move {
        let record = millstream::Record::to_topic("patient").value("first");
        let delivery = producer.send(record).await?;
        delivery.await
    });
    daemon.restart()?;
    assert_eq!(sending.await??.offset, Some(0));
    Ok(())
}
