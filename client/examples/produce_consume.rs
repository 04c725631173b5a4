//! Writes a thousand records to a topic and reads them back.
//!
//! `cargo run -p millstream --example produce_consume -- 127.0.0.1:9192`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use millstream::{Assignment, Client, Error, ErrorCode, NewTopic, Record, Result};

const TOPIC: &str = "example";

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9192".to_owned());
    let client = Client::connect(&address).await?;
    match client
        .admin()
        .create_topic(NewTopic::new(TOPIC).partitions(4))
        .await
    {
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {}
        created => drop(created?),
    }
    produce(&client).await?;
    consume(&client).await
}

async fn produce(client: &Client) -> Result<()> {
    let producer = client.producer().build()?;
    let mut deliveries = Vec::new();
    for index in 0..1_000 {
        let record = Record::to(TOPIC)
            .key(format!("key-{}", index % 10))
            .value(index.to_string());
        deliveries.push(producer.send(record).await?);
    }
    for delivery in deliveries {
        delivery.await.inspect_err(explain)?;
    }
    producer.close(Duration::from_secs(10)).await
}

async fn consume(client: &Client) -> Result<()> {
    let mut consumer = client.consumer().build()?;
    consumer
        .assign([Assignment::topic(TOPIC).until_end()])
        .await?;
    let mut count = 0;
    while let Some(record) = consumer.recv().await? {
        count += 1;
        if count % 100 == 0 {
            println!(
                "{}-{} {}: {:?}",
                record.topic, record.partition, record.offset, record.value
            );
        }
    }
    println!("{count} records");
    Ok(())
}

fn explain(error: &Error) {
    println!("{error}; hint: {}", error.hint().unwrap_or_default());
}
