//! Fetches of the Kafka protocol that wait until there is enough.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::{FetchRequest, fetch_response::PartitionData};
use millstream_proto::record::{BatchBuilder, BatchOptions, BatchView};
use millstream_tests::{Daemon, Kafka, kafka};

/// What is waited for, and for how long at most.
const MIN_BYTES: i32 = 100_000;
const MAX_WAIT_MS: i32 = 25_000;
/// More than is ever there.
const MAX_BYTES: i32 = 10_000_000;

/// A batch of one record of so many bytes.
fn batch(value_bytes: usize) -> Result<Bytes> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(1_000_000, None, Some(&vec![7; value_bytes]), &[])?;
    Ok(batch.finish()?)
}

/// Asks all of these partitions from their beginning.
fn request(partitions: &[i32], bytes_max: i32) -> FetchRequest {
    let mut request = kafka::fetch_request("grows", 0, 0, bytes_max)
        .with_min_bytes(MIN_BYTES)
        .with_max_wait_ms(MAX_WAIT_MS)
        .with_max_bytes(MAX_BYTES);
    for topic in &mut request.topics {
        let asked = topic.partitions.clone();
        topic.partitions.clear();
        for partition in partitions {
            let of_it = asked.iter().map(|it| it.clone().with_partition(*partition));
            topic.partitions.extend(of_it);
        }
    }
    request
}

/// The sizes of the batches in it, whose offsets must follow each other from 0 on.
fn sizes(partition: &PartitionData) -> Result<Vec<usize>> {
    ensure!(partition.error_code == 0, "error {}", partition.error_code);
    let mut rest = partition.records.clone().unwrap_or_default();
    let mut sizes = Vec::new();
    while !rest.is_empty() {
        let header = *BatchView::parse(&rest)?.header();
        let expected = i64::try_from(sizes.len())?;
        ensure!(header.base_offset().get() == expected, "{header:?}");
        sizes.push(header.size_bytes());
        rest = rest.split_off(header.size_bytes());
    }
    Ok(sizes)
}

/// Sends a request, and produces to both partitions in turn until it is answered.
async fn fetch_while_producing(
    daemon: &Daemon,
    request: &FetchRequest,
    value_bytes: usize,
) -> Result<Vec<Vec<usize>>> {
    let (mut reader, mut writer) = (
        Kafka::connect(daemon.kafka()).await?,
        Kafka::connect(daemon.kafka()).await?,
    );
    let fetch = tokio::spawn({
        let request = request.clone();
        async move { reader.call(kafka::FETCH_VERSION, &request).await }
    });
    let mut turn = 0;
    while !fetch.is_finished() {
        let produced = writer
            .produce("grows", turn % 2, batch(value_bytes)?)
            .await?;
        ensure!(produced.error_code == 0, "error {}", produced.error_code);
        turn += 1;
    }
    let response = fetch.await??;
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions);
    partitions.map(sizes).collect()
}

async fn topic_with_a_record(daemon: &Daemon) -> Result<()> {
    let mut client = Kafka::connect(daemon.kafka()).await?;
    client.create_topic("grows", 2, &[]).await?;
    client.produce("grows", 0, batch(10)?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partition_that_has_something_is_waited_for_like_the_others() -> Result<()> {
    let daemon = Daemon::start()?;
    topic_with_a_record(&daemon).await?;
    let found = fetch_while_producing(&daemon, &request(&[0, 1], MAX_BYTES), 1_000).await?;
    let [first, second] = &found[..] else {
        anyhow::bail!("two partitions were asked for: {found:?}");
    };
    assert!(first.len() > 10, "it grew while it was waited for");
    assert!(second.len() > 10, "the other one did");
    let bytes: usize = first.iter().chain(second).sum();
    assert!(bytes >= usize::try_from(MIN_BYTES)?, "{bytes}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_that_is_too_much_is_left_for_the_next_fetch_and_ends_the_wait() -> Result<()> {
    let daemon = Daemon::start()?;
    topic_with_a_record(&daemon).await?;
    let (bytes_max, value_bytes) = (MIN_BYTES, 30_000);
    let found = fetch_while_producing(&daemon, &request(&[0], bytes_max), value_bytes).await?;
    let first = found.first().context("one partition was asked for")?;
    let bytes: usize = first.iter().sum();
    assert!(bytes <= usize::try_from(bytes_max)?, "{bytes}");
    assert_eq!(first.len(), 4, "as many as fit: {first:?}");
    Ok(())
}

/// A fetch of the first partition by a client whose last record is of this leader epoch.
async fn fetch_after(client: &mut Kafka, epoch: i32, offset: i64) -> Result<PartitionData> {
    let mut request = kafka::fetch_request("grows", 0, offset, MAX_BYTES);
    for topic in &mut request.topics {
        for partition in &mut topic.partitions {
            partition.last_fetched_epoch = epoch;
        }
    }
    let response = client.call(kafka::FETCH_VERSION, &request).await?;
    let mut partitions = response.responses.into_iter().flat_map(|it| it.partitions);
    partitions.next().context("one partition was asked for")
}

#[tokio::test]
async fn client_whose_log_goes_further_is_told_where_they_part() -> Result<()> {
    let daemon = Daemon::start()?;
    topic_with_a_record(&daemon).await?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let nothing = (-1, -1);
    // From the client's log, or without a word of it; five records further than this log goes; from an epoch
    // of which nothing is known.
    for (epoch, offset, expected, error) in [
        (0, 0, nothing, "error 0"),
        (-1, 0, nothing, "error 0"),
        (0, 6, (0, 1), "error 0"),
        (7, 0, nothing, "OffsetOutOfRange"),
    ] {
        let found = fetch_after(&mut client, epoch, offset).await?;
        let case = format!("after epoch {epoch}, from offset {offset}");
        assert_eq!(kafka::error_name(found.error_code), error, "{case}");
        let diverging = &found.diverging_epoch;
        assert_eq!((diverging.epoch, diverging.end_offset), expected, "{case}");
        let has_records = found.records.is_some_and(|records| !records.is_empty());
        assert_eq!(
            has_records,
            expected == nothing && error == "error 0",
            "{case}"
        );
    }
    Ok(())
}

/// The partitions of an answer, and whether each has records.
fn filled(partitions: &[PartitionData]) -> Vec<(i32, bool)> {
    let has_records = |it: &PartitionData| it.records.as_ref().is_some_and(|it| !it.is_empty());
    let partitions = partitions.iter();
    partitions
        .map(|it| (it.partition_index, has_records(it)))
        .collect()
}

/// Consumers turn the order from fetch to fetch, so that none of their partitions starves.
#[tokio::test]
async fn partitions_are_read_in_the_order_asked_for_and_the_first_may_fill_the_answer() -> Result<()>
{
    let daemon = Daemon::start()?;
    topic_with_a_record(&daemon).await?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    for partition in [0, 1] {
        client.produce("grows", partition, batch(5_000)?).await?;
    }
    for (order, expected) in [
        ([0, 1], [(0, true), (1, false)]),
        ([1, 0], [(1, true), (0, false)]),
    ] {
        let request = request(&order, MAX_BYTES)
            .with_max_bytes(1)
            .with_min_bytes(1);
        let answer = client.call(kafka::FETCH_VERSION, &request).await?;
        let partitions = answer.responses.into_iter().flat_map(|it| it.partitions);
        assert_eq!(filled(&partitions.collect::<Vec<_>>()), expected);
    }
    Ok(())
}

/// KIP-110.
#[tokio::test]
async fn clients_that_do_not_know_zstd_are_told_so() -> Result<()> {
    const FIRST: i16 = 10;
    let daemon = Daemon::start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let stored_with = [("compression.type", "zstd")];
    client.create_topic("grows", 1, &stored_with).await?;
    client.produce("grows", 0, batch(10)?).await?;
    for version in [FIRST - 1, FIRST] {
        let request = kafka::fetch_request("grows", 0, 0, MAX_BYTES);
        let answer = client.call(version, &request).await?;
        let partitions: Vec<_> = answer
            .responses
            .into_iter()
            .flat_map(|it| it.partitions)
            .collect();
        let error = partitions
            .first()
            .map(|it| kafka::error_name(it.error_code));
        let (expected, has_records) = match version {
            FIRST => ("error 0", true),
            _ => ("UnsupportedCompressionType", false),
        };
        assert_eq!(error.as_deref(), Some(expected), "version {version}");
        assert_eq!(filled(&partitions), [(0, has_records)], "version {version}");
    }
    Ok(())
}
