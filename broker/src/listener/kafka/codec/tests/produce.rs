//! [`ProduceRequest`] is read by hand: what [`check`] says of the same bytes, and the oracle, is what it must say.

use bytes::Bytes;
use kafka_protocol::{
    messages::{ApiKey, ProduceRequest as OracleRequest},
    protocol::Decodable as _,
};
use proptest::{collection::vec, prelude::*};

use super::{
    every_version,
    mutation::{apply, cases, change},
    sample::Sample,
};
use crate::listener::kafka::codec::{Limits, ProduceRequest, TopicRef, apis::Api, check};

const PRODUCE: i16 = ApiKey::Produce as i16;

fn versions() -> impl Iterator<Item = (&'static Api, i16)> {
    every_version().filter(|(api, _)| api.layout.api_key == PRODUCE)
}

/// Few enough for the samples to go beyond them.
const NARROW: Limits = Limits {
    elements_max: 4,
    unknown_tagged_fields_max: 1,
};

fn assert_as_checked(version: i16, bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    for limits in [Limits::default(), NARROW] {
        let read = ProduceRequest::read(body.clone(), version, &limits).map(drop);
        let checked = check(PRODUCE, version, bytes, &limits).map(drop);
        assert_eq!(read, checked, "{bytes:?}");
    }
}

#[test]
fn it_reads_what_the_oracle_reads() {
    for (api, version) in versions() {
        for seed in 0..256 {
            let mut body = Bytes::from(Sample::new(api, version, seed).bytes);
            let read = ProduceRequest::read(body.clone(), version, &Limits::default()).unwrap();
            let oracle = OracleRequest::decode(&mut body, version).unwrap();
            assert_eq!(
                (read.acks, read.timeout_ms),
                (oracle.acks, oracle.timeout_ms)
            );
            assert_eq!(read.topics.len(), oracle.topic_data.len());
            for (topic, oracle) in read.topics.iter().zip(oracle.topic_data) {
                match &topic.name {
                    TopicRef::Name(name) => assert_eq!(**name, *oracle.name.as_bytes()),
                    TopicRef::Id(id) => assert_eq!(id.as_bytes(), oracle.topic_id.as_bytes()),
                }
                let partitions = read.partitions_of(topic).iter();
                let partitions: Vec<_> = partitions
                    .map(|partition| (partition.index, partition.records.clone()))
                    .collect();
                let oracle: Vec<_> = oracle
                    .partition_data
                    .into_iter()
                    .map(|partition| (partition.index, partition.records))
                    .collect();
                assert_eq!(partitions, oracle, "version {version}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_single_batch_may_be_changed_where_it_is() {
    let records = b"records";
    let mut body = vec![0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't'];
    body.extend([0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 7]);
    body.extend(records);
    let mut read = ProduceRequest::read(body.into(), 3, &Limits::default()).unwrap();
    let batch = read.partitions[0].records.take().unwrap();
    assert_eq!(batch.try_into_mut().unwrap(), &records[..]);
}

#[test]
fn it_refuses_lengths_and_ends_where_the_check_does() {
    for (api, version) in versions() {
        for seed in 0..32 {
            let sample = Sample::new(api, version, seed);
            for end in 0..sample.bytes.len() {
                assert_as_checked(version, &sample.bytes[..end]);
            }
            for length in &sample.lengths {
                for value in [0, 1, 2, 3, 17, 0xffff, u32::MAX - 1, u32::MAX] {
                    assert_as_checked(version, &sample.with_length(length, value));
                }
            }
        }
    }
}

#[test]
fn versions_that_are_not_served_are_refused_by_it() {
    for version in [i16::MIN, -1, 0, 2, 14] {
        assert_as_checked(version, &[0; 16]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn it_reads_changed_bytes_as_they_are_checked(
        version in 3_i16..=13,
        seed in 0_u64..64,
        changes in vec(change(), 0..4),
    ) {
        let (api, _) = versions().next().unwrap();
        let mut bytes = Sample::new(api, version, seed).bytes;
        changes.iter().for_each(|change| apply(change, &mut bytes));
        assert_as_checked(version, &bytes);
    }
}
