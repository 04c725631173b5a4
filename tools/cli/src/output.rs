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

/// Writes lines of data, in which names that somebody else chose are no more than text.
pub(crate) fn line(line: &str) -> Result<()> {
    write_line(&escaped(line, |letter| letter != '\n'))
}

fn write_line(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// What would move the cursor, change colours or turn the direction of text is written as an escape:
/// control characters (where `is_escaped` says so), and those of Unicode's bidirectional formatting.
pub(crate) fn escaped(text: &str, is_escaped: fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if turns || (letter.is_control() && is_escaped(letter)) {
            escaped.extend(letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// Writes data as indented JSON.
pub(crate) fn json(data: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(data).expect("our own structs have a JSON form");
    write_line(&text)
}

/// Writes rows under a header. Columns named in `numbers` (0-based) are aligned to the right.
pub(crate) fn table(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> Result<()> {
    write_line(&table_text(header, numbers, rows))
}

fn table_text(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> String {
    let cells = |row: Vec<String>| row.into_iter().map(|cell| escaped(&cell, |_| true));
    let rows = rows.into_iter().map(cells);
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
    fn names_of_others_are_text_in_a_table() {
        let hostile = "a\nb\u{1b}[2J\u{7}\u{202e}c".to_owned();
        let text = table_text(&["GROUP"], &[], vec![vec![hostile]]);
        assert_eq!(text, "GROUP\na\\nb\\u{1b}[2J\\u{7}\\u{202e}c");
    }

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
