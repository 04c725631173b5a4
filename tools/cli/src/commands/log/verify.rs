//! `millstream log verify PATH`.

use std::path::PathBuf;

use millstream_log::{
    inspect::{Finding, Report, VerifyOptions, verify},
    io::DiskIo,
};
use serde_json::json;

use super::unreadable;
use crate::{
    failure::{Outcome, Result},
    output::{self, OutputFormat},
    quantity::{bytes, counted},
};

/// Options of `log verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
PATH is a data directory, a partition's directory, or a file of a segment; Kafka's are read too. The \
exit code is 0 when nothing is wrong and 1 when something is. Nothing is written. The end of a log that \
a running broker writes to may look torn.

Examples:
  millstream log verify millstream-data
  millstream log verify --compacted some/kafka/logs/topic-0")]
pub(crate) struct Options {
    /// What to verify
    path: PathBuf,
    /// Accept missing offsets where nothing on disk says whether the log is compacted
    #[arg(long)]
    compacted: bool,
    /// Only check whole batches: decompress and decode no record
    #[arg(long)]
    no_records: bool,
}

/// Verifies the path; damage is a negative answer.
pub(crate) fn run(options: &Options, format: OutputFormat) -> Result<Outcome> {
    let verify_options = VerifyOptions {
        assume_compacted: options.compacted,
        decode_records: !options.no_records,
    };
    let report = verify(&DiskIo, &options.path, verify_options).map_err(|e| unreadable(&e))?;
    match format {
        OutputFormat::Json => output::json(&to_json(&report))?,
        OutputFormat::Table => print(&report)?,
    }
    Ok(if report.is_intact() {
        Outcome::Positive
    } else {
        Outcome::Negative
    })
}

fn print(report: &Report) -> Result<()> {
    for finding in &report.findings {
        output::line(&format!("damaged: {finding}"))?;
    }
    if report.findings_dropped > 0 {
        let more = counted(report.findings_dropped, "finding");
        output::line(&format!("... and {more} more"))?;
    }
    let seen = format!(
        "{}, {}, {}, {}, {} of log, {}",
        counted(report.partitions, "partition"),
        counted(report.segments, "segment"),
        counted(report.batches, "batch").replace("batchs", "batches"),
        counted(report.records, "record"),
        bytes(report.log_bytes),
        counted(report.other_files, "other file"),
    );
    let verdict = match report.findings.len() as u64 + report.findings_dropped {
        0 => "nothing is wrong".to_owned(),
        found => counted(found, "finding"),
    };
    output::line(&format!("{seen}: {verdict}"))
}

fn to_json(report: &Report) -> serde_json::Value {
    let findings: Vec<_> = report.findings.iter().map(finding_json).collect();
    json!({
        "intact": report.is_intact(),
        "partitions": report.partitions,
        "segments": report.segments,
        "batches": report.batches,
        "records": report.records,
        "log_bytes": report.log_bytes,
        "other_files": report.other_files,
        "stale_bytes": report.stale_bytes,
        "findings": findings,
        "findings_dropped": report.findings_dropped,
    })
}

fn finding_json(finding: &Finding) -> serde_json::Value {
    json!({
        "file": finding.file.display().to_string(),
        "position": finding.position,
        "offset": finding.offset.map(millstream_proto::Offset::get),
        "reason": finding.reason,
    })
}
