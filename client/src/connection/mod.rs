//! [`Connection`]: channels to brokers and what is known of topics; shared by all parts of a client.
//!
//! ```text
//! Connection -- Broker "127.0.0.1:9192" -- data channel:  produce and fetch streams
//!            |                          \- admin channel: everything else
//!            |- Broker ...
//!            \- MetadataCache: topic name -> id, partitions, leaders
//! ```

mod backoff;
mod broker;
mod call;
mod config;
mod metadata;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use millstream_proto::grpc::v1::{self, topic_service_client::TopicServiceClient};

pub(crate) use backoff::Backoff;
pub(crate) use broker::{ANSWER_BYTES_MAX, Broker};
pub(crate) use call::Repeat;
pub(crate) use config::{ConnectionConfig, bootstrap_addresses, join_address};
pub(crate) use metadata::{MetadataCache, TopicMetadata};

use crate::error::{Error, Result};

/// Pause between the first attempts to reach one bootstrap address and the next: a dead one that
/// does not even refuse costs no more than this.
const BOOTSTRAP_STAGGER: Duration = Duration::from_millis(200);

/// Channels to brokers and what is known of topics.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) config: ConnectionConfig,
    brokers: Mutex<HashMap<Arc<str>, Arc<Broker>>>,
    /// Addresses that may answer questions about the cluster, the last that did first.
    addresses: Mutex<Vec<Arc<str>>>,
    pub(crate) metadata: MetadataCache,
}

impl Connection {
    /// Asks the bootstrap addresses for the cluster, each a little later than the one before, and
    /// goes on with the first answer.
    pub(crate) async fn bootstrap(
        addresses: Vec<String>,
        config: ConnectionConfig,
    ) -> Result<Self> {
        let metadata = MetadataCache::new(config.metadata_age_max);
        let listed = addresses.join(",");
        let known = addresses
            .iter()
            .map(|address| Arc::from(address.as_str()))
            .collect();
        let connection = Self {
            config,
            brokers: Mutex::default(),
            addresses: Mutex::new(known),
            metadata,
        };
        let mut attempts: FuturesUnordered<_> = (0_u32..)
            .zip(&addresses)
            .map(|(position, address)| connection.first_contact(position, address))
            .collect();
        let mut last = None;
        while let Some(attempt) = attempts.next().await {
            match attempt {
                Ok(cluster) => {
                    drop(attempts);
                    connection.learn_brokers(&cluster);
                    return Ok(connection);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(Error::Unreachable { reason, .. }) => Error::Unreachable {
                addresses: listed,
                reason,
            },
            Some(error @ Error::TimedOut { .. }) => Error::Unreachable {
                addresses: listed,
                reason: error.to_string(),
            },
            Some(error) => error,
            None => Error::Address { found: listed },
        })
    }

    async fn first_contact(
        &self,
        position: u32,
        address: &str,
    ) -> Result<v1::DescribeClusterResponse> {
        tokio::time::sleep(BOOTSTRAP_STAGGER * position).await;
        let broker = self.broker(address)?;
        let after = self.config.connect_timeout;
        let mut client =
            v1::cluster_service_client::ClusterServiceClient::new(broker.admin.clone());
        let answer = tokio::time::timeout(
            after,
            client.describe_cluster(v1::DescribeClusterRequest {}),
        )
        .await;
        match answer {
            Ok(Ok(cluster)) => {
                self.prefer(address);
                Ok(cluster.into_inner())
            }
            Ok(Err(status)) => Err(not_native(broker.failure(&status, false))),
            Err(_) => Err(Error::TimedOut {
                operation: "connecting",
                after,
                may_have_been_written: false,
                cause: None,
            }),
        }
    }

    /// The channels to a broker, made when first asked for.
    pub(crate) fn broker(&self, address: &str) -> Result<Arc<Broker>> {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = brokers.get(address) {
            return Ok(Arc::clone(broker));
        }
        let broker = Arc::new(Broker::new(address, &self.config)?);
        brokers.insert(Arc::clone(&broker.address), Arc::clone(&broker));
        Ok(broker)
    }

    /// Adds the addresses of a cluster's brokers to those that are asked.
    fn learn_brokers(&self, cluster: &v1::DescribeClusterResponse) {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for broker in &cluster.brokers {
            if let Some(address) = join_address(&broker.host, broker.port)
                && !addresses.iter().any(|known| **known == *address)
            {
                addresses.push(address.into());
            }
        }
    }

    /// Asks `address` first from now on.
    fn prefer(&self, address: &str) {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = addresses.iter().position(|known| **known == *address)
            && let Some(before) = addresses.get_mut(..=position)
        {
            before.rotate_right(1);
        }
    }

    /// The address to ask at the given attempt, counted from 0.
    pub(crate) fn address_of_attempt(&self, attempt: usize) -> Option<Arc<str>> {
        let addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let position = attempt.checked_rem(addresses.len())?;
        addresses.get(position).map(Arc::clone)
    }

    /// What is known of a topic; a broker is asked where that is nothing, or old.
    pub(crate) async fn topic(&self, name: &str, deadline: Duration) -> Result<Arc<TopicMetadata>> {
        if let Some(topic) = self.metadata.fresh(name, Instant::now()) {
            return Ok(topic);
        }
        self.refresh_topic(name, deadline).await
    }

    /// Asks a broker for a topic. Callers at the same time share one question.
    pub(crate) async fn refresh_topic(
        &self,
        name: &str,
        deadline: Duration,
    ) -> Result<Arc<TopicMetadata>> {
        let called_at = Instant::now();
        let asking = tokio::time::timeout(deadline, self.metadata.asking.lock()).await;
        let Ok(_asking) = asking else {
            return Err(Error::TimedOut {
                operation: "looking up a topic",
                after: deadline,
                may_have_been_written: false,
                cause: None,
            });
        };
        if let Some(topic) = self.metadata.known_since(name, called_at) {
            return Ok(topic);
        }
        let remaining = deadline.saturating_sub(called_at.elapsed());
        let asked_at = Instant::now();
        let (answer, answered_by) = self
            .call_any("looking up a topic", remaining, Repeat::Always, |broker| {
                let request = v1::DescribeTopicsRequest {
                    names: vec![name.to_owned()],
                    ..v1::DescribeTopicsRequest::default()
                };
                let mut client = TopicServiceClient::new(broker.admin.clone());
                async move { client.describe_topics(request).await }
            })
            .await?;
        let described = answer
            .topics
            .into_iter()
            .next()
            .ok_or_else(|| Error::Protocol {
                broker: answered_by.to_string(),
                reason: "no description of the topic asked for".to_owned(),
            })?;
        match TopicMetadata::from_wire(described, &answered_by, asked_at) {
            Ok(topic) => {
                let topic = Arc::new(topic);
                self.metadata.insert(Arc::clone(&topic));
                Ok(topic)
            }
            Err(error) => {
                self.metadata.remove(name);
                Err(error)
            }
        }
    }
}

/// Says of a first answer that made no sense where it came from.
fn not_native(error: Error) -> Error {
    match error {
        Error::Disconnected { broker, reason, .. } | Error::Protocol { broker, reason } => {
            // tonic tells what another kind of server said at the end of what it makes of it.
            let http = reason.rsplit_once("response with status: ");
            Error::NotNative {
                address: broker,
                reason: http.map_or(reason.clone(), |(_, status)| {
                    format!("HTTP status {status}")
                }),
            }
        }
        error => error,
    }
}
