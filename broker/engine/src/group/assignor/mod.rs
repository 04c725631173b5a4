//! Assignors: who is to hold which partitions.

/// The assignors, by the names that members use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssignorName {
    /// As even as possible over all topics; then near the replicas; then as little moved as possible.
    Uniform,
    /// Ranges of neighbouring partitions, the same of every topic.
    Range,
    /// As even as possible over all topics; then as little moved as possible; racks decide only where
    /// a partition moves anyway.
    Sticky,
}

impl AssignorName {
    /// The assignor of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            "sticky" => Some(Self::Sticky),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
            Self::Sticky => "sticky",
        }
    }
}
