//! Random UUIDs, version 4 (RFC 9562): ids of topics, directories, clusters and members.

/// A random UUID. It is none of those that Kafka reserves, which are all but zero.
#[must_use]
pub fn random() -> [u8; 16] {
    of(rand::random())
}

/// Marks random bits as a UUID.
fn of(random: u128) -> [u8; 16] {
    let version = (random & !(0xf << 76)) | (4 << 76);
    ((version & !(3 << 62)) | (2 << 62)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_of_version_4() {
        for random in [0, u128::MAX, 0x1234_5678_9abc_def0_1234_5678_9abc_def0] {
            let bytes = of(random);
            assert_eq!((bytes[6] >> 4, bytes[8] >> 6), (4, 2));
        }
        assert_ne!(random(), random());
    }
}
