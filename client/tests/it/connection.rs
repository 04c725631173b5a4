//! Bootstrap: dead, silent and wrong addresses.

use std::time::Duration;

use millstream::{Client, Error};
use tokio::net::TcpListener;

use crate::support::{FakeBroker, dead_address, record};

#[tokio::test]
async fn one_dead_address_is_survived() {
    let broker = FakeBroker::start(1).await;
    let bootstrap = format!("{},{}", dead_address().await, broker.bootstrap());
    let client = Client::connect(&bootstrap).await.unwrap();
    let producer = client.producer().build().unwrap();
    producer.send(record("a")).await.unwrap().await.unwrap();
    assert_eq!(client.admin().list_topics(false).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_address_that_accepts_and_never_answers_is_survived() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = FakeBroker::start(1).await;
    let bootstrap = format!("{},{}", silent.local_addr().unwrap(), broker.bootstrap());
    let connecting = Client::connect(&bootstrap);
    let client = tokio::time::timeout(Duration::from_secs(4), connecting)
        .await
        .unwrap()
        .unwrap();
    client.admin().list_topics(false).await.unwrap();
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named_with_the_reason() {
    let (first, second) = (dead_address().await, dead_address().await);
    let bootstrap = format!("{first},{second}");
    let error = Client::connect(&bootstrap).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot reach {bootstrap}: connection refused")
    );
    assert!(error.is_retriable());
    assert!(error.hint().unwrap().contains("millstreamd"));
}

#[tokio::test]
async fn a_silent_broker_is_given_up_after_the_connect_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let client = Client::builder(&address).connect_timeout(Duration::from_millis(100));
    let error = client.connect().await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { addresses, .. } if *addresses == address),
        "{error}"
    );
}

#[tokio::test]
async fn calls_go_on_with_another_address_when_one_dies() {
    let broker = FakeBroker::start(1).await;
    let other = crate::support::proxy::Proxy::start(broker.address).await;
    let client = Client::connect(&format!("{},{}", broker.bootstrap(), other.address))
        .await
        .unwrap();
    client.admin().list_topics(false).await.unwrap();
    broker.proxy.set_accepting(false);
    broker.proxy.break_connections();
    client.admin().list_topics(false).await.unwrap();
}

#[tokio::test]
async fn bad_bootstrap_lists_are_refused() {
    for bad in ["", "localhost", "127.0.0.1:9192,,127.0.0.1:9193"] {
        let error = Client::connect(bad).await.unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{bad}: {error}");
    }
}
