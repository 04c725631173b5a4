"""A client of the native API in a page of Python, written from docs/design/native-api.md.

Creates a topic, produces record batches to every partition over one stream, reads them back with
small credits over another, and compares. Prints one JSON object; exits 0 when all is equal.

    python client.py --server 127.0.0.1:9192 --api proto/api --work DIR
"""

import argparse
import json
import pathlib
import queue
import struct
import sys
import time

import crc32c
import grpc
from grpc_tools import protoc

PARTITIONS = 3
BATCHES_PER_PARTITION = 40
RECORDS_PER_BATCH = 25
CREDIT_BYTES = 4096
DEADLINE_S = 30


def generate_stubs(api, work):
    """Compiles the .proto files into `work` and makes them importable."""
    files = [str(path) for path in sorted(pathlib.Path(api).rglob("*.proto"))]
    arguments = ["protoc", f"-I{api}", f"--python_out={work}", f"--grpc_python_out={work}"]
    if protoc.main(arguments + files) != 0:
        raise SystemExit("protoc failed")
    sys.path.insert(0, str(work))


def varint(number):
    """Zigzag varint, as record fields use it."""
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data, position):
    shift = number = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), position


def sized(data):
    return varint(-1) if data is None else varint(len(data)) + data


def encode_batch(records, timestamp_ms):
    """One uncompressed record batch v2 at base offset 0 from (key, value) pairs."""
    payload = bytearray()
    for delta, (key, value) in enumerate(records):
        record = b"\0" + varint(delta) + varint(delta) + sized(key) + sized(value) + varint(0)
        payload += varint(len(record)) + record
    last = len(records) - 1
    covered = struct.pack(
        ">hiqqqhii", 0, last, timestamp_ms, timestamp_ms + last, -1, -1, -1, len(records)
    ) + payload
    header = struct.pack(">qiibI", 0, 9 + len(covered), -1, 2, crc32c.crc32c(covered))
    return header + covered


def decode_batches(data):
    """Yields (offset, key, value) of uncompressed batches back to back, checking each CRC."""
    position = 0
    while position < len(data):
        base, length, _epoch, magic, crc = struct.unpack_from(">qiibI", data, position)
        end = position + 12 + length
        covered = data[position + 21 : end]
        if magic != 2 or crc32c.crc32c(covered) != crc:
            raise SystemExit(f"bad batch at offset {base}")
        count = struct.unpack_from(">i", covered, 36)[0]
        at = 40
        for _ in range(count):
            size, at = read_varint(covered, at)
            record_end = at + size
            _, at = read_varint(covered, at + 1)
            delta, at = read_varint(covered, at)
            fields = []
            for _ in range(2):
                size, at = read_varint(covered, at)
                fields.append(None if size < 0 else bytes(covered[at : at + size]))
                at += max(size, 0)
            yield base + delta, fields[0], fields[1]
            at = record_end
        position = end


def requests(outbox):
    """Turns a queue into the request iterator of a stream; None ends it."""
    return iter(outbox.get, None)


def must(item, what):
    if item.HasField("error"):
        raise SystemExit(f"{what}: {item.error.name}: {item.error.message}")
    return item


def create_topic(channel, name):
    import millstream.v1.topics_pb2 as topics
    from millstream.v1.topics_pb2_grpc import TopicServiceStub

    new = topics.NewTopic(name=name, partitions=PARTITIONS, configs={"retention.ms": "-1"})
    request = topics.CreateTopicsRequest(topics=[new])
    response = TopicServiceStub(channel).CreateTopics(request, timeout=DEADLINE_S)
    return must(response.results[0], "create").topic_id


def produce(channel, topic_id):
    """Sends every batch before it reads the first acknowledgement; returns what was written."""
    import millstream.v1.produce_pb2 as api
    from millstream.v1.produce_pb2_grpc import ProduceServiceStub

    outbox, expected, asked = queue.Queue(), {}, {}
    stream = ProduceServiceStub(channel).Produce(requests(outbox), timeout=DEADLINE_S)
    for number in range(PARTITIONS * BATCHES_PER_PARTITION):
        partition = number % PARTITIONS
        records = [
            (f"key {number % 7}".encode() if number % 5 else None, f"{number}/{i}".encode())
            for i in range(RECORDS_PER_BATCH)
        ]
        expected.setdefault(partition, []).extend(records)
        asked[number] = partition
        batch = encode_batch(records, 1_357_016_400_000 + number)
        outbox.put(
            api.ProduceRequest(
                request_id=number, topic_id=topic_id, partition=partition, leader_epoch=-1, batch=batch
            )
        )
    next_offset = dict.fromkeys(range(PARTITIONS), 0)
    for response in stream:
        if response.HasField("opened"):
            assert response.opened.in_flight_bytes_max > 0
            continue
        ack = must(response.ack, "produce")
        partition = asked.pop(ack.request_id)
        assert ack.base_offset == next_offset[partition], (ack, next_offset)
        assert ack.durability == 1 and ack.replicas == 1, ack
        next_offset[partition] += RECORDS_PER_BATCH
        if not asked:
            outbox.put(None)
    return expected


def consume(channel, topic_id, expected):
    """Reads all partitions over one stream, granting what was received."""
    import millstream.v1.fetch_pb2 as api
    from millstream.v1.fetch_pb2_grpc import FetchServiceStub

    outbox = queue.Queue()
    outbox.put(api.FetchRequest(open=api.FetchOpen(frame_bytes_max=2048)))
    for partition in range(PARTITIONS):
        add = api.FetchAdd(
            fetch_id=100 + partition,
            topic_id=topic_id,
            partition=partition,
            offset=0,
            leader_epoch=-1,
            credit_bytes=CREDIT_BYTES,
        )
        outbox.put(api.FetchRequest(add=add))
    found = {partition: [] for partition in range(PARTITIONS)}
    frames = 0
    for response in FetchServiceStub(channel).Fetch(requests(outbox), timeout=DEADLINE_S):
        if response.HasField("failed"):
            raise SystemExit(f"fetch: {response.failed.error.message}")
        if not response.HasField("data"):
            continue
        data = response.data
        records = found[data.fetch_id - 100]
        for offset, key, value in decode_batches(data.batches):
            assert offset == len(records), (offset, len(records))
            records.append((key, value))
        frames += bool(data.batches)
        if data.batches:
            grant = api.FetchCredit(fetch_id=data.fetch_id, bytes=len(data.batches))
            outbox.put(api.FetchRequest(credit=grant))
        if all(len(found[p]) >= len(expected[p]) for p in expected):
            outbox.put(None)
            break
    return found, frames


def refused(channel):
    """A batch for a topic that does not exist is an answer on the stream, not its end."""
    import millstream.v1.produce_pb2 as api
    from millstream.v1.produce_pb2_grpc import ProduceServiceStub

    outbox = queue.Queue()
    batch = encode_batch([(None, b"nobody")], 0)
    for request_id in (1, 2):
        outbox.put(
            api.ProduceRequest(
                request_id=request_id, topic_id=b"\1" * 16, partition=0, leader_epoch=-1, batch=batch
            )
        )
    codes = []
    for response in ProduceServiceStub(channel).Produce(requests(outbox), timeout=DEADLINE_S):
        if response.HasField("ack"):
            codes.append(response.ack.error.name)
        if len(codes) == 2:
            outbox.put(None)
            return codes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="127.0.0.1:9192")
    parser.add_argument("--api", default="proto/api")
    parser.add_argument("--work", required=True)
    parser.add_argument("--topic", default=f"python-{time.time_ns()}")
    arguments = parser.parse_args()
    generate_stubs(arguments.api, arguments.work)
    with grpc.insecure_channel(arguments.server) as channel:
        topic_id = create_topic(channel, arguments.topic)
        expected = produce(channel, topic_id)
        found, frames = consume(channel, topic_id, expected)
        codes = refused(channel)
    report = {
        "produced": sum(map(len, expected.values())),
        "consumed": sum(map(len, found.values())),
        "equal": found == expected,
        "frames": frames,
        "refused": codes,
    }
    print(json.dumps(report))
    return 0 if report["equal"] and codes == ["UNKNOWN_TOPIC_ID"] * 2 else 1


if __name__ == "__main__":
    sys.exit(main())
