"""kafka-python. It sends no header without a value: such a value is empty."""

import kafka
import kafka.admin
import kafka.errors

from contract import BATCH_RECORDS, DELETED_BEFORE, SESSION_MS, linger_ms, main, records, show


def produce(server, topic, codec, batch_bytes):
    options = {} if batch_bytes is None else {"batch_size": batch_bytes}
    producer = kafka.KafkaProducer(
        bootstrap_servers=server,
        compression_type=None if codec == "none" else codec,
        linger_ms=linger_ms(batch_bytes),
        **options,
    )
    sent = []
    for key, value, headers, timestamp in records():
        headers = [(name, data or b"") for name, data in headers]
        sent.append(
            producer.send(topic, key=key, value=value, headers=headers, timestamp_ms=timestamp)
        )
    producer.flush(60)
    for future in sent:
        future.get(60)
    producer.close()


def consume(server, topics, group, _protocol, quota):
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=server,
        group_id=group,
        session_timeout_ms=SESSION_MS,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    # Without metadata it assigns nothing at first; 3.0.12 sometimes never gets over the second rebalance then,
    # with whatever broker.
    for topic in topics:
        consumer.partitions_for_topic(topic)
    consumer.subscribe(topics)
    while quota.is_open():
        found = consumer.poll(timeout_ms=200, max_records=BATCH_RECORDS)
        for batch in found.values():
            for r in batch:
                show(r.topic, r.partition, r.offset, r.key, r.value, r.headers, r.timestamp)
            quota.took(len(batch))
        if found:
            commit(consumer)
    consumer.close()


def commit(consumer):
    """Commits what was consumed, unless a rebalance took its partitions: then others read it again."""
    try:
        consumer.commit()
    except (kafka.errors.CommitFailedError, kafka.errors.RebalanceInProgressError):
        pass


def describe_producers(admin, topic):
    partition = kafka.TopicPartition(topic, 0)
    return len(admin.describe_producers([partition])[partition].active_producers)


def delete_records(admin, topic):
    partition = kafka.TopicPartition(topic, 0)
    return admin.delete_records({partition: DELETED_BEFORE})[partition]["low_watermark"]


def describe_log_dirs(admin, topic):
    [broker] = admin.describe_log_dirs({topic: [0]})
    [log_dir] = broker["log_dirs"]
    return log_dir["topics"][0]["partitions"][0]["partition_size"]


def change_policy(admin, topic, operation, item):
    configs = {"cleanup.policy": (operation, item)}
    resource = kafka.admin.ConfigResource("TOPIC", topic, configs)
    changed = admin.alter_configs([resource])["topic"][topic]
    assert changed == "OK", changed


def append_config(admin, topic):
    change_policy(admin, topic, "APPEND", "compact")


def subtract_config(admin, topic):
    change_policy(admin, topic, "SUBTRACT", "delete")


def list_config_resources(admin, _topic):
    return "\n".join(admin.list_config_resources(["TOPIC"])["topic"])


def with_admin(call):
    def made(server, topic):
        admin = kafka.KafkaAdminClient(bootstrap_servers=server)
        try:
            return call(admin, topic)
        finally:
            admin.close()

    return made


CALLS = {
    "describe-producers": describe_producers,
    "delete-records": delete_records,
    "describe-log-dirs": describe_log_dirs,
    "append-config": append_config,
    "subtract-config": subtract_config,
    "list-config-resources": list_config_resources,
}

main(produce, consume, {name: with_admin(call) for name, call in CALLS.items()})
