//! F7 with the real binaries: a bit flips in a file of a stopped broker. `log verify` reports it;
//! the broker serves right bytes or an error, or does not start and says why.
//!
//! `MILLSTREAM_BIT_FLIPS` makes it longer, `MILLSTREAM_BIT_FLIP_SEED` repeats a run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use millstream_log::{
    AppendContext, DataDirectory, LogConfig, LogLimits, Origin, PartitionLog, io::DiskIo,
};
use millstream_proto::{
    LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicName, TopicPartition,
    record::{
        BatchOptions, ProducerIdentity,
        control::{EndTransactionMarker, TransactionResult},
    },
};
use millstream_tests::{
    DaemonOptions, Native, native,
    numbered::{Numbered, copy_directory, verify},
    scale,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

const FLIPS: u64 = 30;
const BATCHES: u64 = 40;
const RECORDS_PER_BATCH: u64 = 500;
const TOPIC: &str = "flipped";
const TIME_MS: i64 = 2_000_000;
/// Every kind of file, by extension, name or directory; each is flipped as often as the others.
const KINDS: [&str; 15] = [
    "log",
    "index",
    "timeindex",
    "txnindex",
    "snapshot",
    "producers",
    "leader-epochs",
    "leader-epoch-checkpoint",
    "manifest",
    "partition.metadata",
    "recovery-points",
    "clean-shutdown",
    "identity",
    "metadata-witness",
    METADATA,
];
const METADATA: &str = "metadata";

/// A data directory with three segments, the last one with an aborted transaction; cleanly stopped.
async fn written(directory: &Path) -> Result<Numbered> {
    let mut daemon = DaemonOptions::default().data_dir(directory).start()?;
    let client = Native::connect(daemon.native()).await?;
    let small = [("segment.bytes", "1048576")];
    let topic = Numbered::create(&client, TOPIC, 1, RECORDS_PER_BATCH, &small).await?;
    topic.write(&client, 0, 0..BATCHES).await?;
    ensure!(
        client.offsets(TOPIC, 0).await?.segments >= 3,
        "several segments"
    );
    ensure!(daemon.terminate()?.success(), "SIGTERM stops it");
    abort_transaction(directory, &topic)?;
    Ok(topic)
}

/// Appends a transaction that is aborted to the log of a stopped broker, as a coordinator would.
fn abort_transaction(directory: &Path, topic: &Numbered) -> Result<()> {
    let limits = LogLimits {
        flush_threads_max: 0,
        ..LogLimits::default()
    };
    let boot_id = DataDirectory::read_boot_id(&DiskIo)?;
    let data = DataDirectory::open(Arc::new(DiskIo), directory, limits, boot_id)?;
    let partition = TopicPartition {
        topic: TopicName::new(TOPIC)?,
        partition: PartitionIndex(0),
    };
    let topic_id = TopicId::from_bytes(topic.topic_id.as_ref().try_into()?);
    let config = Arc::new(LogConfig::default());
    let (log, _) = PartitionLog::open(&data, partition.clone(), topic_id, config, TIME_MS)?;
    let leader_epoch = LeaderEpoch(0);
    let context = |origin| AppendContext {
        leader_epoch,
        now_ms: TIME_MS,
        origin,
    };
    let identity = ProducerIdentity {
        id: ProducerId(1 << 40),
        epoch: ProducerEpoch(0),
        base_sequence: 0,
    };
    let options = BatchOptions {
        producer: Some(identity),
        is_transactional: true,
        ..BatchOptions::default()
    };
    let batch = native::batch(options, TIME_MS, [b"aborted"]);
    log.append(batch, &context(Origin::Client))?;
    let marker = EndTransactionMarker::new(TransactionResult::Abort, 0);
    let marker = marker.to_batch(TIME_MS, identity.id, identity.epoch, leader_epoch)?;
    log.append(marker, &context(Origin::Coordinator))?;
    let closed = log.close()?;
    Ok(data.shut_down(1, &[(partition, closed)])?)
}

/// The files of this kind that hold anything.
fn files(directory: &Path, kind: &str) -> Result<Vec<PathBuf>> {
    let partition = directory.join(format!("{TOPIC}-0"));
    let metadata = directory.join(METADATA);
    let mut found = Vec::new();
    for (within, is_metadata) in [(directory, false), (&*partition, false), (&*metadata, true)] {
        for entry in fs::read_dir(within)? {
            let path = entry?.path();
            let is_wanted = if is_metadata {
                kind == METADATA
            } else {
                [path.extension(), path.file_name()].contains(&Some(kind.as_ref()))
            };
            if is_wanted && path.is_file() && path.metadata()?.len() > 0 {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Records that a broker on the directory serves, all of them right; none where it does not start.
async fn served(directory: &Path, topic: &Numbered) -> Result<u64> {
    let daemon = match DaemonOptions::default().data_dir(directory).start() {
        Ok(daemon) => daemon,
        Err(error) => {
            let text = error.to_string();
            let is_refusal = ["exit status: 2", "error: ", "hint: "]
                .iter()
                .all(|part| text.contains(part));
            ensure!(is_refusal, "{text}");
            return Ok(0);
        }
    };
    let client = Native::connect(daemon.native()).await?;
    match topic.read_right_or_fail(&client, 0, BATCHES).await {
        // An answer of the broker, where a wrong record is a failure of the test.
        Err(error) if error.to_string().contains("is offline on this broker") => Ok(0),
        read => read,
    }
}

#[tokio::test]
async fn flipped_bits_are_reported_and_never_served() -> Result<()> {
    let flips = scale::from_environment("MILLSTREAM_BIT_FLIPS", FLIPS);
    let seed = scale::from_environment("MILLSTREAM_BIT_FLIP_SEED", u64::from(std::process::id()));
    println!("MILLSTREAM_BIT_FLIP_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let home = tempfile::tempdir()?;
    let good = home.path().join("good");
    let topic = written(&good).await?;
    let prepared = DaemonOptions::default().data_dir(&good).prepare()?;
    let (code, text) = verify(&prepared, &good)?;
    ensure!(code == Some(0), "undamaged: {code:?} {text}");
    let mut right = 0;
    for flip in 0..flips {
        let kind = KINDS[usize::try_from(flip)? % KINDS.len()];
        let damaged = home.path().join("damaged");
        copy_directory(&good, &damaged)?;
        let files = files(&damaged, kind)?;
        let path = files
            .choose(&mut rng)
            .with_context(|| format!("no {kind} file"))?;
        let mut bytes = fs::read(path)?;
        let bit = rng.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, bytes)?;
        let what = format!("bit {bit} of {}", path.display());
        let (code, text) = verify(&prepared, &damaged)?;
        ensure!(code == Some(1), "{what} is not reported: {code:?} {text}");
        right += served(&damaged, &topic).await.context(what)?;
        fs::remove_dir_all(&damaged)?;
    }
    ensure!(
        right > flips * RECORDS_PER_BATCH,
        "only {right} records were served at all"
    );
    println!("{flips} flips, all reported, 0 wrong bytes in {right} records served");
    Ok(())
}
