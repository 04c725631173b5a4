//! Listings and descriptions.

use super::bench::{first_join, join, static_join, subscription};
use crate::group::{ClassicJoin, GroupType, tests::bench::Bench};

#[test]
fn a_stable_group_is_described_in_full() {
    let bench = Bench::stable(&[static_join("host-1", "m1"), first_join("m2")]);
    let description = bench.describe();
    let listing = &description.listing;
    assert_eq!(
        (listing.group_type, listing.state),
        (GroupType::Classic, "Stable")
    );
    assert_eq!((listing.members, &*listing.protocol_type), (2, "consumer"));
    assert_eq!(
        (description.group_epoch, &*description.assignor),
        (1, "range")
    );
    let member = &description.members[0];
    assert_eq!(
        (&*member.member_id, member.instance_id.as_deref()),
        ("m1", Some("host-1"))
    );
    assert_eq!(
        (&*member.client_id, &*member.client_host),
        ("client", "host")
    );
    assert_eq!(
        (member.topics.as_slice(), member.member_epoch),
        (&["a".to_owned()][..], 1)
    );
    assert_eq!(
        (&member.metadata, &*member.assignment),
        (&subscription(&["a"]), &b"m1"[..])
    );
}

#[test]
fn what_members_said_and_were_assigned_is_shown_while_it_is_good() {
    let mut bench = Bench::two();
    bench.join(join("m1"));
    let description = bench.describe();
    assert_eq!(description.listing.state, "PreparingRebalance");
    for member in &description.members {
        assert!(member.metadata.is_empty() && member.assignment.is_empty());
    }
}

#[test]
fn metadata_of_another_protocol_type_is_no_subscription() {
    let bench = Bench::stable(&[ClassicJoin {
        protocol_type: "connect".to_owned(),
        ..first_join("m1")
    }]);
    let member = &bench.describe().members[0];
    assert!(member.topics.is_empty() && !member.metadata.is_empty());
}
