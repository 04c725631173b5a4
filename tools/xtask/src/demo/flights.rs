//! [`Flights`]: rows of a CSV file through a topic and back, compared byte for byte.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use serde::Deserialize;

/// A CSV file in memory. Its cells hold neither quotes nor line ends; that is checked.
pub(crate) struct Flights {
    text: String,
    columns: Vec<String>,
}

/// How to reach the broker through the command line.
pub(crate) struct Cli<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) server: &'a str,
}

/// What `millstream consume --format json` prints for a record.
#[derive(Deserialize)]
struct Consumed {
    key: Option<String>,
    value: String,
}

impl Flights {
    /// Reads a gzip file.
    ///
    /// # Errors
    /// When it cannot be read, is no UTF-8, or has quoted cells.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut text = String::new();
        GzDecoder::new(file).read_to_string(&mut text)?;
        if text.contains(['"', '\r']) {
            bail!("{} has quoted cells or CRLF line ends", path.display());
        }
        let header = text.lines().next().context("the file has no header")?;
        let columns = header.split(',').map(str::to_owned).collect();
        Ok(Self { text, columns })
    }

    /// The rows, without the header.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &str> {
        self.text.lines().skip(1)
    }

    /// The rows of every value of a column, in the order of the file.
    ///
    /// # Errors
    /// When there is no such column.
    pub(crate) fn by(&self, column: &str) -> Result<BTreeMap<&str, Vec<&str>>> {
        let index = self
            .columns
            .iter()
            .position(|name| name == column)
            .with_context(|| format!("no column {column}"))?;
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in self.rows() {
            let cell = row.split(',').nth(index).context("a row is too short")?;
            groups.entry(cell).or_default().push(row);
        }
        Ok(groups)
    }

    /// Streams the whole file through `millstream produce`.
    ///
    /// # Errors
    /// When the command fails.
    pub(crate) fn produce(&self, cli: &Cli<'_>, topic: &str, key: &str) -> Result<()> {
        let mut child = Command::new(cli.binary)
            .args(["produce", topic, "--format", "csv", "--key", key])
            .args(["--timestamp", "time_hour", "--server", cli.server])
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start millstream")?;
        let mut input = child.stdin.take().context("its input is piped")?;
        let written = thread::scope(|scope| {
            let writer = scope.spawn(move || input.write_all(self.text.as_bytes()));
            let status = child.wait();
            (writer.join(), status)
        });
        let status = written.1?;
        if !status.success() {
            bail!("millstream produce failed: {status}");
        }
        Ok(())
    }

    /// Reads the topic from its beginning and checks that every row came back byte for byte, and
    /// each key's rows in their order. Answers the first `shown` lines as the command printed them.
    ///
    /// # Errors
    /// When the command fails, or on the first difference.
    pub(crate) fn verify(
        &self,
        cli: &Cli<'_>,
        topic: &str,
        key: &str,
        shown: usize,
    ) -> Result<Vec<String>> {
        let mut child = Command::new(cli.binary)
            .args(["consume", topic, "--format", "json"])
            .args(["--server", cli.server])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start millstream")?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut first = Vec::with_capacity(shown);
        let mut got: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in BufReader::new(output).lines() {
            let line = line?;
            let record: Consumed = serde_json::from_str(&line)
                .with_context(|| format!("consume printed no JSON: {line}"))?;
            let key = record.key.unwrap_or_default();
            got.entry(key).or_default().push(record.value);
            if first.len() < shown {
                first.push(line);
            }
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("millstream consume failed: {status}");
        }
        compare(&self.by(key)?, &got)?;
        Ok(first)
    }
}

/// Fails with the first key whose rows differ.
fn compare(
    expected: &BTreeMap<&str, Vec<&str>>,
    got: &BTreeMap<String, Vec<String>>,
) -> Result<()> {
    for (key, rows) in expected {
        let came: &[String] = got.get(*key).map_or(&[], Vec::as_slice);
        if came.len() != rows.len() {
            bail!(
                "key {key}: {} rows in the file, {} read back",
                rows.len(),
                came.len()
            );
        }
        if let Some(at) = rows.iter().zip(came).position(|(row, came)| row != came) {
            bail!("key {key}: row {at} of that key came back different or out of order");
        }
    }
    if let Some(key) = got.keys().find(|key| !expected.contains_key(key.as_str())) {
        bail!("key {key} was read back but is not in the file");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flights() -> Flights {
        Flights {
            text: "day,carrier\n1,UA\n2,B6\n3,UA\n".to_owned(),
            columns: vec!["day".to_owned(), "carrier".to_owned()],
        }
    }

    fn read_back(rows: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        rows.iter()
            .map(|(key, rows)| {
                let rows = rows.iter().map(|row| (*row).to_owned()).collect();
                ((*key).to_owned(), rows)
            })
            .collect()
    }

    #[test]
    fn rows_are_grouped_by_key_in_the_order_of_the_file() {
        let flights = flights();
        let groups = flights.by("carrier").expect("a column");
        assert_eq!(groups["UA"], ["1,UA", "3,UA"]);
        assert_eq!(groups["B6"], ["2,B6"]);
        assert!(flights.by("nothing").is_err());
    }

    #[test]
    fn a_difference_in_count_bytes_order_or_keys_is_found() {
        let flights = flights();
        let expected = flights.by("carrier").expect("a column");
        let good: &[(&str, &[&str])] = &[("UA", &["1,UA", "3,UA"]), ("B6", &["2,B6"])];
        assert!(compare(&expected, &read_back(good)).is_ok());
        let bad: [&[(&str, &[&str])]; 4] = [
            &[("UA", &["1,UA"]), ("B6", &["2,B6"])],
            &[("UA", &["1,UA", "3,UA "]), ("B6", &["2,B6"])],
            &[("UA", &["3,UA", "1,UA"]), ("B6", &["2,B6"])],
            &[("UA", &["1,UA", "3,UA"]), ("B6", &["2,B6"]), ("", &["x"])],
        ];
        for rows in bad {
            assert!(compare(&expected, &read_back(rows)).is_err(), "{rows:?}");
        }
    }
}
