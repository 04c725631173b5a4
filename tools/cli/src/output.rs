//! Standard output for data, standard error for talk.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::Result;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Columns for people
    Table,
    /// JSON for programs
    Json,
}

/// Writes a line of talk. Nobody listening is no error.
pub(crate) fn talk(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a line of data.
pub(crate) fn line(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// Writes data as indented JSON.
pub(crate) fn json(data: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(data).expect("our own structs have a JSON form");
    line(&text)
}

/// Writes rows under a header. Columns named in `numbers` (0-based) are aligned to the right.
pub(crate) fn table(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> Result<()> {
    line(&table_text(header, numbers, rows))
}

fn table_text(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header)
        .add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_aligned_columns_and_no_trailing_space() {
        let rows = vec![
            vec!["flights".to_owned(), "8".to_owned()],
            vec!["b".to_owned(), "12".to_owned()],
        ];
        let text = table_text(&["TOPIC", "PARTITIONS"], &[1], rows);
        let expected = "TOPIC    PARTITIONS\nflights           8\nb                12";
        assert_eq!(text, expected);
    }
}
