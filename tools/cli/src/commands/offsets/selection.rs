//! [`Selection`]: partitions of a topic as an option names them, `flights` or `flights:0,3`.

use std::collections::BTreeSet;

use millstream::admin::TopicDescription;

/// All partitions of a topic, or some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) topic: String,
    /// `None` for all.
    partitions: Option<BTreeSet<i32>>,
}

impl Selection {
    /// Whether the partition is one of them.
    pub(super) fn includes(&self, topic: &str, partition: i32) -> bool {
        let partitions = self.partitions.as_ref();
        self.topic == topic && partitions.is_none_or(|some| some.contains(&partition))
    }

    /// The partitions, which the topic need not have where they are named.
    pub(super) fn partitions_of(&self, topic: &TopicDescription) -> BTreeSet<i32> {
        let all = || topic.partitions.iter().map(|described| described.partition);
        self.partitions.clone().unwrap_or_else(|| all().collect())
    }
}

/// Reads a selection.
///
/// # Errors
/// Says what would have been understood.
pub(super) fn parse(text: &str) -> Result<Selection, String> {
    let (topic, partitions) = match text.split_once(':') {
        None => (text, None),
        Some((topic, numbers)) => (topic, Some(numbers)),
    };
    let expected = || "expected TOPIC or TOPIC:PARTITION,...".to_owned();
    if topic.is_empty() {
        return Err(expected());
    }
    let number = |text: &str| text.parse().ok().filter(|number: &i32| *number >= 0);
    let partitions = partitions
        .map(|numbers| numbers.split(',').map(number).collect::<Option<_>>())
        .map(|numbers| numbers.ok_or_else(expected))
        .transpose()?;
    Ok(Selection {
        topic: topic.to_owned(),
        partitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_be_followed_by_partitions() {
        let all = parse("flights").expect("a topic");
        assert!(all.includes("flights", 7) && !all.includes("weather", 7));
        let some = parse("flights:0,3").expect("partitions");
        assert!(some.includes("flights", 3) && !some.includes("flights", 1));
        for text in [
            "",
            ":0",
            "flights:",
            "flights:0,",
            "flights:-1",
            "flights:x",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
