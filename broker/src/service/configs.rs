//! Configurations: of topics, which can be changed, and of this broker, which can be read.

use std::collections::BTreeMap;

use millstream_proto::{ErrorCode, TopicName};

use super::{RequestContext, ServiceError, Services, excerpt, topics::invalid_config};
use crate::{
    config::{self, nearest, topic},
    coordinator::{OFFSETS_TOPIC, fixed_config},
    quorum::{MetadataRecord, TopicConfigChanged, TopicDefaultsChanged, TopicImage},
};

/// What the broker's key of a default for topics begins with.
pub const TOPIC_PREFIX: &str = "topics.config.";

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
    /// Changed while brokers ran, for all of them.
    Cluster,
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
    /// What would hold without it, and without that, as far as it is set somewhere.
    pub beneath: Vec<(ConfigSource, String)>,
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

    /// Changes a topic's configuration or the defaults for all topics, or only checks that it could be.
    /// Keys that are not named keep their value.
    ///
    /// # Errors
    /// An unknown topic or broker; keys or values that are refused; other configuration of a broker, which is
    /// read when it starts.
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
        let record = match resource {
            ConfigResource::Topic(name) => self.topic_change(name, changes)?,
            ConfigResource::Broker(id) => {
                self.check_is_local(id)?;
                self.defaults_change(changes)?
            }
        };
        if validate_only || changes.is_empty() {
            return Ok(());
        }
        self.change_metadata(record).await
    }

    fn topic_change(
        &self,
        name: &str,
        changes: &[ConfigChange],
    ) -> Result<MetadataRecord, ServiceError> {
        let topic = self.topic_named(name)?;
        let changes = each_once(changes)?;
        for name in changes.keys() {
            check_is_not_fixed(&topic.name, name)?;
        }
        self.topic_config(&merged(&topic.configs, &changes))?;
        Ok(MetadataRecord::TopicConfigChanged(TopicConfigChanged {
            topic_id: topic.topic_id,
            changes,
        }))
    }

    /// Changed defaults for topics; every topic's own configs must go together with them.
    fn defaults_change(&self, changes: &[ConfigChange]) -> Result<MetadataRecord, ServiceError> {
        let of_topics: Result<Vec<_>, _> = changes.iter().map(of_topics).collect();
        let changes = each_once(&of_topics?)?;
        let image = self.quorum.image();
        let defaults = merged(image.topic_defaults(), &changes);
        let defaults = self.partitions.topic_defaults_with(&defaults);
        let defaults = defaults.map_err(|errors| invalid_config(&errors))?;
        let refused = |topic: &TopicImage| defaults.with_configs(&topic.configs).err();
        let refused = image
            .topics()
            .find_map(|topic| Some((topic, refused(topic)?)));
        if let Some((topic, errors)) = refused {
            let error = invalid_config(&errors);
            let message = format!("{} of topic {}", error.message, topic.name);
            return Err(ServiceError::new(error.code, message, error.hint));
        }
        let record = TopicDefaultsChanged { changes };
        Ok(MetadataRecord::TopicDefaultsChanged(record))
    }

    fn topic_entries(&self, name: &str) -> Result<Vec<ConfigEntry>, ServiceError> {
        let topic = self.topic_named(name)?;
        let config = self.partitions.topic_config(&topic);
        let entry = |key: &topic::TopicKey| {
            let value = config.value(key.name).unwrap_or(key.default).to_owned();
            let own = topic.configs.get(key.name);
            let own = own.map(|value| (ConfigSource::Topic, value.clone()));
            let layers = own.into_iter().chain(self.layers_of_default(key));
            topic_entry(key, key.name.to_owned(), value, layers)
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
                beneath: Vec::new(),
                default_value: unquoted((key.print)(&defaults)),
                documentation: key.documentation.join("").trim().to_owned(),
                name: path,
            }
        });
        let topic_defaults = self.partitions.topic_defaults();
        let topic_keys = topic::KEYS.iter().map(|key| {
            let value = topic_defaults.value(key.name).unwrap_or(key.default);
            let name = format!("{TOPIC_PREFIX}{}", key.name);
            topic_entry(key, name, value.to_owned(), self.layers_of_default(key))
        });
        keys.chain(topic_keys).collect()
    }

    /// Where a default for all topics is set, and to what, first what is in force.
    fn layers_of_default(
        &self,
        key: &topic::TopicKey,
    ) -> impl Iterator<Item = (ConfigSource, String)> + use<> {
        let image = self.quorum.image();
        let of_cluster = image.topic_defaults().get(key.name);
        let of_cluster = of_cluster.map(|value| (ConfigSource::Cluster, value.clone()));
        let own = match self.source(&format!("{TOPIC_PREFIX}{}", key.name)) {
            ConfigSource::Default => None,
            source => {
                let value = self.partitions.configured_defaults().value(key.name);
                value.map(|value| (source, value.to_owned()))
            }
        };
        of_cluster.into_iter().chain(own)
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
            format!("broker {} is not the one that answers", excerpt(id)),
            format!("ask for broker {local}, or ask the other broker itself"),
        ))
    }
}

/// A topic's key with the value in force, and where it is set, first where that comes from.
fn topic_entry(
    key: &topic::TopicKey,
    name: String,
    value: String,
    mut layers: impl Iterator<Item = (ConfigSource, String)>,
) -> ConfigEntry {
    ConfigEntry {
        name,
        value,
        source: layers
            .next()
            .map_or(ConfigSource::Default, |(source, _)| source),
        read_only: is_fixed(key),
        beneath: layers.collect(),
        default_value: key.default.to_owned(),
        documentation: key.documentation.to_owned(),
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

/// Whether a key takes its default only.
fn is_fixed(key: &topic::TopicKey) -> bool {
    matches!(key.support, topic::Support::DefaultOnly { .. })
}

/// A change of the broker's configuration as one of the topics' that it is the default of.
fn of_topics(change: &ConfigChange) -> Result<ConfigChange, ServiceError> {
    let name = change.name.strip_prefix(TOPIC_PREFIX).ok_or_else(|| {
        ServiceError::new(
            ErrorCode::InvalidConfig,
            "configuration of a broker cannot be changed while it runs",
            "change its configuration file and restart it; defaults for topics can be changed, topics.config.*",
        )
    })?;
    Ok(ConfigChange {
        name: name.to_owned(),
        value: change.value.clone(),
    })
}

/// The changes in the form in which they are stored, each key once.
fn each_once(changes: &[ConfigChange]) -> Result<BTreeMap<String, Option<String>>, ServiceError> {
    let mut checked_changes = BTreeMap::new();
    for change in changes {
        let (name, value) = checked(change)?;
        if checked_changes.insert(name.clone(), value).is_some() {
            return Err(ServiceError::invalid_request(
                format!("topic config {name} is changed twice"),
                "name each key once",
            ));
        }
    }
    Ok(checked_changes)
}

/// The configs once they are changed.
fn merged(
    configs: &BTreeMap<String, String>,
    changes: &BTreeMap<String, Option<String>>,
) -> BTreeMap<String, String> {
    let kept = configs
        .iter()
        .filter(|(name, _)| !changes.contains_key(*name));
    let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
    let set = changes.iter();
    let set = set.filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    kept.chain(set).collect()
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
    let hint = nearest.map_or_else(
        || "millstream configs describe shows every key".to_owned(),
        |name| format!("the nearest key is {name}"),
    );
    let message = format!("unknown config \"{}\"", excerpt(found));
    ServiceError::new(ErrorCode::InvalidConfig, message, hint)
}

/// Texts are shown without the quotes that TOML needs.
fn unquoted(toml: String) -> String {
    let inner = toml.strip_prefix('"').and_then(|s| s.strip_suffix('"'));
    inner.map_or_else(|| toml.clone(), str::to_owned)
}
