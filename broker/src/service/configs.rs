//! Configurations: of topics, which can be changed, and of this broker, which can be read.

use std::collections::BTreeMap;

use millstream_proto::{ErrorCode, TopicName};

use super::{RequestContext, ServiceError, Services, topics::invalid_config};
use crate::{
    config::{self, nearest, topic},
    coordinator::{OFFSETS_TOPIC, fixed_config},
    quorum::{MetadataRecord, TopicConfigChanged},
};

/// Where each key of the broker's configuration got its value; keys that are missing have their
/// default. Keys are paths: `log.flush_interval`, `topics.config.retention.ms`.
pub type ValueSources = BTreeMap<String, ConfigSource>;

/// Whose configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    /// A topic's, by name as the client sent it.
    Topic(String),
    /// A broker's, by id; empty for the one that answers.
    Broker(String),
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
    /// A flag of the daemon.
    Flag,
    /// The topic itself.
    Topic,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where that comes from.
    pub source: ConfigSource,
    /// It cannot be changed through the API.
    pub read_only: bool,
    /// Its value when nobody sets it.
    pub default_value: String,
    /// What it does.
    pub documentation: String,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// The key.
    pub name: String,
    /// Its new value; `None` goes back to the default.
    pub value: Option<String>,
}

impl Services {
    /// The configuration of a topic or of this broker; only `keys`, or all when there are none.
    ///
    /// # Errors
    /// An unknown topic, broker or key.
    pub fn describe_configs(
        &self,
        _context: &RequestContext,
        resource: &ConfigResource,
        keys: &[String],
    ) -> Result<Vec<ConfigEntry>, ServiceError> {
        let entries = match resource {
            ConfigResource::Topic(name) => self.topic_entries(name)?,
            ConfigResource::Broker(id) => {
                self.check_is_local(id)?;
                self.broker_entries()
            }
        };
        if keys.is_empty() {
            return Ok(entries);
        }
        for key in keys {
            if !entries.iter().any(|entry| entry.name == *key) {
                let names = entries.iter().map(|entry| entry.name.as_str());
                return Err(unknown_key(key, nearest(key, names)));
            }
        }
        let wanted = entries.into_iter().filter(|e| keys.contains(&e.name));
        Ok(wanted.collect())
    }

    /// Changes a topic's configuration, or only checks that it could be. Keys that are not named
    /// keep their value.
    ///
    /// # Errors
    /// An unknown topic; keys or values that are refused; a broker's configuration, which is read
    /// when it starts.
    ///
    /// # Cancel safety
    /// When it is dropped the change may or may not be made.
    pub async fn alter_configs(
        &self,
        _context: &RequestContext,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), ServiceError> {
        let ConfigResource::Topic(name) = resource else {
            return Err(ServiceError::invalid_request(
                "configuration of a broker cannot be changed while it runs",
                "change its configuration file and restart it",
            ));
        };
        let topic = self.topic_named(name)?;
        let mut merged = topic.configs.clone();
        let mut effective = BTreeMap::new();
        for change in changes {
            let (name, value) = checked(change)?;
            check_is_not_fixed(&topic.name, &name)?;
            if effective.insert(name.clone(), value.clone()).is_some() {
                return Err(ServiceError::invalid_request(
                    format!("topic config {name} is changed twice"),
                    "name each key once",
                ));
            }
            match value {
                Some(value) => merged.insert(name, value),
                None => merged.remove(&name),
            };
        }
        self.topic_config(&merged)?;
        if validate_only || effective.is_empty() {
            return Ok(());
        }
        let record = MetadataRecord::TopicConfigChanged(TopicConfigChanged {
            topic_id: topic.topic_id,
            changes: effective,
        });
        self.change_metadata(record).await
    }

    fn topic_entries(&self, name: &str) -> Result<Vec<ConfigEntry>, ServiceError> {
        let topic = self.topic_named(name)?;
        let config = self.partitions.topic_config(&topic);
        let entry = |key: &topic::TopicKey| ConfigEntry {
            name: key.name.to_owned(),
            value: config.value(key.name).unwrap_or(key.default).to_owned(),
            source: if topic.configs.contains_key(key.name) {
                ConfigSource::Topic
            } else {
                self.source(&format!("topics.config.{}", key.name))
            },
            read_only: matches!(key.support, topic::Support::DefaultOnly { .. }),
            default_value: key.default.to_owned(),
            documentation: key.documentation.to_owned(),
        };
        Ok(topic::KEYS.iter().map(entry).collect())
    }

    fn broker_entries(&self) -> Vec<ConfigEntry> {
        let defaults = config::Config::default();
        let keys = config::KEYS.iter().map(|key| {
            let path = key.path();
            ConfigEntry {
                value: unquoted((key.print)(&self.config)),
                source: self.source(&path),
                read_only: true,
                default_value: unquoted((key.print)(&defaults)),
                documentation: key.documentation.join("").trim().to_owned(),
                name: path,
            }
        });
        let topic_defaults = self.partitions.topic_defaults();
        let topic_keys = topic::KEYS.iter().map(|key| {
            let name = format!("topics.config.{}", key.name);
            ConfigEntry {
                value: topic_defaults
                    .value(key.name)
                    .unwrap_or(key.default)
                    .to_owned(),
                source: self.source(&name),
                read_only: true,
                default_value: key.default.to_owned(),
                documentation: key.documentation.to_owned(),
                name,
            }
        });
        keys.chain(topic_keys).collect()
    }

    fn source(&self, path: &str) -> ConfigSource {
        let source = self.sources.get(path);
        source.copied().unwrap_or(ConfigSource::Default)
    }

    fn check_is_local(&self, id: &str) -> Result<(), ServiceError> {
        let local = self.partitions.local();
        if id.is_empty() || id == local.to_string() {
            return Ok(());
        }
        Err(ServiceError::invalid_request(
            format!("broker {} is not the one that answers", id.escape_debug()),
            format!("ask for broker {local}, or ask the other broker itself"),
        ))
    }
}

/// Refuses to change what the topic of groups has to be like.
fn check_is_not_fixed(topic: &TopicName, key: &str) -> Result<(), ServiceError> {
    match fixed_config(key) {
        Some(value) if topic.as_str() == OFFSETS_TOPIC => Err(ServiceError::new(
            ErrorCode::InvalidConfig,
            format!("topic {topic} is the broker's own, its {key} stays {value}"),
            "groups would lose committed offsets; other configs of it may be changed",
        )),
        _ => Ok(()),
    }
}

/// A change with key and value in the form in which they are stored.
fn checked(change: &ConfigChange) -> Result<(String, Option<String>), ServiceError> {
    match &change.value {
        Some(value) => {
            let (name, value) =
                topic::check(&change.name, value).map_err(|error| invalid_config(&[error]))?;
            Ok((name.to_owned(), Some(value)))
        }
        None => {
            let mut keys = topic::KEYS.iter();
            let known = keys.any(|key| key.name == change.name);
            let names = topic::KEYS.iter().map(|key| key.name);
            known
                .then(|| (change.name.clone(), None))
                .ok_or_else(|| unknown_key(&change.name, nearest(&change.name, names)))
        }
    }
}

fn unknown_key(found: &str, nearest: Option<&str>) -> ServiceError {
    /// What is shown of a key that came from outside.
    const SHOWN_CHARS: usize = 64;
    let shown: String = found.chars().take(SHOWN_CHARS).collect();
    let hint = nearest.map_or_else(
        || "millstream configs describe shows every key".to_owned(),
        |name| format!("the nearest key is {name}"),
    );
    let message = format!("unknown config {shown:?}");
    ServiceError::new(ErrorCode::InvalidConfig, message, hint)
}

/// Texts are shown without the quotes that TOML needs.
fn unquoted(toml: String) -> String {
    let inner = toml.strip_prefix('"').and_then(|s| s.strip_suffix('"'));
    inner.map_or_else(|| toml.clone(), str::to_owned)
}
