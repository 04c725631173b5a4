//! F25: counts and lengths that ask for all the memory there is, in a process that has one GiB of it.
//!
//! A limit of address space holds for a whole process and for good, so each of these tests starts itself
//! again as a child, and it is the child that takes the limit and does the work.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{Command, Output},
    time::Duration,
};

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestKind};
use rustix::{
    process::{Resource, Rlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use super::{
    every_version,
    sample::{Encoding, Sample},
};
use crate::listener::kafka::codec::{
    DecodeError, Limits, Problem, RequestHeader,
    apis::{Api, decode_any},
    check,
    layout::{Field, Format, Kind},
};

const ADDRESS_SPACE_MAX: u64 = 1 << 30;
/// What refusing one request may take of the processor: other processes do not count.
const TIME_MAX: Duration = Duration::from_millis(100);
/// How much more memory a process may have had for all the requests that it refused (F24).
const GROWTH_KIB_MAX: u64 = 16 * 1024;
/// What requests of [`Limits::default`] may take of memory at most, whatever is in them.
const MEMORY_KIB_MAX: u64 = 96 * 1024;
/// With these only the bytes that are there bound anything.
const UNLIMITED: Limits = Limits {
    elements_max: usize::MAX,
    unknown_tagged_fields_max: usize::MAX,
};
const CHILD: &str = "MILLSTREAM_TEST_LIMITED_CHILD";

/// Runs `work` in a child with little memory: the child returns nothing, its parent how it ended.
fn in_child(test: &str, work: fn()) -> Option<Output> {
    if std::env::var_os(CHILD).is_some() {
        let limit = Rlimit {
            current: Some(ADDRESS_SPACE_MAX),
            maximum: Some(ADDRESS_SPACE_MAX),
        };
        setrlimit(Resource::As, limit).unwrap();
        work();
        return None;
    }
    let module = module_path!().split_once("::").unwrap().1;
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    Some(output)
}

fn assert_passed(output: &Output) {
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{}\n{told}\n{complaint}",
        output.status
    );
}

/// Refuses, in time, or panics.
fn refuse<T>(
    what: impl Fn() -> String,
    decode: impl FnOnce() -> Result<T, DecodeError>,
) -> Problem {
    let start = clock_gettime(ClockId::ThreadCPUTime);
    let refused = decode().err();
    let took = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - start).unwrap();
    assert!(took < TIME_MAX, "{}: takes {took:?}", what());
    match refused {
        Some(DecodeError::Malformed { problem, .. }) => problem,
        other => panic!("{}: {other:?}", what()),
    }
}

fn refuse_body(api: &Api, version: i16, body: Vec<u8>, limits: &Limits) -> Problem {
    let what = || format!("{} {version}", api.layout.name);
    let mut body = Bytes::from(body);
    refuse(what, || {
        decode_any(api.layout.api_key, version, &mut body, limits)
    })
}

/// Counts that no request of some hundred bytes has, and negative ones.
fn hostile_counts(encoding: Encoding) -> &'static [u32] {
    match encoding {
        Encoding::I16 => &[0x8000, 0xfffe, 0x7fff],
        Encoding::I32 => &[0x8000_0000, 0xffff_fffe, 1 << 16, 1 << 24, 0x7fff_ffff],
        Encoding::Varint => &[1 << 16, 1 << 24, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff],
    }
}

#[test]
fn hostile_counts_in_bodies_are_refused() {
    let test = "hostile_counts_in_bodies_are_refused";
    if let Some(output) = in_child(test, refuse_hostile_bodies) {
        assert_passed(&output);
    }
}

fn refuse_hostile_bodies() {
    let before = peak_kib();
    let mut shapes = 0;
    for (api, version) in every_version() {
        let sample = Sample::new(api, version, 0);
        for length in &sample.lengths {
            for count in hostile_counts(length.encoding) {
                let mut body = sample.with_length(length, *count);
                let removed = sample.bytes.len() - length.place.end;
                refuse_body(api, version, body.clone(), &UNLIMITED);
                body.truncate(body.len() - removed);
                refuse_body(api, version, body, &UNLIMITED);
                shapes += 2;
            }
        }
    }
    assert!(shapes > 10_000, "{shapes} shapes");
    assert!(peak_kib() - before <= GROWTH_KIB_MAX);
}

#[test]
fn hostile_counts_in_headers_are_refused() {
    let test = "hostile_counts_in_headers_are_refused";
    if let Some(output) = in_child(test, refuse_hostile_headers) {
        assert_passed(&output);
    }
}

fn refuse_hostile_headers() {
    let before = peak_kib();
    let mut shapes = 0;
    for (api, version) in every_version() {
        let header = |rest: &[u8]| {
            let mut frame = [api.layout.api_key.to_be_bytes(), version.to_be_bytes()].concat();
            frame.extend(7_i32.to_be_bytes());
            frame.extend(rest);
            let what = || format!("header of {} {version}: {rest:?}", api.layout.name);
            refuse(what, || RequestHeader::parse(&frame));
        };
        for length in [-0x8000, -2, 0x7fff_i16] {
            header(&length.to_be_bytes());
            shapes += 1;
        }
        if api.layout.format(version).flexible {
            let (no_client, beyond) = (&[0xff, 0xff], [0xff, 0xff, 0xff, 0xff, 0x0f]);
            header(&[no_client, &beyond[..]].concat());
            header(&[no_client, &beyond[..], &[0; 64]].concat());
            header(&[no_client, &[1, 0], &beyond[..]].concat());
            shapes += 3;
        }
    }
    assert!(shapes > 500, "{shapes} shapes");
    assert!(peak_kib() - before <= GROWTH_KIB_MAX);
}

const EIGHT_BYTES: [u8; 8] = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Without the check the process is gone, which is also the proof that the limit of these tests bites.
#[test]
fn decoder_alone_aborts_on_eight_bytes() {
    let test = "decoder_alone_aborts_on_eight_bytes";
    let work = || {
        let mut body = Bytes::from_static(&EIGHT_BYTES);
        let _never_returns = RequestKind::decode(ApiKey::Metadata, &mut body, 1);
    };
    if let Some(output) = in_child(test, work) {
        assert_eq!(output.status.signal(), Some(6), "{}", output.status);
    }
}

#[test]
fn the_same_eight_bytes_are_refused() {
    let refused = check(3, 1, &EIGHT_BYTES, &Limits::default()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Metadata version 1 is malformed: field Topics, byte 4: has 2147483647 elements of at least 2 bytes \
         each, and 4 bytes for them"
    );
}

/// A valid request in as few bytes as can be, but with `count` elements in its first array.
fn stuffed(api: &Api, version: i16, count: usize) -> Option<Vec<u8>> {
    let mut stuffing = Stuffing {
        format: api.layout.format(version),
        count,
        bytes: Vec::new(),
    };
    stuffing.fields(api.layout.fields);
    (stuffing.count == 0).then_some(stuffing.bytes)
}

struct Stuffing {
    format: Format,
    count: usize,
    bytes: Vec<u8>,
}

impl Stuffing {
    fn fields(&mut self, fields: &[Field]) {
        for field in fields {
            if field.is_in_sequence(self.format.version) {
                let nullable = field.nullable.contains(self.format.version);
                match &field.kind {
                    Kind::Struct(_) if nullable => self.bytes.push(0xff),
                    kind => self.value(kind),
                }
            }
        }
        self.bytes
            .resize(self.bytes.len() + usize::from(self.format.flexible), 0);
    }

    fn value(&mut self, kind: &Kind) {
        match kind {
            Kind::Bool | Kind::Fixed(_) => {
                let end = self.bytes.len() + self.format.size_min(kind);
                self.bytes.resize(end, 0);
            }
            Kind::String | Kind::Bytes => self.length(kind, 0),
            Kind::Array(element) => {
                let count = std::mem::take(&mut self.count);
                self.length(kind, count);
                (0..count).for_each(|_| self.value(element));
            }
            Kind::Struct(fields) => self.fields(fields),
        }
    }

    fn length(&mut self, kind: &Kind, length: usize) {
        let length = u32::try_from(length).unwrap() + u32::from(self.format.flexible);
        self.format.encoding(kind).put(length, &mut self.bytes);
    }
}

#[test]
fn as_many_elements_as_are_allowed_take_little_memory_and_one_more_is_refused() {
    let test = "as_many_elements_as_are_allowed_take_little_memory_and_one_more_is_refused";
    if let Some(output) = in_child(test, stuff_requests) {
        assert_passed(&output);
    }
}

fn stuff_requests() {
    let limits = Limits::default();
    let mut versions = 0;
    for (api, version) in every_version().filter(|(api, v)| *v == api.first || *v == api.last) {
        let Some(body) = stuffed(api, version, limits.elements_max) else {
            continue;
        };
        let mut body = Bytes::from(body);
        decode_any(api.layout.api_key, version, &mut body, &limits)
            .unwrap_or_else(|error| panic!("{error}"));
        let one_more = stuffed(api, version, limits.elements_max + 1).unwrap();
        let problem = refuse_body(api, version, one_more, &limits);
        let is_refused_by_limit = matches!(problem, Problem::TooManyElements { .. });
        assert!(is_refused_by_limit, "{problem}");
        versions += 1;
    }
    assert!(versions > 60, "{versions} versions with arrays");
    assert!(peak_kib() < MEMORY_KIB_MAX, "took {} KiB", peak_kib());
}

/// The most that this process ever had in memory.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn as_many_unknown_tagged_fields_as_are_allowed_take_little_memory_and_one_more_is_refused() {
    let test =
        "as_many_unknown_tagged_fields_as_are_allowed_take_little_memory_and_one_more_is_refused";
    if let Some(output) = in_child(test, stuff_tagged_fields) {
        assert_passed(&output);
    }
}

/// Metadata 12 with one unknown tagged field in each topic: a map each.
fn stuff_tagged_fields() {
    let metadata = |topics: usize| {
        let mut body = Vec::new();
        Encoding::Varint.put(u32::try_from(topics).unwrap() + 1, &mut body);
        let topic = [&[0; 16][..], &[0, 1, 100, 0]].concat();
        body.extend(topic.repeat(topics));
        body.extend([0, 0, 0]);
        Bytes::from(body)
    };
    let limits = Limits::default();
    let mut most = metadata(limits.unknown_tagged_fields_max);
    decode_any(3, 12, &mut most, &limits).unwrap_or_else(|error| panic!("{error}"));
    let mut more = metadata(limits.unknown_tagged_fields_max + 1);
    let problem = refuse(
        || "metadata".into(),
        || decode_any(3, 12, &mut more, &limits),
    );
    assert_eq!(problem, Problem::TooManyTaggedFields);
    assert!(peak_kib() < MEMORY_KIB_MAX, "took {} KiB", peak_kib());
}
