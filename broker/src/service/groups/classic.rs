//! Members of classic groups: join, sync, heartbeat, leave.

use std::sync::Arc;

use bytes::Bytes;
use millstream_engine::group::{ClassicJoin, Event, Refusal, Reply, Ticket};
pub use millstream_engine::group::{
    ClassicLeave, ClassicMemberRef, ClassicSync, Joined, Leaver, MemberRef, Synced,
};

use super::replied;
use crate::{
    service::{RequestContext, ServiceError, Services},
    uuid,
};

/// Who joins a classic group, or its next generation.
#[derive(Debug, Clone)]
pub struct ClassicJoining {
    /// The group.
    pub group_id: String,
    /// The member; empty for somebody who has no id yet.
    pub member_id: String,
    /// Whether somebody without an id is only told one, to join again with it (KIP-394).
    pub requires_member_id: bool,
    /// Whether a leader can be told that there is nothing to assign (KIP-814).
    pub can_skip_assignment: bool,
    /// Name of a static member.
    pub instance_id: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Address of the client.
    pub client_host: String,
    /// How long it may be silent.
    pub session_timeout_ms: u32,
    /// How long it may take to join another generation; the session timeout where there is none.
    pub rebalance_timeout_ms: Option<u32>,
    /// `consumer`, or the application's own.
    pub protocol_type: String,
    /// Protocols that it supports, with its metadata for each, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
    /// Why it joins; may be empty.
    pub reason: String,
}

/// What somebody who joins is told.
#[derive(Debug, Clone)]
pub enum JoinAnswer {
    /// The generation has begun.
    Joined(Box<Joined>),
    /// Join again with this member id.
    MemberIdRequired(Arc<str>),
}

impl Services {
    /// Joins a classic group; answered once everybody has joined.
    ///
    /// # Errors
    /// There is no coordinator now, or it refuses.
    ///
    /// # Cancel safety
    /// When it is dropped the member may or may not have joined; its session tells in the end.
    pub async fn classic_join(
        &self,
        _context: &RequestContext,
        joining: ClassicJoining,
    ) -> Result<JoinAnswer, ServiceError> {
        let coordinator = self.coordinator(&joining.group_id).await?;
        let join = Box::new(join(joining));
        let replying = coordinator.ask(|ticket| Event::ClassicJoin(ticket, join));
        match replied(replying).await? {
            Reply::Joined(joined) => Ok(JoinAnswer::Joined(joined)),
            Reply::MemberIdRequired { member_id } => Ok(JoinAnswer::MemberIdRequired(member_id)),
            _ => Err(ServiceError::panicked()),
        }
    }

    /// Asks for a member's assignment; answered once the leader has assigned.
    ///
    /// # Errors
    /// As [`Services::classic_join`].
    ///
    /// # Cancel safety
    /// When it is dropped what a leader assigned may or may not have been taken.
    pub async fn classic_sync(
        &self,
        _context: &RequestContext,
        sync: ClassicSync,
    ) -> Result<Synced, ServiceError> {
        let member = sync.member.member.clone();
        match self
            .ask_group(&member, |ticket| Event::ClassicSync(ticket, sync))
            .await?
        {
            Reply::Synced(synced) => Ok(synced),
            _ => Err(ServiceError::panicked()),
        }
    }

    /// A member is alive; returns whether it has to join the next generation.
    ///
    /// # Errors
    /// As [`Services::classic_join`].
    ///
    /// # Cancel safety
    /// When it is dropped the heartbeat may or may not have been taken.
    pub async fn classic_heartbeat(
        &self,
        _context: &RequestContext,
        member: ClassicMemberRef,
    ) -> Result<bool, ServiceError> {
        let of = member.member.clone();
        match self
            .ask_group(&of, |ticket| Event::ClassicHeartbeat(ticket, member))
            .await?
        {
            Reply::Heard { is_rebalancing } => Ok(is_rebalancing),
            _ => Err(ServiceError::panicked()),
        }
    }

    /// Members go, or are put out: a result for each, in the order given.
    ///
    /// # Errors
    /// As [`Services::classic_join`].
    ///
    /// # Cancel safety
    /// When it is dropped the members may or may not have left.
    pub async fn classic_leave(
        &self,
        _context: &RequestContext,
        leave: ClassicLeave,
    ) -> Result<Vec<Result<(), ServiceError>>, ServiceError> {
        let first = leave.members.first();
        let member = MemberRef {
            group_id: Arc::clone(&leave.group_id),
            member_id: first.map_or_else(|| Arc::from(""), |leaver| Arc::clone(&leaver.member_id)),
        };
        match self
            .ask_group(&member, |ticket| Event::ClassicLeave(ticket, leave))
            .await?
        {
            Reply::MembersLeft(results) => Ok(results
                .into_iter()
                .map(|result| result.map_err(|refusal| ServiceError::group(&refusal)))
                .collect()),
            _ => Err(ServiceError::panicked()),
        }
    }

    /// Asks the coordinator of a group that is there already.
    async fn ask_group(
        &self,
        member: &MemberRef,
        event: impl FnOnce(Ticket) -> Event,
    ) -> Result<Reply, ServiceError> {
        let Some(coordinator) = self.groups.find_coordinator(&member.group_id) else {
            return Err(ServiceError::group(&Refusal::UnknownMember {
                group_id: Arc::clone(&member.group_id),
                member_id: Arc::clone(&member.member_id),
            }));
        };
        replied(coordinator.ask(event)).await
    }
}

fn join(joining: ClassicJoining) -> ClassicJoin {
    let named = joining.instance_id.as_deref().unwrap_or(&joining.client_id);
    let id = ::uuid::Uuid::from_bytes(uuid::random());
    ClassicJoin {
        // As Kafka makes them.
        fresh_member_id: Arc::from(format!("{named}-{id}")),
        member: MemberRef {
            group_id: Arc::from(joining.group_id),
            member_id: Arc::from(joining.member_id),
        },
        requires_member_id: joining.requires_member_id,
        can_skip_assignment: joining.can_skip_assignment,
        instance_id: joining.instance_id,
        client_id: joining.client_id,
        client_host: joining.client_host,
        session_timeout_ms: joining.session_timeout_ms,
        rebalance_timeout_ms: joining.rebalance_timeout_ms,
        protocol_type: joining.protocol_type,
        protocols: joining.protocols,
        reason: joining.reason,
    }
}
