"""aiokafka."""

import asyncio

import aiokafka
import aiokafka.admin
import aiokafka.errors

from contract import BATCH_RECORDS, DELETED_BEFORE, SESSION_MS, main, records, show


async def send(server, topic, codec, batch_bytes):
    # Nothing waits between two sends once the topic is known: all are in the batch before its linger ends.
    options = {} if batch_bytes is None else {"max_batch_size": batch_bytes}
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=server,
        compression_type=None if codec == "none" else codec,
        enable_idempotence=True,
        linger_ms=50,
        **options,
    )
    await producer.start()
    try:
        sent = [
            await producer.send(topic, key=key, value=value, headers=headers, timestamp_ms=timestamp)
            for key, value, headers, timestamp in records()
        ]
        await asyncio.wait_for(asyncio.gather(*sent), 60)
    finally:
        await producer.stop()


async def read(server, topics, group, quota):
    consumer = aiokafka.AIOKafkaConsumer(
        *topics,
        bootstrap_servers=server,
        group_id=group,
        session_timeout_ms=SESSION_MS,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        while quota.is_open():
            found = await consumer.getmany(timeout_ms=200, max_records=BATCH_RECORDS)
            for batch in found.values():
                for r in batch:
                    show(r.topic, r.partition, r.offset, r.key, r.value, r.headers, r.timestamp)
                quota.took(len(batch))
            if found:
                await commit(consumer)
    finally:
        await consumer.stop()


async def commit(consumer):
    """Commits what was consumed, unless a rebalance took its partitions: then others read it again."""
    try:
        await consumer.commit()
    except (aiokafka.errors.CommitFailedError, aiokafka.errors.IllegalStateError):
        pass


def produce(server, topic, codec, batch_bytes):
    asyncio.run(send(server, topic, codec, batch_bytes))


def consume(server, topics, group, _protocol, quota):
    asyncio.run(read(server, topics, group, quota))


async def delete(server, partition):
    admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=server)
    await admin.start()
    try:
        before = aiokafka.admin.RecordsToDelete(before_offset=DELETED_BEFORE)
        return await admin.delete_records({partition: before})
    finally:
        await admin.close()


def delete_records(server, topic):
    partition = aiokafka.TopicPartition(topic, 0)
    return asyncio.run(delete(server, partition))[partition]


main(produce, consume, {"delete-records": delete_records})
