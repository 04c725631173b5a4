//! [`Sample`]: a valid request as bytes, made from its layout and a seed.

use std::ops::Range;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::listener::kafka::codec::{
    apis::Api,
    layout::{Field, Format, Kind},
};

/// The bytes of a body, and where its lengths and counts are.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    pub(super) bytes: Vec<u8>,
    pub(super) lengths: Vec<Length>,
}

/// A length or count within a sample.
#[derive(Debug, Clone)]
pub(super) struct Length {
    pub(super) place: Range<usize>,
    pub(super) encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    I16,
    I32,
    /// A varint of the length itself, or of one more.
    Varint,
}

impl Encoding {
    /// Appends a length, or the low bits of a negative one.
    pub(super) fn put(self, value: u32, out: &mut Vec<u8>) {
        match self {
            Self::I16 => out.extend(&value.to_be_bytes()[2..]),
            Self::I32 => out.extend(value.to_be_bytes()),
            Self::Varint => put_varint(value, out),
        }
    }
}

impl Sample {
    /// The sample of this seed.
    pub(super) fn new(api: &Api, version: i16, seed: u64) -> Self {
        let key = u64::from(api.layout.api_key.unsigned_abs());
        let mut sampler = Sampler {
            format: api.layout.format(version),
            rng: StdRng::seed_from_u64(seed << 32 | key << 16 | u64::from(version.unsigned_abs())),
            sample: Self::default(),
        };
        sampler.fields(api.layout.fields);
        sampler.sample
    }

    /// The bytes with `value` for one of the lengths.
    pub(super) fn with_length(&self, length: &Length, value: u32) -> Vec<u8> {
        let mut bytes = self.bytes[..length.place.start].to_vec();
        length.encoding.put(value, &mut bytes);
        bytes.extend(&self.bytes[length.place.end..]);
        bytes
    }
}

fn put_varint(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

impl Format {
    /// How the lengths of strings, bytes and arrays are written.
    pub(super) fn encoding(self, kind: &Kind) -> Encoding {
        match kind {
            _ if self.flexible => Encoding::Varint,
            Kind::String => Encoding::I16,
            _ => Encoding::I32,
        }
    }
}

struct Sampler {
    format: Format,
    rng: StdRng,
    sample: Sample,
}

impl Sampler {
    fn fields(&mut self, fields: &[Field]) {
        for field in fields {
            if field.is_in_sequence(self.format.version) {
                let nullable = field.nullable.contains(self.format.version);
                self.value(&field.kind, nullable);
            }
        }
        if self.format.flexible {
            self.tagged_fields(fields);
        }
    }

    fn value(&mut self, kind: &Kind, nullable: bool) {
        let is_null = nullable && self.rng.random_ratio(1, 4);
        match kind {
            Kind::Bool => {
                let value = self.rng.random_range(0..=1);
                self.sample.bytes.push(value);
            }
            Kind::Fixed(size) => self.random_bytes(*size),
            Kind::String | Kind::Bytes | Kind::Array(_) if is_null => self.null(kind),
            Kind::String => {
                let text = ["", "a", "topic-1", "é", "日本語", "\0\n", "𝄞"];
                let text = text[self.rng.random_range(0..text.len())];
                self.length(kind, text.len());
                self.sample.bytes.extend(text.as_bytes());
            }
            Kind::Bytes => {
                let size = self.rng.random_range(0..200);
                self.length(kind, size);
                self.random_bytes(size);
            }
            Kind::Array(element) => {
                let count = self.rng.random_range(0..4);
                self.length(kind, count);
                (0..count).for_each(|_| self.value(element, false));
            }
            Kind::Struct(_) if is_null => self.sample.bytes.push(0xff),
            Kind::Struct(fields) => {
                if nullable {
                    self.sample.bytes.push(1);
                }
                self.fields(fields);
            }
        }
    }

    fn random_bytes(&mut self, size: usize) {
        let start = self.sample.bytes.len();
        self.sample.bytes.resize(start + size, 0);
        self.rng.fill(&mut self.sample.bytes[start..]);
    }

    fn null(&mut self, kind: &Kind) {
        let value = if self.format.flexible { 0 } else { u32::MAX };
        self.put(self.format.encoding(kind), value);
    }

    fn length(&mut self, kind: &Kind, length: usize) {
        let value = u32::try_from(length).unwrap() + u32::from(self.format.flexible);
        self.put(self.format.encoding(kind), value);
    }

    fn put(&mut self, encoding: Encoding, value: u32) {
        let start = self.sample.bytes.len();
        encoding.put(value, &mut self.sample.bytes);
        self.sample.lengths.push(Length {
            place: start..self.sample.bytes.len(),
            encoding,
        });
    }

    /// A count or size among tagged fields, which is never one more.
    fn size(&mut self, size: usize) {
        self.put(Encoding::Varint, u32::try_from(size).unwrap());
    }

    /// Some of the known ones, and sometimes one from the future.
    fn tagged_fields(&mut self, fields: &[Field]) {
        let version = self.format.version;
        let mut tagged: Vec<(u32, Option<&Kind>)> = fields
            .iter()
            .filter(|field| field.versions.contains(version))
            .filter_map(|field| Some((field.tag?, Some(&field.kind))))
            .collect();
        tagged.sort_by_key(|(tag, _)| *tag);
        tagged.retain(|_| self.rng.random());
        if self.rng.random_ratio(1, 8) {
            tagged.push((self.rng.random_range(100..100_000), None));
        }
        self.size(tagged.len());
        for (tag, kind) in tagged {
            put_varint(tag, &mut self.sample.bytes);
            self.tagged_field(kind);
        }
    }

    /// Size and value; the size is known once the value is.
    fn tagged_field(&mut self, kind: Option<&Kind>) {
        let outer = std::mem::take(&mut self.sample);
        match kind {
            Some(kind) => self.value(kind, false),
            None => self.random_bytes(5),
        }
        let value = std::mem::replace(&mut self.sample, outer);
        self.size(value.bytes.len());
        let start = self.sample.bytes.len();
        self.sample.bytes.extend(value.bytes);
        self.sample
            .lengths
            .extend(value.lengths.into_iter().map(|length| Length {
                place: length.place.start + start..length.place.end + start,
                ..length
            }));
    }
}
