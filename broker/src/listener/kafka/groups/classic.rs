//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: groups whose members assign among themselves.

use std::sync::Arc;

use kafka_protocol::{
    messages::{
        GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
        LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
        join_group_response::JoinGroupResponseMember, leave_group_response::MemberResponse,
    },
    protocol::StrBytes,
};
use millstream_proto::ErrorCode;

use super::super::client::Client;
use crate::service::{
    ServiceError,
    groups::classic::{
        ClassicJoining, ClassicLeave, ClassicMemberRef, ClassicSync, JoinAnswer, Joined, Leaver,
        MemberRef,
    },
};

/// The first version of JoinGroup that gives a member its id before it joins (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 4;
/// The first version of JoinGroup that says the type of the protocol, and may say no protocol.
const PROTOCOL_TYPE: i16 = 7;
/// The first version of JoinGroup in which a leader may be told to assign nothing (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;
/// The first version of LeaveGroup in which several members go.
const SEVERAL_LEAVE: i16 = 3;
/// No generation.
const NONE: i32 = -1;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn member_ref(group_id: &GroupId, member_id: &StrBytes) -> MemberRef {
    MemberRef {
        group_id: Arc::from(group_id.as_str()),
        member_id: Arc::from(member_id.as_str()),
    }
}

pub(in super::super) async fn join_group(
    client: Client,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = client.version;
    let protocols = request.protocols.into_iter();
    let joining = ClassicJoining {
        group_id: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        requires_member_id: version >= MEMBER_ID_REQUIRED,
        can_skip_assignment: version >= SKIP_ASSIGNMENT,
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        client_id: client.client_id.to_string(),
        client_host: client.host(),
        session_timeout_ms: u32::try_from(request.session_timeout_ms).unwrap_or(0),
        rebalance_timeout_ms: u32::try_from(request.rebalance_timeout_ms).ok(),
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols
            .map(|protocol| (protocol.name.to_string(), protocol.metadata))
            .collect(),
        reason: request.reason.map(|r| r.to_string()).unwrap_or_default(),
    };
    let context = client.context();
    let answer = client.services().classic_join(&context, joining);
    let refused = |code: ErrorCode, member_id: StrBytes| {
        JoinGroupResponse::default()
            .with_error_code(code.number())
            .with_generation_id(NONE)
            .with_protocol_name((version < PROTOCOL_TYPE).then(StrBytes::default))
            .with_member_id(member_id)
    };
    match answer.await {
        Ok(JoinAnswer::Joined(joined)) => begun(version, *joined),
        Ok(JoinAnswer::MemberIdRequired(id)) => refused(ErrorCode::MemberIdRequired, text(&id)),
        Err(error) => refused(error.code, request.member_id),
    }
}

fn begun(version: i16, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(member.instance_id.map(StrBytes::from_string))
            .with_metadata(member.metadata)
    });
    let response = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(&joined.protocol_type)))
        .with_protocol_name(Some(text(&joined.protocol)))
        .with_leader(text(&joined.leader))
        .with_member_id(text(&joined.member_id))
        .with_members(members.collect());
    match version {
        SKIP_ASSIGNMENT.. => response.with_skip_assignment(joined.skips_assignment),
        _ => response,
    }
}

pub(in super::super) async fn sync_group(
    client: Client,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let assignments = request.assignments.into_iter();
    let sync = ClassicSync {
        member: ClassicMemberRef {
            member: member_ref(&request.group_id, &request.member_id),
            instance_id: request.group_instance_id.map(|id| id.to_string()),
            generation: request.generation_id,
        },
        protocol_type: request.protocol_type.map(|name| name.to_string()),
        protocol: request.protocol_name.map(|name| name.to_string()),
        assignments: assignments
            .map(|assigned| (assigned.member_id.to_string(), assigned.assignment))
            .collect(),
    };
    match client
        .services()
        .classic_sync(&client.context(), sync)
        .await
    {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(Some(text(&synced.protocol_type)))
            .with_protocol_name(Some(text(&synced.protocol)))
            .with_assignment(synced.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code.number()),
    }
}

pub(in super::super) async fn heartbeat(
    client: Client,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let member = ClassicMemberRef {
        member: member_ref(&request.group_id, &request.member_id),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        generation: request.generation_id,
    };
    let heard = client
        .services()
        .classic_heartbeat(&client.context(), member)
        .await;
    let code = match heard {
        Ok(true) => ErrorCode::RebalanceInProgress,
        Ok(false) => ErrorCode::None,
        Err(error) => error.code,
    };
    HeartbeatResponse::default().with_error_code(code.number())
}

pub(in super::super) async fn leave_group(
    client: Client,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let is_one = client.version < SEVERAL_LEAVE;
    let one = Leaver {
        member_id: Arc::from(request.member_id.as_str()),
        instance_id: None,
        reason: String::new(),
    };
    let several = request.members.iter().map(|member| Leaver {
        member_id: Arc::from(member.member_id.as_str()),
        instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        reason: member
            .reason
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    });
    let leave = ClassicLeave {
        group_id: Arc::from(request.group_id.as_str()),
        members: if is_one { vec![one] } else { several.collect() },
    };
    let left = client
        .services()
        .classic_leave(&client.context(), leave)
        .await;
    let results = match left {
        Ok(results) => results,
        Err(error) if is_one => vec![Err(error)],
        Err(error) => return LeaveGroupResponse::default().with_error_code(error.code.number()),
    };
    let code = |result: Result<(), ServiceError>| match result {
        Ok(()) => ErrorCode::None.number(),
        Err(error) => error.code.number(),
    };
    let mut codes = results.into_iter().map(code);
    if is_one {
        return LeaveGroupResponse::default().with_error_code(codes.next().unwrap_or(0));
    }
    let members = request.members.into_iter().zip(codes);
    let members = members.map(|(member, code)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code)
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
