"""confluent-kafka, which is librdkafka in Python."""

import confluent_kafka
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from contract import BATCH_RECORDS, DELETED_BEFORE, SESSION_MS, linger_ms, main, records, show


def produce(server, topic, codec, batch_bytes):
    failed = []

    def delivered(error, _message):
        if error:
            failed.append(str(error))

    options = {
        "bootstrap.servers": server,
        "compression.type": codec,
        "enable.idempotence": True,
        "linger.ms": linger_ms(batch_bytes),
    }
    if batch_bytes is not None:
        options["batch.size"] = batch_bytes
    producer = confluent_kafka.Producer(options)
    for key, value, headers, timestamp in records():
        producer.produce(
            topic,
            key=key,
            value=value,
            headers=headers,
            timestamp=timestamp,
            on_delivery=delivered,
        )
        producer.poll(0)
    left = producer.flush(60)
    assert not failed and left == 0, f"{failed[:1]}, {left} left"


def consume(server, topics, group, protocol, quota):
    options = {
        "bootstrap.servers": server,
        "group.id": group,
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    if protocol == "classic":
        options["session.timeout.ms"] = SESSION_MS
    consumer = confluent_kafka.Consumer(options)
    consumer.subscribe(topics)
    while quota.is_open():
        batch = consumer.consume(BATCH_RECORDS, 0.2)
        for message in batch:
            if message.error():
                raise confluent_kafka.KafkaException(message.error())
            show(
                message.topic(),
                message.partition(),
                message.offset(),
                message.key(),
                message.value(),
                message.headers(),
                message.timestamp()[1],
            )
        if batch:
            commit(consumer)
        quota.took(len(batch))
    consumer.close()


def commit(consumer):
    """Commits what was consumed, unless a rebalance took its partitions: then others read it again."""
    try:
        consumer.commit(asynchronous=False)
    except confluent_kafka.KafkaException as error:
        if error.args[0].code() not in (
            confluent_kafka.KafkaError._NO_OFFSET,
            confluent_kafka.KafkaError.ILLEGAL_GENERATION,
            confluent_kafka.KafkaError.REBALANCE_IN_PROGRESS,
            confluent_kafka.KafkaError.STALE_MEMBER_EPOCH,
            confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID,
        ):
            raise


def delete_records(server, topic):
    before = confluent_kafka.TopicPartition(topic, 0, DELETED_BEFORE)
    # Calls end with their client.
    admin = AdminClient({"bootstrap.servers": server})
    return admin.delete_records([before])[before].result().low_watermark


def change_policy(server, topic, operation, item):
    entry = ConfigEntry("cleanup.policy", item, incremental_operation=operation)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": server})
    admin.incremental_alter_configs([resource])[resource].result()


def append_config(server, topic):
    change_policy(server, topic, AlterConfigOpType.APPEND, "compact")


def subtract_config(server, topic):
    change_policy(server, topic, AlterConfigOpType.SUBTRACT, "delete")


main(
    produce,
    consume,
    {
        "delete-records": delete_records,
        "append-config": append_config,
        "subtract-config": subtract_config,
    },
)
