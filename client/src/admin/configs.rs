//! Configurations of topics and brokers: show and change.

use super::Admin;
use crate::error::Result;

/// What has a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker by id; `None` for the one that answers.
    Broker(Option<i32>),
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// Nobody set it.
    Default,
    /// The broker's configuration file.
    File,
    /// The broker's environment.
    Environment,
    /// The broker's command line.
    Flag,
    /// The topic.
    Topic,
    /// A source that this version of the client does not know.
    Unknown,
}

/// One configuration key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// Its value; empty where it is sensitive.
    pub value: String,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it can be changed through the API.
    pub read_only: bool,
    /// Whether its value is kept from readers.
    pub sensitive: bool,
    /// What it is when nobody sets it.
    pub default_value: String,
    /// What it does.
    pub documentation: String,
}

/// One change of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigChange {
    /// Sets a key.
    Set {
        /// The key.
        name: String,
        /// Its new value.
        value: String,
    },
    /// Takes a key back to its default.
    Delete {
        /// The key.
        name: String,
    },
}

impl Admin {
    /// Shows configurations: the named keys, or all where `keys` is empty. One result per resource,
    /// in order.
    ///
    /// # Errors
    /// What kept the cluster from being asked.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        keys: &[&str],
    ) -> Result<Vec<(ConfigResource, Result<Vec<ConfigEntry>>)>> {
        let _ = (resources, keys);
        todo!()
    }

    /// Changes the named keys of a configuration and no others, or with `validate_only` checks
    /// whether that could be.
    ///
    /// # Errors
    /// What kept it from being done; all changes are done or none.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<()> {
        let _ = (resource, changes, validate_only);
        todo!()
    }
}
