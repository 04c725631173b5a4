//! [`from_env`]: the file system that `MILLSTREAM_TEST_IO` asks for, in builds with test hooks.
//!
//! The variable is a list, separated by commas:
//!
//! | item | effect |
//! |---|---|
//! | `record:PATH` | every operation goes into a new trace file at PATH |
//! | `delay:100x`, `delay:5000us` | every write and flush takes a hundred times as long; 5 ms more |
//! | `skip-fdatasync:PART` | files whose path contains PART are never flushed, and nobody is told |
//! | `skip-dir-fsync:PART` | the same for the entries of directories (PART may be empty) |
//! | `fail:OPERATION:ERROR:PART[:NTH]` | such operations at such paths fail from the NTH (1) on; ERROR is eio, enospc or panic, with `only-` before it the NTH alone fails |
//!
//! What is skipped or fails is not recorded: the trace holds what reached the disk.

use std::{io, path::Path, sync::Arc, time::Duration};

use super::{Action, DiskIo, FaultIo, LogIo, Operation, RecordingIo, Rule, When};

const VARIABLE: &str = "MILLSTREAM_TEST_IO";
/// What a slow disk is slow at.
const DELAYED: [Operation; 5] = [
    Operation::Write,
    Operation::Allocate,
    Operation::SetLen,
    Operation::SyncData,
    Operation::SyncDir,
];

/// The file system that the process is to use.
///
/// # Errors
/// `InvalidInput` when `MILLSTREAM_TEST_IO` cannot be understood; those of creating the trace.
pub fn from_env() -> io::Result<Arc<dyn LogIo>> {
    match std::env::var(VARIABLE) {
        Ok(text) => parse(&text),
        Err(std::env::VarError::NotPresent) => Ok(Arc::new(DiskIo)),
        Err(error) => Err(invalid(&error.to_string())),
    }
}

fn invalid(item: &str) -> io::Error {
    let reason = format!("{VARIABLE}: cannot understand {item:?}");
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

fn parse(text: &str) -> io::Result<Arc<dyn LogIo>> {
    let mut base: Arc<dyn LogIo> = Arc::new(DiskIo);
    let mut rules = Vec::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        match item.strip_prefix("record:") {
            Some(path) => base = Arc::new(RecordingIo::create(DiskIo, Path::new(path))?),
            None => rules.push(rule(item).ok_or_else(|| invalid(item))?),
        }
    }
    if rules.is_empty() {
        return Ok(base);
    }
    let faulty = FaultIo::new(base);
    for rule in rules {
        faulty.inject(rule);
    }
    Ok(Arc::new(faulty))
}

fn rule(item: &str) -> Option<Rule> {
    let (name, argument) = item.split_once(':')?;
    match name {
        "delay" => Some(Rule::new(&DELAYED, delay(argument)?)),
        "skip-fdatasync" => {
            Some(Rule::new(&[Operation::SyncData], Action::Skip).at_path_with(argument))
        }
        "skip-dir-fsync" => {
            Some(Rule::new(&[Operation::SyncDir], Action::Skip).at_path_with(argument))
        }
        "fail" => failure(argument),
        _ => None,
    }
}

fn delay(argument: &str) -> Option<Action> {
    if let Some(factor) = argument.strip_suffix('x') {
        return Some(Action::Slow(factor.parse().ok()?));
    }
    let micros = argument.strip_suffix("us")?.parse().ok()?;
    Some(Action::Delay(Duration::from_micros(micros)))
}

fn failure(argument: &str) -> Option<Rule> {
    let mut parts = argument.split(':');
    let operation = Operation::by_name(parts.next()?)?;
    let error = parts.next()?;
    let path_part = parts.next()?;
    let nth = parts.next().unwrap_or("1").parse().ok()?;
    let (error, when) = match error.strip_prefix("only-") {
        Some(error) => (error, When::Nth(nth)),
        None => (error, When::From(nth)),
    };
    let action = match error {
        "eio" => Action::Fail(libc::EIO),
        "enospc" => Action::Fail(libc::ENOSPC),
        "panic" => Action::Panic,
        _ => return None,
    };
    let rule = Rule::new(&[operation], action)
        .at_path_with(path_part)
        .when(when);
    parts.next().is_none().then_some(rule)
}

#[cfg(test)]
mod tests {
    //! Every item, and what is no item.

    use super::*;
    use crate::io::{OpenMode, Trace};
    use std::io::IoSlice;

    #[test]
    fn items_are_understood_or_refused_by_name() {
        for good in [
            "",
            "delay:100x",
            "delay:5000us,skip-fdatasync:a",
            "skip-dir-fsync:",
            "fail:sync-data:eio:.log",
            "fail:write:only-enospc:a:3",
            "fail:open:panic:a",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "delay:5",
            "delay:x",
            "skip-fdatasync",
            "fail:write:eio",
            "fail:wrote:eio:a",
            "fail:write:erofs:a",
            "fail:write:eio:a:b",
            "fail:write:eio:a:1:2",
            "sleep:1",
        ] {
            let error = parse(bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{bad}");
            assert!(error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn skipped_flush_is_not_in_the_trace() {
        let dir = tempfile::TempDir::new().unwrap();
        let trace = dir.path().join("trace");
        let io = parse(&format!("record:{},skip-fdatasync:.log", trace.display())).unwrap();
        for name in ["a.log", "a.index"] {
            let file = io.open(&dir.path().join(name), OpenMode::Create).unwrap();
            file.write_all_at(&[IoSlice::new(b"x")], 0).unwrap();
            file.sync_data().unwrap();
        }
        assert_eq!(Trace::read(&trace).unwrap().len(), 5);
    }
}
