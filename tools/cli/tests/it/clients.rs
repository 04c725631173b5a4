//! `cluster clients`.

use millstream_proto::grpc::v1;

use crate::fake_broker::FakeBroker;

#[test]
fn clients_are_listed_with_what_they_say_of_themselves() {
    let broker = FakeBroker::start(1);
    let none = broker.run("cluster clients");
    assert!(none.stdout.is_empty(), "{none:?}");
    assert_eq!(none.stderr, b"no clients are connected\n");
    broker.change(|state| {
        state.clients = vec![
            v1::ClientConnection {
                protocol: v1::ClientProtocol::Kafka.into(),
                address: "10.0.0.7:41234".to_owned(),
                client_id: "billing".to_owned(),
                software_name: "apache-kafka-java".to_owned(),
                software_version: "4.3.1".to_owned(),
                connected_at_ms: 1_357_034_400_000,
                requests: 12_345,
            },
            v1::ClientConnection {
                protocol: v1::ClientProtocol::Native.into(),
                address: "[::1]:5".to_owned(),
                connected_at_ms: 1_357_034_400_001,
                ..Default::default()
            },
        ];
    });
    insta::assert_snapshot!(broker.stdout("cluster clients"));
    insta::assert_snapshot!(broker.stdout("cluster clients --output json"));
}
