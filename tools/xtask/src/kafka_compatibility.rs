//! `cargo xtask kafka-compatibility`: what a fresh daemon answers to ApiVersions and DescribeConfigs, key by key
//! beside what Apache Kafka 4.3.1 answers (`tests/data/kafka-4.3.1-reference`), as a part of
//! `docs/kafka-compatibility.md`.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    config::daemon,
    document::Part,
    interop::{
        broker::Broker,
        wire::{ConfigKey, Resource, Wire},
    },
    refusal::Refusal,
};

const REFERENCE: &str = "tests/data/kafka-4.3.1-reference";
const PART: Part<'static> = Part {
    document: "docs/kafka-compatibility.md",
    command: "kafka-compatibility",
};
/// Values that are of the run and not of the daemon.
const OF_THE_RUN: &str = "(of the run)";

/// A key of the reference.
#[derive(Deserialize)]
struct Reference {
    name: String,
    value: Option<String>,
    read_only: bool,
}

/// Compares, and writes the part; with `check` only says whether it is up to date.
///
/// # Errors
/// When the daemon does not start or answer, or with `check` when the document says something else.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    let text = compare(root)?;
    if !check {
        return PART.write(root, &text);
    }
    if !PART.holds(root, &text)? {
        let error = format!("{} is not what the daemon answers", PART.document);
        return Err(Refusal::error(error, "cargo xtask kafka-compatibility"));
    }
    println!("{} is what the daemon answers", PART.document);
    Ok(())
}

fn compare(root: &Path) -> Result<String> {
    let folder = root.join("target/interop/kafka-compatibility");
    let broker = Broker::millstream_of_defaults(&daemon(root)?, &folder)?;
    let mut wire = Wire::connect(&broker.server)?;
    wire.create_topic("compared", 1, &[])?;
    let mut text = apis(root, &wire.api_versions()?)?;
    for (title, resource, name, file) in [
        ("Topic configuration", Resource::Topic, "compared", "topic"),
        ("Broker configuration", Resource::Broker, "1", "broker"),
        ("Group configuration", Resource::Group, "compared", "group"),
    ] {
        let reference = reference(root, file)?;
        let _ = write!(text, "\n### {title}\n\n");
        text += &match wire.describe_configs(resource, name)? {
            Ok(ours) => configs(&reference, &of_any_run(ours, &broker)),
            Err(refusal) => format!("Millstream answers {refusal}. {}", missing(&reference, &[])),
        };
    }
    broker.stop()?;
    Ok(text)
}

fn reference(root: &Path, name: &str) -> Result<Vec<Reference>> {
    let path = root.join(REFERENCE).join(format!("{name}-configs.json"));
    let text = fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&text)?)
}

/// Addresses and paths are another each time.
fn of_any_run(keys: Vec<ConfigKey>, broker: &Broker) -> Vec<ConfigKey> {
    let data_dir = broker.data_dir.to_string_lossy();
    let of_any_run = |mut key: ConfigKey| {
        let of_run = |value: &String| value.contains(&*data_dir) || value.contains(&broker.server);
        if key.value.as_ref().is_some_and(of_run) {
            key.value = Some(OF_THE_RUN.to_owned());
        }
        key
    };
    keys.into_iter().map(of_any_run).collect()
}

/// The table of APIs.
fn apis(root: &Path, ours: &[(i16, i16, i16)]) -> Result<String> {
    let path = root.join(REFERENCE).join("api-versions.txt");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let kafkas = text.lines().filter_map(api).collect::<Result<Vec<_>>>()?;
    let ours: BTreeMap<i16, (i16, i16)> = ours
        .iter()
        .map(|(key, first, last)| (*key, (*first, *last)))
        .collect();
    let mut table =
        "\n### APIs\n\n| API | Kafka 4.3.1 | Millstream | |\n|---|---|---|---|\n".to_owned();
    let mut unserved = Vec::new();
    for (name, key, kafka) in &kafkas {
        let Some(our) = ours.get(key) else {
            unserved.push(format!("{name} ({key})"));
            continue;
        };
        let verdict = if our == kafka { "same" } else { "**differs**" };
        let _ = writeln!(
            table,
            "| {name} ({key}) | {} | {} | {verdict} |",
            range(*kafka),
            range(*our)
        );
    }
    if let Some(key) = ours
        .keys()
        .find(|key| !kafkas.iter().any(|(_, kafka, _)| kafka == *key))
    {
        bail!("API {key} is served, and Kafka has none of that key");
    }
    let _ = writeln!(table, "\nNot served: {}.", unserved.join(", "));
    Ok(table)
}

/// An API's name, key, and first and last version.
type Api = (String, i16, (i16, i16));

/// A line like `Produce(0): 0 to 13 [usable: 13],`; `None` for one that names no API that is served.
fn api(line: &str) -> Option<Result<Api>> {
    let (api, rest) = line.trim().split_once("): ")?;
    let (name, key) = api.split_once('(')?;
    let (versions, _) = rest.split_once(" [usable")?;
    let (first, last) = versions.split_once(" to ").unwrap_or((versions, versions));
    let parsed = || -> Result<Api> {
        Ok((
            name.to_owned(),
            key.parse()?,
            (first.parse()?, last.parse()?),
        ))
    };
    Some(parsed().with_context(|| format!("{REFERENCE}: {line}")))
}

fn range((first, last): (i16, i16)) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

/// The table of one kind of configuration: what both have, what only Millstream has, what only Kafka has.
fn configs(reference: &[Reference], ours: &[ConfigKey]) -> String {
    let mut table = "| key | Kafka 4.3.1 | Millstream | |\n|---|---|---|---|\n".to_owned();
    let mut only_ours = Vec::new();
    for our in ours {
        let value = shown(our.value.as_deref());
        match reference.iter().find(|kafka| kafka.name == our.name) {
            None => only_ours.push(format!("`{}` = {value}", our.name)),
            Some(kafka) => {
                let kafkas = shown(kafka.value.as_deref());
                let verdict = verdict(kafka, our);
                let _ = writeln!(table, "| {} | {kafkas} | {value} | {verdict} |", our.name);
            }
        }
    }
    if !only_ours.is_empty() {
        let _ = writeln!(table, "\nOnly in Millstream: {}.", only_ours.join(", "));
    }
    table + "\n" + &missing(reference, ours)
}

fn verdict(kafka: &Reference, our: &ConfigKey) -> &'static str {
    let is_same =
        kafka.value.as_deref().unwrap_or_default() == our.value.as_deref().unwrap_or_default();
    match (is_same, kafka.read_only == our.read_only) {
        (true, true) => "same",
        (true, false) if our.read_only => "same, cannot be changed",
        (true, false) => "same, can be changed",
        (false, _) if our.value.as_deref() == Some(OF_THE_RUN) => "",
        (false, _) => "**differs**",
    }
}

/// What the reference has and `ours` does not.
fn missing(reference: &[Reference], ours: &[ConfigKey]) -> String {
    let missing: Vec<_> = reference
        .iter()
        .filter(|kafka| !ours.iter().any(|our| our.name == kafka.name))
        .map(|kafka| format!("`{}`", kafka.name))
        .collect();
    if missing.is_empty() {
        return "Every key of Kafka's is there.\n".to_owned();
    }
    format!(
        "Only in Kafka ({}): {}.\n",
        missing.len(),
        missing.join(", ")
    )
}

/// A value as a cell of a table.
fn shown(value: Option<&str>) -> String {
    match value {
        None | Some("") => "(empty)".to_owned(),
        Some(OF_THE_RUN) => OF_THE_RUN.to_owned(),
        Some(value) => format!("`{}`", value.replace('|', "\\|")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_apis_are_read_and_others_are_not() {
        let parsed = |line| api(line).map(|api| api.expect("numbers"));
        let produce = Some(("Produce".to_owned(), 0, (0, 13)));
        assert_eq!(parsed("\tProduce(0): 0 to 13 [usable: 13],"), produce);
        let delete = Some(("OffsetDelete".to_owned(), 47, (0, 0)));
        assert_eq!(parsed("\tOffsetDelete(47): 0 [usable: 0]"), delete);
        assert!(api("\tPushTelemetry(72): UNSUPPORTED,").is_none());
        assert!(api("broker:").is_none());
    }

    #[test]
    fn keys_are_compared_by_value_and_by_whether_they_can_be_changed() {
        let reference =
            [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")].map(|(name, value)| Reference {
                name: name.to_owned(),
                value: Some(value.to_owned()),
                read_only: false,
            });
        let ours = [
            ("a", "1", false),
            ("b", "1", false),
            ("c", "3", true),
            ("x", "", true),
        ];
        let ours = ours.map(|(name, value, read_only)| ConfigKey {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            read_only,
        });
        let text = configs(&reference, &ours);
        assert!(text.contains("| a | `1` | `1` | same |"), "{text}");
        assert!(text.contains("| b | `2` | `1` | **differs** |"), "{text}");
        assert!(
            text.contains("| c | `3` | `3` | same, cannot be changed |"),
            "{text}"
        );
        assert!(
            text.contains("Only in Millstream: `x` = (empty)."),
            "{text}"
        );
        assert!(text.contains("Only in Kafka (1): `d`."), "{text}");
    }
}
