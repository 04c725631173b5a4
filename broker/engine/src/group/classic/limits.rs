//! What a join may contain.

use crate::group::{ClassicJoin, Refusal, turn::Turn};

/// Refuses a join that cannot begin or change a group, or whose texts, lists or times are out of
/// bounds.
pub(in crate::group) fn check_join(turn: &Turn<'_>, join: &ClassicJoin) -> Result<(), Refusal> {
    if let Some(refusal) = turn.unfit() {
        return Err(refusal);
    }
    let config = turn.config;
    let (min, max) = (
        config.classic_session_timeout_min_ms,
        config.classic_session_timeout_max_ms,
    );
    if join.session_timeout_ms < min || join.session_timeout_ms > max {
        return Err(Refusal::SessionTimeout {
            found: join.session_timeout_ms,
            min,
            max,
        });
    }
    if join.instance_id.as_deref() == Some("") {
        return Err(Refusal::Invalid("instance id is empty"));
    }
    if join.fresh_member_id.is_empty() {
        return Err(Refusal::Invalid("no member id was chosen"));
    }
    let id_max = config.id_bytes_max;
    let instance = join.instance_id.as_ref().map_or(0, String::len);
    let member_id = join.member.member_id.len();
    short("member id", member_id, id_max + GIVEN_BYTES)?;
    short("instance id", instance, id_max)?;
    short("client id", join.client_id.len(), id_max)?;
    short("client host", join.client_host.len(), id_max)?;
    short("protocol type", join.protocol_type.len(), id_max)?;
    let protocols_max = config.classic_protocols_max;
    if join.protocols.len() > protocols_max {
        return Err(Refusal::TooManyProtocols {
            found: join.protocols.len(),
            max: protocols_max,
        });
    }
    for (name, _) in &join.protocols {
        short("protocol name", name.len(), id_max)?;
    }
    let metadata = join.protocols.iter().map(|(_, metadata)| metadata.len());
    short(
        "protocol metadata",
        metadata.sum(),
        config.classic_metadata_bytes_max,
    )
}

/// What a member id that a coordinator gives has beyond the client or instance id that it begins with: a dash and a
/// UUID.
const GIVEN_BYTES: usize = 37;

fn short(what: &'static str, found: usize, max: usize) -> Result<(), Refusal> {
    if found > max {
        return Err(Refusal::TooLong { what, found, max });
    }
    Ok(())
}

/// A reason, with what the client says of it, as far as it is short.
pub(in crate::group) fn with_words(reason: String, words: &str) -> String {
    if words.is_empty() {
        return reason;
    }
    let words: String = words.chars().take(REASON_CHARS_MAX).collect();
    format!("{reason}: {words}")
}

/// Of a client's own words, as Kafka's clients cut them (KIP-800).
const REASON_CHARS_MAX: usize = 255;
