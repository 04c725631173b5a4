//! [`Session`]: what a command that talks to a cluster has: the client, and the form of its output.
//!
//! And what commands share about topics and groups: describe one, or say that it does not exist, with
//! the nearest name.

use millstream::{Admin, Client, ErrorCode, admin::GroupDescription};

use crate::{
    args::Global,
    failure::{Failure, Result},
    output::OutputFormat,
};

/// Names further away than this share of their length are no suggestion.
const SIMILARITY_MIN: f64 = 0.8;

/// A connected command.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) output: OutputFormat,
}

impl Session {
    /// Connects to the server that the arguments name.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(crate) async fn connect(global: &Global) -> Result<Self> {
        Ok(Self {
            client: Client::connect(&global.server).await?,
            output: global.output,
        })
    }

    pub(crate) fn admin(&self) -> Admin {
        self.client.admin()
    }

    /// Describes one topic.
    ///
    /// # Errors
    /// When it does not exist: then with the nearest name and the command that creates it.
    pub(crate) async fn describe(
        &self,
        topic: &str,
        include_log: bool,
    ) -> Result<millstream::admin::TopicDescription> {
        let results = self.admin().describe_topics(&[topic], include_log).await?;
        let described = results.into_iter().next().map(|(_, result)| result);
        match described {
            Some(Ok(description)) => Ok(description),
            Some(Err(error)) => Err(self.about_topic(topic, error).await),
            None => Err(Failure::new(
                "the broker described nothing",
                "see the broker's log",
            )),
        }
    }

    /// A failure about a topic: an unknown one gets the nearest name and the create command.
    pub(crate) async fn about_topic(&self, topic: &str, error: millstream::Error) -> Failure {
        let is_unknown = matches!(&error, millstream::Error::Broker(broker)
            if broker.code == ErrorCode::UnknownTopicOrPartition);
        if !is_unknown {
            return error.into();
        }
        let listing = self.admin().list_topics(false).await.unwrap_or_default();
        let names = listing.iter().map(|topic| topic.name.as_str());
        unknown_topic(topic, nearest(topic, names))
    }

    /// Describes one group; `None` where it does not exist.
    ///
    /// # Errors
    /// What kept the broker from describing it.
    pub(crate) async fn find_group(&self, group: &str) -> Result<Option<GroupDescription>> {
        let results = self.admin().describe_groups(&[group]).await?;
        match results.into_iter().next().map(|(_, result)| result) {
            Some(Ok(description)) => Ok(Some(description)),
            Some(Err(error)) if error.code() == Some(ErrorCode::GroupIdNotFound) => Ok(None),
            Some(Err(error)) => Err(error.into()),
            None => Err(Failure::new(
                "the broker described nothing",
                "see the broker's log",
            )),
        }
    }

    /// Describes one group.
    ///
    /// # Errors
    /// When it does not exist: then with the nearest name.
    pub(crate) async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        match self.find_group(group).await? {
            Some(description) => Ok(description),
            None => Err(self.unknown_group(group).await),
        }
    }

    /// The failure of a command about a group that does not exist.
    pub(crate) async fn unknown_group(&self, group: &str) -> Failure {
        let listing = self.admin().list_groups().await.unwrap_or_default();
        let names = listing.iter().map(|listed| listed.group.as_str());
        unknown_group(group, nearest(group, names))
    }
}

fn unknown_group(group: &str, nearest: Option<&str>) -> Failure {
    let suffix = nearest.map_or_else(String::new, |name| format!("; the nearest name is {name}"));
    Failure::new(
        format!("group {group} does not exist{suffix}"),
        "see all groups with: millstream groups list",
    )
}

fn unknown_topic(topic: &str, nearest: Option<&str>) -> Failure {
    let suffix = nearest.map_or_else(String::new, |name| format!("; the nearest name is {name}"));
    Failure::new(
        format!("topic {topic} does not exist{suffix}"),
        format!("create it with: millstream topics create {topic} --partitions 1"),
    )
}

/// The candidate that is most like `name`, if one is much like it.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let names = || ["flights", "fights", "weather"].into_iter();
        assert_eq!(nearest("flihgts", names()), Some("flights"));
        assert_eq!(nearest("planes", names()), None);
    }

    #[test]
    fn an_unknown_group_names_the_nearest() {
        assert_eq!(
            unknown_group("raeders", Some("readers")).to_string(),
            "error: group raeders does not exist; the nearest name is readers\n\
             hint: see all groups with: millstream groups list"
        );
    }

    #[test]
    fn an_unknown_topic_names_the_nearest_and_the_create_command() {
        assert_eq!(
            unknown_topic("flihgts", Some("flights")).to_string(),
            "error: topic flihgts does not exist; the nearest name is flights\n\
             hint: create it with: millstream topics create flihgts --partitions 1"
        );
        assert_eq!(
            unknown_topic("x", None).to_string(),
            "error: topic x does not exist\n\
             hint: create it with: millstream topics create x --partitions 1"
        );
    }
}
