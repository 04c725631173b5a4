//! Clients of Kafka, unchanged, against this broker. The long matrix is documented in
//! `docs/kafka-compatibility.md`.

use std::process::Command;

use anyhow::{Context as _, Result};
use millstream_tests::{
    DaemonOptions, binary,
    python::{self, run},
};

#[test]
fn python_clients_of_kafka_produce_with_every_codec_and_read_each_other() -> Result<()> {
    let folder = binary::repository().join("tests/interop/kafka_python");
    let python = python::with(&folder.join("requirements.txt"))?;
    let daemon = DaemonOptions::default()
        .set("groups.initial_rebalance_delay", "0s")
        .start()?;
    let report = run(Command::new(python)
        .arg(folder.join("matrix.py"))
        .args(["--server", &daemon.kafka().to_string()]))
    .with_context(|| daemon.log_tail())?;
    println!("{report}");
    let cells: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&report)?;
    let failed: Vec<_> = cells.iter().filter(|(_, result)| *result != "ok").collect();
    assert!(failed.is_empty(), "{failed:#?}\n{}", daemon.log_tail());
    // Three clients with five codecs, four ways to read each of the three.
    assert_eq!(cells.len(), 3 * 5 + 4 * 3, "{report}");
    Ok(())
}
