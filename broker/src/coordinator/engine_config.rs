//! The engine's limits and times, as the section `groups` of the configuration says.

use std::time::Duration;

use millstream_engine::group::{Config, TimeoutRange};

use crate::config::Groups;

/// Translates the section.
pub(super) fn engine_config(groups: &Groups) -> Config {
    Config {
        groups_max: count(groups.groups_per_partition_max),
        members_max: count(groups.members_max),
        session_timeout: TimeoutRange {
            default_ms: ms(groups.session_timeout),
            min_ms: ms(groups.session_timeout_min),
            max_ms: ms(groups.session_timeout_max),
        },
        rebalance_timeout: TimeoutRange {
            default_ms: ms(groups.rebalance_timeout),
            min_ms: ms(groups.rebalance_timeout_min),
            max_ms: ms(groups.rebalance_timeout_max),
        },
        heartbeat_interval_ms: ms(groups.heartbeat_interval),
        reconnect_grace_ms: ms(groups.reconnect_grace),
        offset_metadata_bytes_max: groups.offset_metadata_bytes_max.as_usize(),
        subscription_topics_max: count(groups.subscription_topics_max),
        regex_bytes_max: groups.regex_bytes_max.as_usize(),
        id_bytes_max: groups.id_bytes_max.as_usize(),
        rebalances_kept: groups.rebalances_kept,
        offsets_retention_ms: i64::try_from(groups.offsets_retention.as_millis())
            .unwrap_or(i64::MAX),
        expired_per_event_max: count(groups.offsets_expired_at_once_max),
        assignor: groups.assignor,
        classic_members_max: count(groups.members_max),
        classic_session_timeout_min_ms: ms(groups.classic_session_timeout_min),
        classic_session_timeout_max_ms: ms(groups.classic_session_timeout_max),
        initial_rebalance_delay_ms: ms(groups.initial_rebalance_delay),
        classic_first_join_timeout_ms: ms(groups.classic_first_join_timeout),
        classic_protocols_max: count(groups.classic_protocols_max),
        classic_metadata_bytes_max: groups.classic_metadata_bytes_max.as_usize(),
        classic_group_bytes_max: groups.classic_group_bytes_max.as_usize(),
        migration: groups.migration,
    }
}

fn ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_configuration_are_those_of_the_engine() {
        assert_eq!(engine_config(&Groups::default()), Config::default());
    }
}
