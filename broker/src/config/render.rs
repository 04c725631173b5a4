//! Prints configurations: `--print-config`, and the file that documents every key.

use std::fmt::Write as _;

use super::{
    Config, KEYS, SECTIONS,
    load::{Loaded, TOPIC_PREFIX},
    topic::{self, Kind, Support, TopicKey},
};

/// Every key with its value and where it comes from, one per line, as `--print-config` shows it.
#[must_use]
pub fn effective(loaded: &Loaded) -> String {
    let mut out = String::new();
    for key in KEYS {
        let path = key.path();
        let value = (key.print)(&loaded.config);
        line(&mut out, &path, &value, loaded.source(&path));
    }
    for key in topic::KEYS {
        let value = loaded.config.topic_config.value(key.name);
        let value = topic_value(key, value.unwrap_or_default());
        let source = loaded.source(&format!("{TOPIC_PREFIX}{}", key.name));
        line(
            &mut out,
            &format!("{TOPIC_PREFIX}{:?}", key.name),
            &value,
            source,
        );
    }
    out
}

fn line(out: &mut String, path: &str, value: &str, source: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{path} = {value}  # {source}");
}

/// The documented configuration file with every default.
#[must_use]
pub fn documented_defaults() -> String {
    let config = Config::default();
    let mut out = String::from(
        "# Every key of millstreamd with its default.\n\
         #\n\
         # Precedence: defaults < this file (--config) < MILLSTREAM__SECTION__KEY < --set section.key=value.\n\
         # Sizes have a unit: B, KiB, MiB, GiB, TiB. Durations have one, too: ms, s, m, h, d.\n\
         # millstreamd --print-config shows each value and where it comes from; --check validates.\n",
    );
    for (section, documentation) in SECTIONS {
        out.push('\n');
        comment(&mut out, documentation);
        if !section.is_empty() {
            let _ = writeln!(out, "[{section}]");
        }
        for key in KEYS.iter().filter(|key| key.section == *section) {
            out.push('\n');
            comment(&mut out, key.documentation);
            let _ = writeln!(out, "{} = {}", key.name, (key.print)(&config));
        }
    }
    topics(&mut out);
    out
}

fn topics(out: &mut String) {
    out.push_str(
        "\n# Configuration of topics that do not set it themselves, under Kafka's names and with\n\
         # Kafka's defaults. A topic sets its own: millstream topics create NAME --config KEY=VALUE.\n\
         # What is changed while a broker runs goes before this:\n\
         # millstream configs alter --broker --set topics.config.KEY=VALUE.\n\
         [topics.config]\n",
    );
    for key in topic::KEYS {
        let _ = writeln!(
            out,
            "\n# {}. Takes {}.",
            capitalized(key.documentation),
            key.kind
        );
        if let Support::DefaultOnly { reason } = key.support {
            let _ = writeln!(out, "# Only the default is accepted: {reason}.");
        }
        let _ = writeln!(out, "{:?} = {}", key.name, topic_value(key, key.default));
    }
}

/// Numbers and booleans stand bare, everything else in quotes.
fn topic_value(key: &TopicKey, value: &str) -> String {
    match key.kind {
        Kind::Whole { .. } | Kind::Ratio | Kind::Bool => value.to_owned(),
        Kind::OneOf(_) | Kind::ListOf(_) | Kind::Text => format!("{value:?}"),
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(out, "#{line}");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use millstream_log::io::{DiskIo, LogIo, OpenMode};

    use super::*;
    use crate::{args::Args, config::load};

    fn documented_file() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/millstreamd.toml")
    }

    /// Run with `MILLSTREAM_WRITE_CONFIG=1` to write the file anew.
    #[test]
    fn the_documented_file_is_what_the_code_says() {
        let path = documented_file();
        let expected = documented_defaults();
        if std::env::var_os("MILLSTREAM_WRITE_CONFIG").is_some() {
            let file = DiskIo.open(&path, OpenMode::Create).expect("writable");
            file.set_len(0).expect("writable");
            let bytes = std::io::IoSlice::new(expected.as_bytes());
            file.write_all_at(&[bytes], 0).expect("writable");
        }
        let file = DiskIo.open(&path, OpenMode::Read).expect("it is there");
        let mut bytes = vec![0; usize::try_from(file.len().expect("known")).expect("small")];
        file.read_exact_at(&mut bytes, 0).expect("readable");
        assert_eq!(String::from_utf8(bytes).expect("text"), expected);
    }

    #[test]
    fn the_documented_file_loads_to_the_defaults_and_names_every_key() {
        let args = Args {
            config: Some(documented_file()),
            ..Args::default()
        };
        let loaded = load::load(&args, [], &DiskIo).expect("valid");
        assert_eq!(loaded.config, Config::default());
        assert_eq!(loaded.sources.len(), KEYS.len() + topic::KEYS.len());
    }

    #[test]
    fn every_key_is_documented() {
        for key in KEYS {
            let text = key.documentation.concat();
            assert!(
                text.len() > 10 && text.ends_with('.'),
                "{}: {text:?}",
                key.path()
            );
        }
    }
}
