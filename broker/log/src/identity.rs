//! `partition.metadata`: the topic id of a partition's directory, in Kafka's text.
//!
//! ```text
//! version: 0
//! topic_id: WmneuPmDQQ2jqoUECw99yw
//! ```
//! It fences a deleted topic's directory from its namesake. Written before the first segment.

use std::{io, path::Path};

use millstream_proto::TopicId;

use crate::{frame, io::LogIo, layout::PARTITION_METADATA};

/// Why a `partition.metadata` cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The text is not the two lines that belong there.
    #[error("partition.metadata has no {expected}")]
    Text {
        /// What should be there.
        expected: &'static str,
    },
    /// The system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The content of the file.
#[must_use]
pub fn to_text(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

/// Reads the content of the file.
///
/// # Errors
/// [`IdentityError::Text`].
pub fn from_text(text: &str) -> Result<TopicId, IdentityError> {
    let mut lines = text.lines();
    if lines.next() != Some("version: 0") {
        return Err(IdentityError::Text {
            expected: "version: 0",
        });
    }
    lines
        .next()
        .and_then(|line| line.strip_prefix("topic_id: "))
        .and_then(|id| id.parse().ok())
        .filter(|_| lines.next().is_none())
        .ok_or(IdentityError::Text {
            expected: "topic_id",
        })
}

/// Reads the topic id of a directory; `None` when it has none.
///
/// # Errors
/// A broken file, whatever the system says.
pub fn load(io: &dyn LogIo, dir: &Path) -> Result<Option<TopicId>, IdentityError> {
    let Some(bytes) = frame::read_file(io, &dir.join(PARTITION_METADATA))? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|_| IdentityError::Text { expected: "text" })?;
    from_text(&text).map(Some)
}

/// Replaces the topic id of a directory durably.
///
/// # Errors
/// Whatever the system says.
pub fn store(io: &dyn LogIo, dir: &Path, topic_id: TopicId) -> io::Result<()> {
    frame::replace_file(
        io,
        &dir.join(PARTITION_METADATA),
        to_text(topic_id).as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKAS: &str = "version: 0\ntopic_id: WmneuPmDQQ2jqoUECw99yw";

    #[test]
    fn text_is_kafkas() {
        assert_eq!(to_text(from_text(KAFKAS).unwrap()), KAFKAS);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "version: 1\ntopic_id: WmneuPmDQQ2jqoUECw99yw",
            "version: 0\ntopic_id: WmneuPmDQQ2jqoUECw99y",
            "version: 0\ntopic: WmneuPmDQQ2jqoUECw99yw",
            "version: 0\ntopic_id: WmneuPmDQQ2jqoUECw99yw\nmore",
        ] {
            assert!(from_text(text).is_err(), "{text:?}");
        }
    }
}
