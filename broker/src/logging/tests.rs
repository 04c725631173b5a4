//! What lines look like, and which are left out.

use std::io;

use super::*;

/// Collects what is written.
#[derive(Debug, Clone, Default)]
struct Collected(Arc<Mutex<Vec<u8>>>);

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Collected {
    /// The lines without their time, which takes 27 characters in text.
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("no panic").clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines()
            .map(|line| line[27..].trim().to_owned())
            .collect()
    }
}

fn logger(format: LogFormat) -> (Collected, Logger) {
    let collected = Collected::default();
    let config = Logs {
        format,
        ..Logs::default()
    };
    let logger = Logger::new(&config, Box::new(collected.clone()));
    (collected, logger)
}

fn log_with(logger: &Logger, act: impl FnOnce()) {
    tracing::subscriber::with_default(Registry::default().with(logger.clone()), act);
}

#[test]
fn text_lines_have_level_target_message_and_fields() {
    let (collected, logger) = logger(LogFormat::Text);
    log_with(&logger, || {
        tracing::warn!(target: "place", topic = "a b", count = 3, "topic is odd");
        tracing::debug!("not shown at level info");
    });
    assert_eq!(
        collected.lines(),
        ["WARN place: topic is odd topic=\"a b\" count=3"]
    );
}

#[test]
fn json_lines_are_objects() {
    let (collected, logger) = logger(LogFormat::Json);
    log_with(
        &logger,
        || tracing::error!(target: "place", path = "x\"y", bytes = 7, ratio = 0.5, "broke"),
    );
    let bytes = collected.0.lock().expect("no panic").clone();
    let object: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(object["message"], "broke");
    assert_eq!(object["path"], "x\"y");
    assert_eq!(object["level"], "ERROR");
    assert_eq!(
        (&object["bytes"], &object["ratio"]),
        (&7.into(), &0.5.into())
    );
}

#[test]
fn hostile_bytes_stay_on_their_line_and_are_cut() {
    let (collected, logger) = logger(LogFormat::Text);
    let hostile = format!("x\r\nERROR forged \u{1b}[31m{}", "a".repeat(10_000));
    log_with(
        &logger,
        || tracing::info!(target: "p", name = %hostile, "refused"),
    );
    let lines = collected.lines();
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].starts_with("INFO p: refused name=\"x\\r\\nERROR forged \\u{1b}[31maaa"),
        "{}",
        lines[0]
    );
    assert!(lines[0].len() < FIELD_CHARS_MAX + 100);
}

#[test]
fn a_repeated_line_is_written_once_and_then_with_a_count() {
    let (collected, logger) = logger(LogFormat::Text);
    log_with(&logger, || {
        for _ in 0..50 {
            tracing::warn!(target: "p", "disk is full");
        }
        tracing::warn!(target: "p", "something else");
    });
    assert_eq!(
        collected.lines(),
        ["WARN p: disk is full", "WARN p: something else"]
    );
    logger.report_repeats(Instant::now() + logger.repeat_interval());
    assert_eq!(collected.lines()[2..], ["WARN p: disk is full left_out=49"]);
}

#[test]
fn one_place_cannot_flood_with_lines_that_differ() {
    let (collected, logger) = logger(LogFormat::Text);
    let total = 5 * u64::from(PLACE_LINES_MAX);
    log_with(&logger, || {
        for number in 0..total {
            tracing::warn!(target: "p", number, "connection refused");
        }
    });
    assert_eq!(collected.lines().len(), PLACE_LINES_MAX as usize);
    logger.report_repeats(Instant::now() + logger.repeat_interval());
    let left_out = total - u64::from(PLACE_LINES_MAX);
    let last = collected.lines().pop().expect("a line");
    assert!(last.ends_with(&format!("left_out={left_out}")), "{last}");
}
