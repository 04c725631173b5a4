//! [`Layout`]: how the body of one request is laid out, as data; and how little room a value can take.
//!
//! ```text
//! struct    fields in order; in flexible versions then the tagged fields
//! string    length i16, bytes          flexible: varint of length + 1, bytes
//! bytes     length i32, bytes          flexible: varint of length + 1, bytes
//! array     count i32, elements        flexible: varint of count + 1, elements
//! null      length or count -1         flexible: 0; before a struct: one byte, -1 or 1
//! tagged    varint count, then (varint tag, varint size, value)..., tags ascending (KIP-482)
//! ```
//!
//! No struct contains itself, so a layout is as deep as it is written and a walk along it recurses no further.

/// One request in all of its versions.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) api_key: i16,
    /// Kafka's name without `Request`.
    pub(super) name: &'static str,
    /// All that Kafka has, which may be more than is served.
    pub(super) versions: Versions,
    /// First version with compact lengths and tagged fields; `i16::MAX` where there is none.
    pub(super) flexible_from: i16,
    pub(super) fields: &'static [Field],
}

/// A field of a request or of a struct in it.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) versions: Versions,
    /// Versions in which it may be null.
    pub(super) nullable: Versions,
    /// Its tag if it is a tagged field.
    pub(super) tag: Option<u32>,
    pub(super) kind: Kind,
}

/// What most fields have in common: never null, and not tagged.
pub(super) const PLAIN: Field = Field {
    name: "",
    versions: NEVER,
    nullable: NEVER,
    tag: None,
    kind: Kind::Bool,
};

/// What a value consists of.
#[derive(Debug)]
pub(super) enum Kind {
    Bool,
    /// So many bytes: an integer, a float or a UUID.
    Fixed(usize),
    /// UTF-8, which is not checked here.
    String,
    Bytes,
    Array(&'static Kind),
    Struct(&'static [Field]),
}

/// First and last version, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions(pub(super) i16, pub(super) i16);

const NEVER: Versions = Versions(0, -1);

impl Versions {
    pub(super) const fn contains(self, version: i16) -> bool {
        self.0 <= version && version <= self.1
    }
}

impl Layout {
    pub(super) fn format(&self, version: i16) -> Format {
        Format {
            version,
            flexible: version >= self.flexible_from,
        }
    }
}

impl Field {
    /// Whether it is in its struct's sequence of fields, and not among the tagged ones.
    pub(super) fn is_in_sequence(&self, version: i16) -> bool {
        self.tag.is_none() && self.versions.contains(version)
    }
}

/// What a layout's bytes depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    pub(super) version: i16,
    pub(super) flexible: bool,
}

impl Format {
    /// Fewest bytes that a value takes.
    pub(super) fn size_min(self, kind: &Kind) -> usize {
        match kind {
            Kind::Bool => 1,
            Kind::Fixed(size) => *size,
            Kind::String | Kind::Bytes | Kind::Array(_) if self.flexible => 1,
            Kind::String => 2,
            Kind::Bytes | Kind::Array(_) => 4,
            Kind::Struct(fields) => {
                let fields = fields.iter().map(|field| self.field_size_min(field));
                fields.sum::<usize>() + usize::from(self.flexible)
            }
        }
    }

    fn field_size_min(self, field: &Field) -> usize {
        match field.kind {
            _ if !field.is_in_sequence(self.version) => 0,
            Kind::Struct(_) if field.nullable.contains(self.version) => 1,
            ref kind => self.size_min(kind),
        }
    }
}
