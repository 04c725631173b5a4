//! [`Member`]: a member of any protocol that the harness speaks itself, and so can do what no client
//! library would.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use tokio::time::Instant;

use super::{
    RawMember, Scene, Standing,
    kafka_member::{Dialect, KafkaMember},
    scene::{BROKERS_SESSION, LONG_SESSION},
};

/// What a member speaks, and by whose code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The native API, by the client crate.
    Client,
    /// The native API.
    Native,
    /// The Kafka protocol.
    Kafka(Dialect),
}

impl Protocol {
    /// Session of a member that is not to fall silent. A generation of the classic protocol waits that
    /// long for somebody who is gone.
    pub(super) const fn long_session(self) -> Duration {
        match self {
            Self::Client | Self::Native => LONG_SESSION,
            Self::Kafka(_) => BROKERS_SESSION,
        }
    }
}

/// A member.
#[derive(Debug)]
pub(super) enum Member {
    Native(RawMember),
    Kafka(Box<KafkaMember>),
}

impl Member {
    /// Joins the group anew, with this session where the protocol lets a member choose.
    ///
    /// # Errors
    /// When the group refuses, the daemon stays away, or the client crate is asked for, which speaks
    /// for itself.
    pub(super) async fn join(
        scene: &Arc<Scene>,
        protocol: Protocol,
        session: Duration,
    ) -> Result<Self> {
        match protocol {
            Protocol::Client => bail!("the client crate speaks for itself"),
            Protocol::Native => Ok(Self::Native(RawMember::join(scene, session).await?)),
            Protocol::Kafka(dialect) => {
                let member = KafkaMember::join(scene, dialect, session, None).await?;
                Ok(Self::Kafka(Box::new(member)))
            }
        }
    }

    pub(super) const fn session(&self) -> Duration {
        match self {
            Self::Native(member) => member.session(),
            Self::Kafka(member) => member.session(),
        }
    }

    /// Works for some time.
    pub(super) async fn work(&mut self, time: Duration) -> Result<Standing> {
        let until = Instant::now() + time;
        match self {
            Self::Native(member) => member.work(until).await,
            Self::Kafka(member) => member.work(until).await,
        }
    }

    /// Does nothing for some time, and then commits as if nothing had been.
    pub(super) async fn pause(&mut self, time: Duration) -> Result<()> {
        match self {
            Self::Native(member) => member.pause(time).await,
            Self::Kafka(member) => member.pause(time).await,
        }
    }

    /// Loses its connections, and is back at once.
    pub(super) async fn interrupt(&mut self) -> Result<Standing> {
        match self {
            Self::Native(member) => member.interrupt().await,
            Self::Kafka(member) => member.interrupt().await.map(|()| Standing::Member),
        }
    }

    pub(super) async fn leave(self) -> Result<()> {
        match self {
            Self::Native(member) => member.leave().await,
            Self::Kafka(member) => member.leave().await,
        }
    }

    pub(super) fn crash(self) {
        match self {
            Self::Native(member) => drop(member.crash()),
            Self::Kafka(member) => member.crash(),
        }
    }
}
