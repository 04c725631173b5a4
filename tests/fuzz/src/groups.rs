//! What consumers put into requests of classic groups, in bytes of their own.

use std::{collections::BTreeSet, sync::Arc};

use millstream_engine::group::{
    Topic, Topics,
    embedded::{self, Said},
};
use millstream_proto::TopicId;

/// The least that a list has room for once anything is in it.
const ROOM_MIN: usize = 4;
/// Of each topic of an assignment; what the input says beyond them is not there.
const PARTITIONS: usize = 8;
/// The newest that Kafka's clients write.
const VERSION: i16 = 3;

/// A consumer's metadata: both readers agree, nothing is found or reserved that is not in the input, and what
/// was found is found again once it is written.
pub(crate) fn metadata(input: &[u8]) {
    let topics = embedded::read_topics(input);
    let Some(said) = embedded::read_said(input) else {
        return;
    };
    assert_eq!(topics.as_ref(), Some(&said.topics), "one reader sees more");
    let room = ROOM_MIN + input.len();
    assert!(said.topics.capacity() <= room && said.owned.capacity() <= room);
    let written = written(&said);
    assert!(written.len() <= input.len(), "more than there was");
    assert_eq!(embedded::read_said(&written).as_ref(), Some(&said));
}

/// As Kafka's clients write it, without user data.
fn written(said: &Said) -> Vec<u8> {
    let mut bytes = said.version.to_be_bytes().to_vec();
    put_count(&mut bytes, said.topics.len());
    for topic in &said.topics {
        put_text(&mut bytes, topic);
    }
    bytes.extend((-1_i32).to_be_bytes());
    if said.version >= 1 {
        put_count(&mut bytes, said.owned.len());
        for (topic, partitions) in &said.owned {
            put_text(&mut bytes, topic);
            put_count(&mut bytes, partitions.len());
            bytes.extend(partitions.iter().flat_map(|at| at.to_be_bytes()));
        }
    }
    if said.version >= 2 {
        bytes.extend((-1_i32).to_be_bytes());
    }
    if said.version >= 3 {
        match &said.rack {
            Some(rack) => put_text(&mut bytes, rack),
            None => bytes.extend((-1_i16).to_be_bytes()),
        }
    }
    bytes
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    let count = i32::try_from(count).expect("as many as were read");
    bytes.extend(count.to_be_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let length = i16::try_from(text.len()).expect("as long as it was read");
    bytes.extend(length.to_be_bytes());
    bytes.extend(text.as_bytes());
}

/// An assignment: nothing is found that is not in the input, and the partitions that exist are found again
/// once they are written.
pub(crate) fn assignment(input: &[u8]) {
    let Some(read) = embedded::read_assignment(input) else {
        return;
    };
    let sizes = read
        .iter()
        .map(|(topic, partitions)| topic.len() + size_of_val(partitions.as_slice()));
    assert!(sizes.sum::<usize>() <= input.len(), "more than there was");
    assert!(read.capacity() <= ROOM_MIN + input.len());
    let names: BTreeSet<&str> = read.iter().map(|(topic, _)| topic.as_str()).collect();
    let topics = (1_u128..).zip(names).map(|(number, name)| {
        let id = TopicId::from_bytes(number.to_be_bytes());
        (Arc::<str>::from(name), Topic::without_racks(id, PARTITIONS))
    });
    let topics = Topics::new(1, topics);
    let found = embedded::find(&read, &topics);
    let written = embedded::write_assignment(VERSION, &found, &topics);
    let again = embedded::read_assignment(&written).expect("it was written just now");
    assert_eq!(embedded::find(&again, &topics), found);
}
