//! Fetch sessions over the wire (KIP-227): what a client need not repeat, and what it is not told again.

use anyhow::{Context as _, Result, ensure};
use kafka_protocol::{
    ResponseError,
    messages::{
        FetchRequest, FetchResponse,
        fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
    },
};
use millstream_proto::record::BatchOptions;
use millstream_tests::{
    Daemon, Kafka,
    kafka::{DescribedTopic, topic_name},
    native,
};

/// The last version that names topics, the first that gives their ids, and the last.
const VERSIONS: [i16; 3] = [12, 13, 18];
const BY_ID: i16 = 13;
/// Stands for no session.
const NO_SESSION: i32 = 0;
/// Epochs of requests that begin and that end a session.
const INITIAL: i32 = 0;
const FINAL: i32 = -1;

/// A client that fetches a topic of its own, in one version.
struct Fetcher {
    client: Kafka,
    version: i16,
    topic: DescribedTopic,
}

impl Fetcher {
    /// Its topic has two partitions.
    async fn new(daemon: &Daemon, version: i16) -> Result<Self> {
        let mut client = Kafka::connect(daemon.kafka()).await?;
        let name = format!("fetched-{version}");
        let created = client.create_topic(&name, 2, &[]).await?;
        ensure!(created.error_code == 0, "{created:?}");
        let described = client.describe_topics(&[name]).await?;
        let topic = described.into_iter().next().context("the topic")?;
        Ok(Self {
            client,
            version,
            topic,
        })
    }

    /// Makes a request of a session, given by its id and epoch, that names partitions and offsets which are
    /// new or have moved, and partitions to forget. Waits for no records.
    async fn fetch(
        &mut self,
        (session_id, epoch): (i32, i32),
        moved: &[(i32, i64)],
        forgotten: &[i32],
    ) -> Result<FetchResponse> {
        let mut request = FetchRequest::default()
            .with_session_id(session_id)
            .with_session_epoch(epoch);
        if !moved.is_empty() {
            let partitions = moved.iter().map(|(partition, offset)| {
                FetchPartition::default()
                    .with_partition(*partition)
                    .with_fetch_offset(*offset)
                    .with_partition_max_bytes(1 << 20)
            });
            let topic = FetchTopic::default()
                .with_topic(topic_name(&self.topic.name))
                .with_topic_id(self.topic.id)
                .with_partitions(partitions.collect());
            request.topics.push(topic);
        }
        if !forgotten.is_empty() {
            let topic = ForgottenTopic::default()
                .with_topic(topic_name(&self.topic.name))
                .with_topic_id(self.topic.id)
                .with_partitions(forgotten.to_vec());
            request.forgotten_topics_data.push(topic);
        }
        self.client.call(self.version, &request).await
    }

    /// The partitions of an answer without an error, and whether it has records of each.
    fn shown(&self, answer: &FetchResponse) -> Result<Vec<(i32, bool)>> {
        ensure!(answer.error_code == 0, "{answer:?}");
        let mut shown = Vec::new();
        for topic in &answer.responses {
            match self.version {
                BY_ID.. => assert_eq!(topic.topic_id, self.topic.id),
                _ => assert_eq!(topic.topic.as_str(), self.topic.name),
            }
            for data in &topic.partitions {
                ensure!(data.error_code == 0, "{data:?}");
                let records = data.records.as_ref();
                let has_records = records.is_some_and(|records| !records.is_empty());
                shown.push((data.partition_index, has_records));
            }
        }
        shown.sort_unstable();
        Ok(shown)
    }

    /// Appends a record to a partition.
    async fn produce(&mut self, partition: i32) -> Result<()> {
        let batch = native::batch(BatchOptions::default(), 1, ["value"]);
        let topic = &self.topic.name;
        let produced = self.client.produce(topic, partition, batch).await?;
        ensure!(produced.error_code == 0, "{produced:?}");
        Ok(())
    }

    /// Opens a session with both partitions, and returns its id.
    async fn open(&mut self) -> Result<i32> {
        let both = [(0, 0), (1, 0)];
        let opened = self.fetch((NO_SESSION, INITIAL), &both, &[]).await?;
        ensure!(opened.session_id != NO_SESSION, "{opened:?}");
        assert_eq!(self.shown(&opened)?, [(0, false), (1, false)]);
        Ok(opened.session_id)
    }

    /// The next request of a session, and what is shown of it.
    async fn next(
        &mut self,
        session: (i32, i32),
        moved: &[(i32, i64)],
        forgotten: &[i32],
    ) -> Result<Vec<(i32, bool)>> {
        let answer = self.fetch(session, moved, forgotten).await?;
        assert_eq!(answer.session_id, session.0);
        self.shown(&answer)
    }

    /// Why a request of a session is refused.
    async fn refusal(&mut self, session: (i32, i32)) -> Result<Option<ResponseError>> {
        let answer = self.fetch(session, &[], &[]).await?;
        ensure!(answer.responses.is_empty(), "{answer:?}");
        Ok(ResponseError::try_from_code(answer.error_code))
    }
}

#[tokio::test]
async fn a_session_shows_only_partitions_with_news_that_were_not_forgotten() -> Result<()> {
    let daemon = Daemon::start()?;
    for version in VERSIONS {
        let mut fetcher = Fetcher::new(&daemon, version).await?;
        let id = fetcher.open().await?;
        assert_eq!(fetcher.next((id, 1), &[], &[]).await?, [], "no change");
        fetcher.produce(1).await?;
        assert_eq!(fetcher.next((id, 2), &[], &[]).await?, [(1, true)]);
        assert_eq!(fetcher.next((id, 3), &[(1, 1)], &[]).await?, [], "is read");
        fetcher.produce(0).await?;
        fetcher.produce(1).await?;
        let shown = fetcher.next((id, 4), &[], &[1]).await?;
        assert_eq!(shown, [(0, true)], "partition 1 is forgotten");
        fetcher.produce(1).await?;
        assert_eq!(fetcher.next((id, 5), &[(0, 1)], &[]).await?, [], "gone");
    }
    Ok(())
}

#[tokio::test]
async fn a_session_expects_its_next_epoch_until_it_is_closed() -> Result<()> {
    let unknown = Some(ResponseError::FetchSessionIdNotFound);
    let wrong_epoch = Some(ResponseError::InvalidFetchSessionEpoch);
    let daemon = Daemon::start()?;
    for version in VERSIONS {
        let mut fetcher = Fetcher::new(&daemon, version).await?;
        let id = fetcher.open().await?;
        assert_eq!(fetcher.refusal((id ^ 1, 1)).await?, unknown);
        assert_eq!(fetcher.refusal((id, 2)).await?, wrong_epoch, "too late");
        assert_eq!(fetcher.next((id, 1), &[], &[]).await?, []);
        assert_eq!(fetcher.refusal((id, 1)).await?, wrong_epoch, "too early");
        fetcher.produce(0).await?;
        // The request that ends it is one without a session.
        let closed = fetcher.fetch((id, FINAL), &[(0, 0)], &[]).await?;
        assert_eq!(closed.session_id, NO_SESSION);
        assert_eq!(fetcher.shown(&closed)?, [(0, true)]);
        assert_eq!(fetcher.refusal((id, 2)).await?, unknown, "it is closed");
    }
    Ok(())
}
