//! Which codecs the batches of a topic have in a broker's log files, which are Kafka's in both brokers: that a
//! client compresses at all is seen nowhere else.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::client::CODECS;

/// Bytes of a batch before those that its length counts: base offset and length.
const LENGTH_END: usize = 12;
/// Where the low byte of a batch's attributes is.
const ATTRIBUTES: usize = 22;
const CODEC_MASK: u8 = 0x07;

/// Names of the codecs of a topic's batches, one a batch.
///
/// # Errors
/// When there is no file of it, or one cannot be read.
pub(crate) fn codecs(data_dir: &Path, topic: &str) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for partition in fs::read_dir(data_dir)? {
        let partition = partition?;
        let name = partition.file_name();
        let of_topic = name.to_string_lossy();
        if of_topic
            .rsplit_once('-')
            .is_none_or(|(name, _)| name != topic)
        {
            continue;
        }
        for file in fs::read_dir(partition.path())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                batch_codecs(&fs::read(&path)?, &mut found)
                    .with_context(|| path.display().to_string())?;
            }
        }
    }
    ensure!(
        !found.is_empty(),
        "{topic} has no batch in {}",
        data_dir.display()
    );
    Ok(found)
}

/// Walks over the batches of a segment, to its end or to the zeros that are reserved behind it.
fn batch_codecs(mut segment: &[u8], found: &mut Vec<&'static str>) -> Result<()> {
    while let Some(header) = segment.get(..=ATTRIBUTES) {
        let length = header
            .get(8..LENGTH_END)
            .and_then(|bytes| bytes.first_chunk());
        let length = u32::from_be_bytes(*length.context("a header is longer")?);
        if length == 0 {
            return Ok(());
        }
        let attributes = header.last().context("a header is longer")?;
        let codec = usize::from(attributes & CODEC_MASK);
        found.push(CODECS.get(codec).context("a codec that Kafka has not")?);
        let end = usize::try_from(length)?.saturating_add(LENGTH_END);
        segment = segment.get(end..).context("a batch is cut short")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(codec: u8, body: usize) -> Vec<u8> {
        let mut batch = vec![0; LENGTH_END];
        batch[11] = u8::try_from(11 + body).expect("short");
        batch.resize(ATTRIBUTES, 0);
        batch.push(codec);
        batch.resize(ATTRIBUTES + 1 + body, 0xff);
        batch
    }

    #[test]
    fn each_batch_counts_and_reserved_space_does_not() {
        let mut segment = [batch(0, 40), batch(4, 0), batch(2 | 0x10, 7)].concat();
        segment.resize(500, 0);
        let mut found = Vec::new();
        batch_codecs(&segment, &mut found).expect("whole batches");
        assert_eq!(found, ["none", "zstd", "snappy"]);
        assert!(batch_codecs(&batch(1, 9)[..24], &mut found).is_err());
    }
}
