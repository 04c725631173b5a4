"""Python clients of Kafka against one broker: each produces with every codec, each reads what all produced.

    matrix.py --server HOST:PORT

Prints one JSON object: a result for each cell, "ok" or what went wrong. Keys, null keys and null values,
headers (one name twice) and timestamps come back as they were sent.
"""

import argparse
import asyncio
import json
import time

import aiokafka
import aiokafka.admin
import confluent_kafka
import confluent_kafka.admin
import kafka
import kafka.admin

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PARTITIONS = 3
RECORDS = 200
# A value larger than a batch of the default size.
LARGE = b"x" * 300_000
PATIENCE_S = 30
START_MS = 1_700_000_000_000


def records(client, codec):
    """What one client sends with one codec: key, value, headers, timestamp."""
    name = f"{client}/{codec}"
    for number in range(RECORDS):
        key = None if number % 10 == 9 else f"{name}/{number % 7}".encode()
        value = None if key and number % 10 == 8 else f"{name} {number}".encode()
        headers = [("client", client.encode()), ("number", b"%d" % number), ("client", b"again")]
        yield key, value, headers, START_MS + number
    yield b"large", LARGE, [("client", client.encode())], START_MS + RECORDS


def topic_of(client, codec):
    return f"from-{client}-{codec}"


def create_topics(server):
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": server})
    names = [topic_of(client, codec) for client in PRODUCE for codec in CODECS]
    topics = [confluent_kafka.admin.NewTopic(name, PARTITIONS, 1) for name in names]
    for created in admin.create_topics(topics).values():
        created.result()


def produce_confluent(server, codec):
    failed = []
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": server, "compression.type": codec, "enable.idempotence": True}
    )
    for key, value, headers, timestamp in records("confluent", codec):
        producer.produce(
            topic_of("confluent", codec),
            key=key,
            value=value,
            headers=headers,
            timestamp=timestamp,
            on_delivery=lambda error, _: failed.append(str(error)) if error else None,
        )
    left = producer.flush(PATIENCE_S)
    assert not failed and left == 0, f"{failed[:1]}, {left} left"


def produce_kafka_python(server, codec):
    producer = kafka.KafkaProducer(
        bootstrap_servers=server, compression_type=None if codec == "none" else codec
    )
    sent = [
        producer.send(
            topic_of("kafka-python", codec),
            key=key,
            value=value,
            headers=headers,
            timestamp_ms=timestamp,
        )
        for key, value, headers, timestamp in records("kafka-python", codec)
    ]
    producer.flush(PATIENCE_S)
    for future in sent:
        future.get(PATIENCE_S)
    producer.close()


def produce_aiokafka(server, codec):
    async def run():
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=server, compression_type=None if codec == "none" else codec
        )
        await producer.start()
        try:
            sent = [
                await producer.send(
                    topic_of("aiokafka", codec),
                    key=key,
                    value=value,
                    headers=headers,
                    timestamp_ms=timestamp,
                )
                for key, value, headers, timestamp in records("aiokafka", codec)
            ]
            await asyncio.wait_for(asyncio.gather(*sent), PATIENCE_S)
        finally:
            await producer.stop()

    asyncio.run(run())


def consume_confluent(server, topics, group, protocol="classic"):
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": server,
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(topics)
    wanted = len(topics) * (RECORDS + 1)
    found = []
    until = time.monotonic() + PATIENCE_S
    while len(found) < wanted and time.monotonic() < until:
        message = consumer.poll(0.2)
        if message is None:
            continue
        assert not message.error(), message.error()
        found.append(
            (
                message.topic(),
                message.key(),
                message.value(),
                message.headers() or [],
                message.timestamp()[1],
            )
        )
    if found:
        consumer.commit(asynchronous=False)
    consumer.close()
    return found


def consume_confluent_848(server, topics, group):
    return consume_confluent(server, topics, group, "consumer")


def consume_kafka_python(server, topics, group):
    consumer = kafka.KafkaConsumer(
        *topics,
        bootstrap_servers=server,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    wanted = len(topics) * (RECORDS + 1)
    found = []
    until = time.monotonic() + PATIENCE_S
    while len(found) < wanted and time.monotonic() < until:
        for batch in consumer.poll(timeout_ms=200).values():
            found += [(r.topic, r.key, r.value, r.headers, r.timestamp) for r in batch]
    consumer.commit()
    consumer.close()
    return found


def consume_aiokafka(server, topics, group):
    async def run():
        consumer = aiokafka.AIOKafkaConsumer(
            *topics,
            bootstrap_servers=server,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        wanted = len(topics) * (RECORDS + 1)
        found = []
        until = time.monotonic() + PATIENCE_S
        try:
            while len(found) < wanted and time.monotonic() < until:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend((r.topic, r.key, r.value, r.headers, r.timestamp) for r in batch)
            await consumer.commit()
        finally:
            await consumer.stop()
        return found

    return asyncio.run(run())


PRODUCE = {
    "confluent": produce_confluent,
    "kafka-python": produce_kafka_python,
    "aiokafka": produce_aiokafka,
}
CONSUME = {
    "confluent": consume_confluent,
    "confluent (KIP-848)": consume_confluent_848,
    "kafka-python": consume_kafka_python,
    "aiokafka": consume_aiokafka,
}


def check(found, topics):
    """Every record of every topic came once, as it was sent, each key's in order."""
    for topic in topics:
        _, client, codec = topic.split("-", 2) if "kafka-python" not in topic else (
            None,
            "kafka-python",
            topic.rsplit("-", 1)[1],
        )
        sent = list(records(client, codec))
        got = [(k, v, [(n, bytes(x)) for n, x in h], t) for at, k, v, h, t in found if at == topic]
        assert len(got) == len(sent), f"{topic}: {len(got)} of {len(sent)} records"
        for key in {key for key, *_ in sent if key is not None}:
            of_key = [record for record in got if record[0] == key]
            assert of_key == [record for record in sent if record[0] == key], f"{topic}: key {key}"
        without_key = sorted(record for record in got if record[0] is None)
        assert without_key == sorted(r for r in sent if r[0] is None), f"{topic}: null keys"


def cell(results, name, run):
    try:
        run()
        results[name] = "ok"
    except Exception as error:  # every cell is reported, whatever a client throws
        results[name] = f"{type(error).__name__}: {error}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    server = parser.parse_args().server
    create_topics(server)
    results = {}
    for client, produce in PRODUCE.items():
        for codec in CODECS:
            cell(results, f"{client} produces {codec}", lambda: produce(server, codec))
    for client, consume in CONSUME.items():
        for producer in PRODUCE:
            topics = [topic_of(producer, codec) for codec in CODECS]
            group = f"{client} of {producer}"
            cell(
                results,
                f"{client} consumes {producer}",
                lambda: check(consume(server, topics, group), topics),
            )
    print(json.dumps(results, indent=2))


main()
