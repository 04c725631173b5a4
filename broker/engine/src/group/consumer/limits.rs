//! What a heartbeat may contain.

use crate::group::{AssignorName, Config, Heartbeat, Refusal, Subscription};

/// Refuses a heartbeat whose texts or lists are out of bounds, or that makes no sense.
pub(super) fn check(config: &Config, heartbeat: &Heartbeat) -> Result<(), Refusal> {
    let max = config.id_bytes_max;
    if heartbeat.member.member_id.is_empty() {
        return Err(Refusal::Invalid("member id is empty"));
    }
    if heartbeat.member_epoch < 0 {
        return Err(Refusal::Invalid("member epoch of a heartbeat is negative"));
    }
    if heartbeat.instance_id.as_deref() == Some("") {
        return Err(Refusal::Invalid("instance id is empty"));
    }
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    short("member id", heartbeat.member.member_id.len(), max)?;
    short("instance id", optional(&heartbeat.instance_id), max)?;
    short("rack id", optional(&heartbeat.rack_id), max)?;
    short("client id", heartbeat.client_id.len(), max)?;
    short("client host", heartbeat.client_host.len(), max)?;
    let assignor = heartbeat
        .assignor
        .as_deref()
        .filter(|name| !name.is_empty());
    if assignor.is_some_and(|name| AssignorName::parse(name).is_none()) {
        return Err(Refusal::Assignor);
    }
    match &heartbeat.subscription {
        Some(subscription) => check_subscription(config, subscription),
        None if heartbeat.member_epoch == 0 => Err(Refusal::Invalid(
            "a member that joins names no subscription",
        )),
        None => Ok(()),
    }
}

/// Refuses a subscription that is out of bounds.
pub(super) fn check_subscription(
    config: &Config,
    subscription: &Subscription,
) -> Result<(), Refusal> {
    let topics = subscription.topics.len();
    if topics > config.subscription_topics_max {
        return Err(Refusal::TooManyTopics {
            found: topics,
            max: config.subscription_topics_max,
        });
    }
    for topic in &subscription.topics {
        short("topic name", topic.len(), TOPIC_NAME_BYTES_MAX)?;
    }
    let regex = subscription.topic_regex.as_ref().map_or(0, String::len);
    short("topic regular expression", regex, config.regex_bytes_max)
}

/// Of a topic's name, as Kafka.
const TOPIC_NAME_BYTES_MAX: usize = 249;

fn short(what: &'static str, found: usize, max: usize) -> Result<(), Refusal> {
    if found > max {
        return Err(Refusal::TooLong { what, found, max });
    }
    Ok(())
}
