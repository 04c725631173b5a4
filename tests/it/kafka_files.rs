//! Kafka's own files, read by us, are what Kafka's DumpLogSegments once printed of them.

use anyhow::Result;
use millstream_tests::{KafkaDump, binary};

/// Partitions whose records Kafka printed decoded, as JSON: compared by batch and record header.
const DECODED: [&str; 2] = ["__consumer_offsets-0", "__transaction_state-0"];

fn partitions() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(binary::data("kafka-4.3.1-log"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name
            .rsplit_once('-')
            .is_some_and(|(_, partition)| partition.parse::<u32>().is_ok())
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn printed(name: &str) -> Result<String> {
    let path = binary::data("kafka-4.3.1-log/dump").join(name);
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

/// First difference, so that a failure does not print whole files.
fn assert_same(found: &str, expected: &str, what: &str) {
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{what}, line {}", number + 1);
    }
    assert_eq!(
        found.lines().count(),
        expected.lines().count(),
        "{what}: lines"
    );
}

#[test]
fn logs_are_read_as_kafka_printed_them() -> Result<()> {
    let partitions = partitions()?;
    assert_eq!(partitions.len(), 17);
    for name in partitions {
        let dir = binary::data("kafka-4.3.1-log").join(&name);
        let with_data = !DECODED.contains(&name.as_str());
        let dump = KafkaDump {
            dir: &dir,
            with_data,
        };
        let mut expected = printed(&format!("{name}.txt"))?;
        if !with_data {
            expected = without_data(&expected);
        }
        assert_same(&dump.text(&dump.names(true)?)?, &expected, &name);
    }
    Ok(())
}

/// Cuts what follows the header keys off record lines.
fn without_data(text: &str) -> String {
    let cut = |line: &str| match line.find(" headerKeys: [") {
        Some(at) if line.starts_with('|') => {
            let end = line[at..].find(']').map_or(line.len(), |end| at + end + 1);
            line[..end].to_owned()
        }
        _ => line.to_owned(),
    };
    text.lines().map(|line| cut(line) + "\n").collect()
}

#[test]
fn indexes_and_snapshots_are_read_as_kafka_printed_them() -> Result<()> {
    for name in partitions()? {
        let dir = binary::data("kafka-4.3.1-log").join(&name);
        let dump = KafkaDump {
            dir: &dir,
            with_data: false,
        };
        let expected = printed(&format!("{name}.index.txt"))?;
        assert_same(&dump.text(&dump.names(false)?)?, &expected, &name);
    }
    Ok(())
}
