//! [`Subscription`]: which topics a member of a group wants.

use millstream_proto::grpc::v1;

/// Topics by name, by regular expression, or both.
///
/// ```
/// use millstream::Subscription;
///
/// let named = Subscription::topics(["flights", "weather"]);
/// let matching = Subscription::regex("flights-[0-9]{4}");
/// let both = Subscription::topics(["airports"]).or_regex("flights-.*");
/// # drop((named, matching, both));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Subscription {
    topics: Vec<String>,
    regex: String,
}

impl Subscription {
    /// These topics, whether they exist yet or not.
    pub fn topics<T: Into<String>>(topics: impl IntoIterator<Item = T>) -> Self {
        Self {
            topics: topics.into_iter().map(Into::into).collect(),
            regex: String::new(),
        }
    }

    /// Topics whose whole name matches, now or later. The broker matches them.
    pub fn regex(regex: impl Into<String>) -> Self {
        Self {
            topics: Vec::new(),
            regex: regex.into(),
        }
    }

    /// Also topics whose whole name matches.
    pub fn or_regex(mut self, regex: impl Into<String>) -> Self {
        self.regex = regex.into();
        self
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.regex.is_empty()
    }

    pub(super) fn to_wire(&self) -> v1::MemberSubscription {
        v1::MemberSubscription {
            topics: self.topics.clone(),
            topic_regex: self.regex.clone(),
        }
    }
}

impl From<&str> for Subscription {
    /// One topic by name.
    fn from(topic: &str) -> Self {
        Self::topics([topic])
    }
}
