//! [`Config`]: the limits and times of a group coordinator, each with its name.

use super::AssignorName;

/// What a member may ask for, and what it gets where it asks for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeoutRange {
    /// Given where the member names none.
    pub default_ms: u32,
    /// Shorter ones are raised to it.
    pub min_ms: u32,
    /// Longer ones are lowered to it.
    pub max_ms: u32,
}

impl TimeoutRange {
    /// The timeout for a member that asked for `asked_ms`; `None` and 0 ask for the default.
    #[must_use]
    pub fn choose(&self, asked_ms: Option<u32>) -> u32 {
        match asked_ms {
            None | Some(0) => self.default_ms,
            // Not `clamp`, which panics on a range that is the wrong way round.
            Some(asked) => asked.min(self.max_ms).max(self.min_ms),
        }
    }
}

/// Whether groups that have members change their kind. An empty group always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Never.
    Disabled,
    /// A classic group becomes one of consumers with the first member of the consumer protocol.
    Upgrade,
    /// A consumer group becomes a classic one with the end of its last member of the consumer
    /// protocol.
    Downgrade,
    /// Both.
    Bidirectional,
}

impl MigrationPolicy {
    /// The policy of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "disabled" => Some(Self::Disabled),
            "upgrade" => Some(Self::Upgrade),
            "downgrade" => Some(Self::Downgrade),
            "bidirectional" => Some(Self::Bidirectional),
            _ => None,
        }
    }

    /// Its name, as Kafka has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Bidirectional => "bidirectional",
        }
    }

    pub(super) const fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub(super) const fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// Limits and times. Names in backticks are Kafka's for the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Groups that one partition of the offsets topic holds; a further one is refused.
    pub groups_max: usize,
    /// Members of one group (`group.consumer.max.size`).
    pub members_max: usize,
    /// How long a member may be silent (`group.consumer.session.timeout.ms`).
    pub session_timeout: TimeoutRange,
    /// How long a member may take to give up revoked partitions.
    pub rebalance_timeout: TimeoutRange,
    /// How often a member shows that it is alive (`group.consumer.heartbeat.interval.ms`); a member
    /// with a short session timeout is asked to do so three times within it.
    pub heartbeat_interval_ms: u32,
    /// How long a member whose stream broke may take to come back, if its session timeout is longer.
    pub reconnect_grace_ms: u32,
    /// Bytes of the text beside a committed offset (`offset.metadata.max.bytes`).
    pub offset_metadata_bytes_max: usize,
    /// Topic names in one subscription.
    pub subscription_topics_max: usize,
    /// Bytes of the regular expression of a subscription.
    pub regex_bytes_max: usize,
    /// Bytes of a group id, member id, instance id, rack id, client id, or client host.
    pub id_bytes_max: usize,
    /// Rebalances that a group remembers.
    pub rebalances_kept: u16,
    /// How long offsets outlive the last use of their group (`offsets.retention.minutes`).
    pub offsets_retention_ms: i64,
    /// Deletions that one [`Event::ExpireOffsets`](super::Event) writes at most.
    pub expired_per_event_max: usize,
    /// The assignor of a group whose members name none.
    pub assignor: AssignorName,
    /// Whether groups that have members change their kind (`group.consumer.migration.policy`).
    pub migration: MigrationPolicy,
    /// Members of one classic group (`group.max.size`).
    pub classic_members_max: usize,
    /// Shorter sessions of classic members are refused (`group.min.session.timeout.ms`).
    pub classic_session_timeout_min_ms: u32,
    /// Longer sessions of classic members are refused (`group.max.session.timeout.ms`).
    pub classic_session_timeout_max_ms: u32,
    /// How long a classic group that was empty waits for more members
    /// (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay_ms: u32,
    /// How long a new member of a classic group waits for its first generation; Kafka's is the same and
    /// has no name.
    pub classic_first_join_timeout_ms: u32,
    /// Protocols in one join of a classic group.
    pub classic_protocols_max: usize,
    /// Bytes of the metadata in one join of a classic group.
    pub classic_metadata_bytes_max: usize,
    /// Bytes of what all members of a classic group said and were assigned: they are in one record.
    pub classic_group_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            groups_max: 100_000,
            members_max: 1_000,
            session_timeout: TimeoutRange {
                default_ms: 45_000,
                min_ms: 1_000,
                max_ms: 1_800_000,
            },
            rebalance_timeout: TimeoutRange {
                default_ms: 300_000,
                min_ms: 1_000,
                max_ms: 3_600_000,
            },
            heartbeat_interval_ms: 5_000,
            reconnect_grace_ms: 1_000,
            offset_metadata_bytes_max: 4_096,
            subscription_topics_max: 10_000,
            regex_bytes_max: 1_000,
            id_bytes_max: 255,
            rebalances_kept: 16,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            expired_per_event_max: 1_000,
            assignor: AssignorName::Uniform,
            migration: MigrationPolicy::Bidirectional,
            classic_members_max: 1_000,
            classic_session_timeout_min_ms: 6_000,
            classic_session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            classic_first_join_timeout_ms: 300_000,
            classic_protocols_max: 100,
            classic_metadata_bytes_max: 1_000_000,
            classic_group_bytes_max: 1_000_000,
        }
    }
}

impl Config {
    /// How often a member with this session timeout is to show that it is alive.
    #[must_use]
    pub fn heartbeat_interval_for_ms(&self, session_timeout_ms: u32) -> u32 {
        self.heartbeat_interval_ms
            .min((session_timeout_ms / 3).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_stays_within_its_range() {
        let range = TimeoutRange {
            default_ms: 50,
            min_ms: 10,
            max_ms: 100,
        };
        for (asked, given) in [
            (None, 50),
            (Some(0), 50),
            (Some(1), 10),
            (Some(70), 70),
            (Some(u32::MAX), 100),
        ] {
            assert_eq!(range.choose(asked), given, "{asked:?}");
        }
    }

    #[test]
    fn a_short_session_has_three_heartbeats() {
        let config = Config::default();
        assert_eq!(config.heartbeat_interval_for_ms(45_000), 5_000);
        assert_eq!(config.heartbeat_interval_for_ms(1_000), 333);
        assert_eq!(config.heartbeat_interval_for_ms(1), 1);
    }
}
