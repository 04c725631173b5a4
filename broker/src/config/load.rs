//! Loads the configuration: defaults < file < environment < flags, and reports all problems at once.
//!
//! File: TOML sections. Environment: `MILLSTREAM__SECTION__KEY`. Flags: `--set section.key=value`,
//! `--data-dir`. Topic defaults are `topics.config."retention.ms"` in a file or flag, and
//! `MILLSTREAM__TOPICS__CONFIG__RETENTION_MS` in the environment.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use millstream_log::io::{LogIo, OpenMode};
use toml::{Table, Value as Toml};

use super::{
    Config, KEYS, Key, nearest,
    topic::{self, TopicConfig},
};
use crate::{args::Args, error::Refusal};

/// Where the topic defaults stand.
pub(super) const TOPIC_PREFIX: &str = "topics.config.";

/// How environment variables of the configuration begin.
const ENVIRONMENT_PREFIX: &str = "MILLSTREAM__";

/// Where every key is listed.
const HINT_ALL_KEYS: &str = "see millstreamd --print-config for every key";

/// Largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The code.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable of that name.
    Environment(String),
    /// A flag, as it was given.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A configuration and where each of its values comes from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// By path of the key (`limits.topics_max`, `topics.config.retention.ms`); defaults are left out.
    pub sources: BTreeMap<String, Source>,
}

impl Loaded {
    /// Where a key's value comes from.
    #[must_use]
    pub fn source(&self, path: &str) -> &Source {
        self.sources.get(path).unwrap_or(&Source::Default)
    }
}

/// Loads everything. `environment` is what `std::env::vars` gives; other variables are left alone.
///
/// # Errors
/// Every problem found, in the order file, environment, flags, contradictions.
pub fn load(
    args: &Args,
    environment: impl IntoIterator<Item = (String, String)>,
    io: &dyn LogIo,
) -> Result<Loaded, Vec<Refusal>> {
    let mut loader = Loader::default();
    if let Some(path) = &args.config {
        loader.file(path, io);
    }
    loader.environment(environment);
    loader.flags(args);
    loader.finish()
}

#[derive(Default)]
struct Loader {
    loaded: Loaded,
    topic_overrides: BTreeMap<&'static str, String>,
    problems: Vec<Refusal>,
}

impl Loader {
    fn file(&mut self, path: &Path, io: &dyn LogIo) {
        let text = match read(path, io) {
            Ok(text) => text,
            Err(error) => {
                return self.problem(
                    format!("cannot read configuration file {}: {error}", path.display()),
                    "pass --config with a file that exists, or leave it out for the defaults",
                );
            }
        };
        self.text(&text, &Source::File(path.to_path_buf()));
    }

    fn text(&mut self, text: &str, source: &Source) {
        match text.parse::<Table>() {
            Ok(table) => self.table("", &table, source),
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(text, span.start));
                let message = error.message();
                self.problem(
                    format!("{source} is no TOML at line {line}: {message}"),
                    "write keys as key = value below their [section]",
                );
            }
        }
    }

    /// `prefix` is empty or ends with a dot.
    fn table(&mut self, prefix: &str, table: &Table, source: &Source) {
        for (name, value) in table {
            let path = format!("{prefix}{name}");
            match value {
                Toml::Table(inner) => self.table(&format!("{path}."), inner, source),
                value => self.toml(&path, value, source),
            }
        }
    }

    fn toml(&mut self, path: &str, value: &Toml, source: &Source) {
        if let Some(name) = path.strip_prefix(TOPIC_PREFIX) {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            return self.topic(name, &text, source);
        }
        let Some(key) = self.known(path, source) else {
            return;
        };
        if (key.set_toml)(&mut self.loaded.config, value) {
            self.note(path, source);
        } else {
            self.bad_value(key, &value.to_string(), source);
        }
    }

    fn set(&mut self, path: &str, text: &str, source: &Source) {
        if let Some(name) = path.strip_prefix(TOPIC_PREFIX) {
            return self.topic(name.trim_matches('"'), text, source);
        }
        let Some(key) = self.known(path, source) else {
            return;
        };
        if (key.set_text)(&mut self.loaded.config, text) {
            self.note(path, source);
        } else {
            self.bad_value(key, &format!("{text:?}"), source);
        }
    }

    fn topic(&mut self, name: &str, text: &str, source: &Source) {
        match topic::check(name, text) {
            Ok((name, value)) => {
                self.topic_overrides.insert(name, value);
                self.note(&format!("{TOPIC_PREFIX}{name}"), source);
            }
            Err(error) => {
                let hint = match &error {
                    topic::TopicConfigError::UnknownKey { .. } => HINT_ALL_KEYS.to_owned(),
                    _ => format!("change or remove it in {source}"),
                };
                self.problem(format!("{error}, set by {source}"), hint);
            }
        }
    }

    fn environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let ours = environment
            .into_iter()
            .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX));
        for (name, value) in ours.collect::<BTreeMap<_, _>>() {
            let path = name
                .trim_start_matches(ENVIRONMENT_PREFIX)
                .to_ascii_lowercase()
                .replace("__", ".");
            let path = match path.strip_prefix(TOPIC_PREFIX) {
                Some(topic_key) => format!("{TOPIC_PREFIX}{}", topic_key.replace('_', ".")),
                None => path,
            };
            self.set(&path, &value, &Source::Environment(name));
        }
    }

    fn flags(&mut self, args: &Args) {
        for assignment in &args.set {
            let source = Source::Flag(format!("--set {assignment}"));
            match assignment.split_once('=') {
                Some((path, value)) => self.set(path.trim(), value.trim(), &source),
                None => self.problem(
                    format!("--set {assignment} has no value"),
                    "write it as --set section.key=value",
                ),
            }
        }
        if let Some(data_dir) = &args.data_dir {
            let text = data_dir.to_string_lossy();
            self.set("data_dir", &text, &Source::Flag("--data-dir".into()));
        }
    }

    fn finish(mut self) -> Result<Loaded, Vec<Refusal>> {
        let overrides = self.topic_overrides.iter();
        let overrides = overrides.map(|(name, value)| (*name, value.as_str()));
        match TopicConfig::default().with_overrides(overrides) {
            Ok(topic_config) => self.loaded.config.topic_config = topic_config,
            Err(errors) => errors.into_iter().for_each(|error| {
                self.problem(error.to_string(), "change one of the two topic defaults");
            }),
        }
        self.problems.extend(super::check::check(&self.loaded));
        if self.problems.is_empty() {
            Ok(self.loaded)
        } else {
            Err(self.problems)
        }
    }

    fn known(&mut self, path: &str, source: &Source) -> Option<&'static Key> {
        let found = KEYS.iter().find(|key| key.path() == path);
        if found.is_none() {
            let paths: Vec<String> = KEYS.iter().map(Key::path).collect();
            let hint = nearest(path, paths.iter().map(String::as_str)).map_or_else(
                || HINT_ALL_KEYS.to_owned(),
                |nearest| format!("did you mean {nearest}?"),
            );
            self.problem(format!("unknown key {path:?} in {source}"), hint);
        }
        found
    }

    fn bad_value(&mut self, key: &Key, found: &str, source: &Source) {
        let default = (key.print)(&Config::default());
        self.problem(
            format!(
                "{} is {found}, expected {}, set by {source}",
                key.path(),
                key.expected
            ),
            format!("the default is {default}"),
        );
    }

    fn note(&mut self, path: &str, source: &Source) {
        self.loaded.sources.insert(path.to_owned(), source.clone());
    }

    fn problem(&mut self, what: impl AsRef<str>, hint: impl AsRef<str>) {
        self.problems.push(Refusal::new(what, hint));
    }
}

fn read(path: &Path, io: &dyn LogIo) -> io::Result<String> {
    if io.metadata(path)?.is_dir {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let file = io.open(path, OpenMode::Read)?;
    let length = file.len()?;
    if length > FILE_BYTES_MAX {
        let text = format!("it has {length} bytes, at most {FILE_BYTES_MAX} are read");
        return Err(io::Error::other(text));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

fn line_of(text: &str, position: usize) -> usize {
    let before = text.bytes().take(position);
    1 + before.filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests;
