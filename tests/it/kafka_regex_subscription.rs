//! Subscriptions by regular expression over the Kafka protocol (KIP-848, ConsumerGroupHeartbeat version 1).

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    consumer_group_heartbeat_request::TopicPartitions,
};
use millstream_tests::{
    Daemon, DaemonOptions, Kafka,
    kafka::{error_name, group_id, text},
};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// The first version with regular expressions.
const VERSION: i16 = 1;
const GROUP: &str = "readers";
/// How long an assignment may take.
const WITHIN: Duration = Duration::from_secs(20);

/// A partition by its topic's id.
type Partition = (Uuid, i32);

/// A member that holds whatever it is assigned.
struct Member {
    client: Kafka,
    id: &'static str,
    epoch: i32,
    /// How often it is to show that it is alive.
    interval: Duration,
    assigned: BTreeSet<Partition>,
    /// It has yet to say that it holds what it was assigned last.
    has_to_confirm: bool,
}

impl Member {
    /// Joins the group.
    async fn join(daemon: &Daemon, id: &'static str, regex: &str) -> Result<Self> {
        let mut member = Self {
            client: Kafka::connect(daemon.kafka()).await?,
            id,
            epoch: 0,
            interval: Duration::ZERO,
            assigned: BTreeSet::new(),
            has_to_confirm: false,
        };
        let request = member
            .request()
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_regex(Some(text(regex)))
            .with_topic_partitions(Some(Vec::new()));
        let answer = member.client.call(VERSION, &request).await?;
        member.take_in(answer)?;
        Ok(member)
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(GROUP))
            .with_member_id(text(self.id))
            .with_member_epoch(self.epoch)
    }

    fn take_in(&mut self, answer: ConsumerGroupHeartbeatResponse) -> Result<()> {
        ensure!(answer.error_code == 0, "{answer:?}");
        self.epoch = answer.member_epoch;
        let interval_ms = u64::try_from(answer.heartbeat_interval_ms)?;
        self.interval = Duration::from_millis(interval_ms);
        if let Some(assignment) = answer.assignment {
            let topics = assignment.topic_partitions.iter();
            let assigned = topics.flat_map(|topic| {
                let partitions = topic.partitions.iter();
                partitions.map(move |partition| (topic.topic_id, *partition))
            });
            self.assigned = assigned.collect();
            self.has_to_confirm = true;
        }
        Ok(())
    }

    async fn heartbeat(&mut self) -> Result<()> {
        let request = match self.has_to_confirm {
            true => self.request().with_topic_partitions(Some(self.held())),
            false => self.request(),
        };
        self.has_to_confirm = false;
        let answer = self.client.call(VERSION, &request).await?;
        self.take_in(answer)
    }

    fn held(&self) -> Vec<TopicPartitions> {
        let held = self.assigned.iter().map(|(topic_id, partition)| {
            TopicPartitions::default()
                .with_topic_id(*topic_id)
                .with_partitions(vec![*partition])
        });
        held.collect()
    }

    /// Shows that it is alive as often as it is told to, until it is assigned these partitions and no others.
    async fn is_assigned(&mut self, expected: &BTreeSet<Partition>) -> Result<()> {
        let assigned = timeout(WITHIN, async {
            while self.assigned != *expected {
                sleep(self.interval).await;
                self.heartbeat().await?;
            }
            anyhow::Ok(())
        });
        let assigned = assigned.await;
        assigned.with_context(|| format!("{:?}, expected {expected:?}", self.assigned))?
    }
}

/// Creates a topic; returns its partitions.
async fn create(client: &mut Kafka, name: &str, partitions: i32) -> Result<BTreeSet<Partition>> {
    let created = client.create_topic(name, partitions, &[]).await?;
    ensure!(created.error_code == 0, "{created:?}");
    let all = (0..partitions).map(|partition| (created.topic_id, partition));
    Ok(all.collect())
}

#[tokio::test]
async fn a_member_is_assigned_topics_that_match_its_regular_expression_and_those_that_come_later()
-> Result<()> {
    let daemon = DaemonOptions::default()
        .set("groups.heartbeat_interval", "50ms")
        .start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let mut matching = create(&mut client, "orders-north", 2).await?;
    matching.extend(create(&mut client, "orders-south", 1).await?);
    create(&mut client, "payments", 1).await?;
    // The whole name has to match.
    create(&mut client, "old-orders-north", 1).await?;
    let mut member = Member::join(&daemon, "first", "orders-.*").await?;
    member.is_assigned(&matching).await?;
    create(&mut client, "old-orders-west", 1).await?;
    matching.extend(create(&mut client, "orders-west", 3).await?);
    member.is_assigned(&matching).await?;
    Ok(())
}

#[tokio::test]
async fn a_regular_expression_that_is_none_is_refused_and_a_member_keeps_its_own() -> Result<()> {
    let daemon = DaemonOptions::default()
        .set("groups.heartbeat_interval", "50ms")
        .start()?;
    let mut client = Kafka::connect(daemon.kafka()).await?;
    let mut matching = create(&mut client, "orders-north", 1).await?;
    let mut member = Member::join(&daemon, "first", "orders-.*").await?;
    member.is_assigned(&matching).await?;
    let wrong = Some(text("orders-("));
    let joining = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(GROUP))
        .with_member_id(text("second"))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_regex(wrong.clone())
        .with_topic_partitions(Some(Vec::new()));
    let changing = member.request().with_subscribed_topic_regex(wrong);
    for request in [joining, changing] {
        let answer = client.call(VERSION, &request).await?;
        let refusal = error_name(answer.error_code);
        assert_eq!(refusal, "InvalidRegularExpression", "{answer:?}");
    }
    matching.extend(create(&mut client, "orders-south", 1).await?);
    member.is_assigned(&matching).await?;
    Ok(())
}
