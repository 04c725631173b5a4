//! Parts of documents that commands write: what is between two marks.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// A document with a part that the command `cargo xtask COMMAND` writes.
pub(crate) struct Part<'a> {
    pub(crate) document: &'a str,
    pub(crate) command: &'a str,
}

impl Part<'_> {
    /// Puts `text` in the place of what is there.
    ///
    /// # Errors
    /// When there is no such document, or it has no marks.
    pub(crate) fn write(&self, root: &Path, text: &str) -> Result<()> {
        let path = root.join(self.document);
        let (before, _, after) = self.read(root)?;
        Ok(fs::write(&path, [&*before, text, &*after].concat())?)
    }

    /// Whether `text` is there.
    ///
    /// # Errors
    /// As [`Part::write`].
    pub(crate) fn holds(&self, root: &Path, text: &str) -> Result<bool> {
        let (_, part, _) = self.read(root)?;
        Ok(part == text)
    }

    /// The document before, between and behind the marks, which belong to the outer two.
    fn read(&self, root: &Path) -> Result<(String, String, String)> {
        let path = root.join(self.document);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let [begin, end] =
            ["begin", "end"].map(|mark| format!("<!-- cargo xtask {}: {mark} -->\n", self.command));
        let parts = text.split_once(&begin).and_then(|(before, rest)| {
            let (part, after) = rest.split_once(&end)?;
            Some((before.to_owned() + &begin, part.to_owned(), end + after))
        });
        parts.with_context(|| format!("{} has no marks of {}", self.document, self.command))
    }
}
