//! [`Client`]: the way into a cluster; producers, consumers and admins come from it.

use std::{sync::Arc, time::Duration};

use crate::{
    admin::Admin,
    connection::{Connection, ConnectionConfig, bootstrap_addresses},
    consumer::ConsumerBuilder,
    error::{Error, Result},
    producer::ProducerBuilder,
};

/// A connection to a cluster. Cheap to clone; all clones, and all producers, consumers and admins
/// made from them, share two connections per broker: one for data and one for administration.
///
/// ```no_run
/// # async fn run() -> millstream::Result<()> {
/// let client = millstream::Client::connect("127.0.0.1:9192").await?;
/// let topics = client.admin().list_topics(false).await?;
/// # drop(topics); Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    connection: Arc<Connection>,
}

impl Client {
    /// Connects to the first of `bootstrap` (addresses `host:port`, separated by commas) that
    /// answers.
    ///
    /// # Errors
    /// [`Error::Address`] for a text that is no list of addresses, [`Error::Unreachable`] when none
    /// of them answers.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn connect(bootstrap: &str) -> Result<Self> {
        Self::builder(bootstrap).connect().await
    }

    /// Starts with the defaults of every connection option.
    pub fn builder(bootstrap: &str) -> ClientBuilder {
        ClientBuilder {
            bootstrap: bootstrap.to_owned(),
            config: ConnectionConfig::default(),
        }
    }

    /// Starts with the defaults of every producer option.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(Arc::clone(&self.connection))
    }

    /// Starts with the defaults of every consumer option.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(Arc::clone(&self.connection))
    }

    /// Administration with the client's request timeout as deadline of every call.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.connection))
    }
}

/// Options of a [`Client`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder {
    bootstrap: String,
    config: ConnectionConfig,
}

impl ClientBuilder {
    /// How long one attempt to connect may take. Default 5 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// The deadline of metadata requests and, where not set otherwise, of admin calls. Default 30 s.
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.request_timeout = timeout;
        self
    }

    /// The shortest and the longest pause before a broken connection is tried again. Pauses double
    /// from one failure to the next and are spread by 20 %. Default 50 ms and 2 s.
    pub const fn reconnect_backoff(mut self, shortest: Duration, longest: Duration) -> Self {
        self.config.reconnect_backoff = (shortest, longest);
        self
    }

    /// How old what is known of a topic may become before it is asked for again. Default 60 s.
    pub const fn metadata_age_max(mut self, age: Duration) -> Self {
        self.config.metadata_age_max = age;
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// As [`Client::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn connect(self) -> Result<Client> {
        let addresses = bootstrap_addresses(&self.bootstrap)?;
        if self.config.reconnect_backoff.0 > self.config.reconnect_backoff.1 {
            return Err(Error::config(
                "reconnect_backoff",
                format!("{:?}", self.config.reconnect_backoff.0),
                "at most the longest pause",
            ));
        }
        let connection = Connection::bootstrap(addresses, self.config).await?;
        Ok(Client {
            connection: Arc::new(connection),
        })
    }
}
