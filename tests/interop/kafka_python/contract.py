"""The command line that all clients of this folder share; `../README.md` says what it is."""

import argparse
import base64
import json
import sys
import threading

SESSION_MS = 10_000
LINGER_MS = 50
# For one batch: longer than its records take to come. A flush ends it.
BATCH_LINGER_MS = 30_000
BATCH_RECORDS = 500
DELETED_BEFORE = 5


def decoded(text):
    return None if text is None else base64.b64decode(text)


def encoded(data):
    return None if data is None else base64.b64encode(data).decode()


def records():
    """The records of standard input: key, value, headers, timestamp."""
    for line in sys.stdin:
        record = json.loads(line)
        headers = [(name, decoded(value)) for name, value in record["headers"]]
        yield decoded(record["key"]), decoded(record["value"]), headers, record["timestamp"]


def show(topic, partition, offset, key, value, headers, timestamp):
    """Prints one consumed record."""
    record = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "key": encoded(key),
        "value": encoded(value),
        "headers": [[name, encoded(value)] for name, value in headers or []],
        "timestamp": timestamp,
    }
    print(json.dumps(record), flush=True)


def linger_ms(batch_bytes):
    return LINGER_MS if batch_bytes is None else BATCH_LINGER_MS


class Quota:
    """How many records are still to be consumed: until a number is, or standard input ends."""

    def __init__(self, count):
        self._left = count
        self._ended = False
        if count is None:
            threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        sys.stdin.read()
        self._ended = True

    def took(self, records):
        if self._left is not None:
            self._left -= records

    def is_open(self):
        return not self._ended if self._left is None else self._left > 0


def main(produce, consume, calls=None):
    """Runs `produce(server, topic, codec, batch_bytes)`, `consume(server, topics, group, protocol, quota)`, or
    one of the administrative calls, by their names, with `(server, topic)`; prints what a call returns."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    sender = commands.add_parser("produce")
    sender.add_argument("--server", required=True)
    sender.add_argument("--topic", required=True)
    sender.add_argument("--codec", required=True)
    sender.add_argument("--batch-bytes", type=int)
    reader = commands.add_parser("consume")
    reader.add_argument("--server", required=True)
    reader.add_argument("--topics", required=True)
    reader.add_argument("--group", required=True)
    reader.add_argument("--protocol", required=True)
    reader.add_argument("--count", type=int)
    admin = commands.add_parser("admin")
    admin.add_argument("--server", required=True)
    admin.add_argument("--topic", required=True)
    admin.add_argument("--call", required=True, choices=calls or [])
    args = parser.parse_args()
    if args.command == "produce":
        produce(args.server, args.topic, args.codec, args.batch_bytes)
    elif args.command == "admin":
        answer = calls[args.call](args.server, args.topic)
        if answer is not None:
            print(answer)
    else:
        topics = args.topics.split(",")
        consume(args.server, topics, args.group, args.protocol, Quota(args.count))
