"""kcat under the command line of `../README.md`, with nothing but Python's own library.

kcat takes headers for a whole run, so records are sent in one run for each set of headers; it sends either
empty values or null ones, so those with empty ones have a run of their own. It sets no timestamps.
"""

import os
import signal
import subprocess
import sys
import threading

sys.path.append(os.path.join(os.path.dirname(__file__), "../kafka_python"))
from contract import SESSION_MS, linger_ms, main, records, show  # noqa: E402

KEY_END = b"\x1e\x1ekey\x1e\x1e"
RECORD_END = b"\x1e\x1erecord\x1e\x1e"
# Topic, partition, offset, timestamp, length of key and value (-1 for null), headers; then key and value.
FORMAT = "%t\\n%p %o %T %K %S %h\\n%k%s"


def produce(server, topic, codec, batch_bytes):
    runs = {}
    for key, value, headers, _ in records():
        has_empty = b"" in (key, value)
        runs.setdefault((tuple(headers), has_empty), []).append((key, value))
    for (headers, has_empty), batch in runs.items():
        command = ["kcat", "-P", "-b", server, "-t", topic]
        command += ["-X", "enable.idempotence=true", "-D", RECORD_END, "-K", KEY_END]
        command += ["-X", f"linger.ms={linger_ms(batch_bytes)}"]
        if batch_bytes is not None:
            # kcat does not flush: the last record sends the batch.
            command += ["-X", f"batch.size={batch_bytes}", "-X", f"batch.num.messages={len(batch)}"]
        command += [] if codec == "none" else ["-z", codec]
        command += [] if has_empty else ["-Z"]
        for name, value in headers:
            header = name.encode() if value is None else name.encode() + b"=" + value
            command += ["-H", header]
        lines = [
            (b"" if key is None else key + KEY_END) + (value or b"") + RECORD_END
            for key, value in batch
        ]
        subprocess.run(command, input=b"".join(lines), check=True, timeout=60)


def consume(server, topics, group, _protocol, quota):
    command = ["kcat", "-G", group, *topics, "-b", server, "-u", "-q", "-f", FORMAT]
    command += ["-X", "auto.offset.reset=earliest", "-X", f"session.timeout.ms={SESSION_MS}"]
    command += ["-X", "auto.commit.interval.ms=500"]
    kcat = subprocess.Popen(command, stdout=subprocess.PIPE)
    threading.Thread(target=stop_when_done, args=(kcat, quota), daemon=True).start()
    while topic := kcat.stdout.readline():
        show(topic[:-1].decode(), *read_record(kcat.stdout))
        quota.took(1)
    code = kcat.wait()
    if code != 0 and quota.is_open():
        sys.exit(f"kcat ended with {code}")


def read_record(output):
    partition, offset, timestamp, key, value, headers = output.readline()[:-1].split(b" ", 5)
    key, value = (None if int(n) < 0 else output.read(int(n)) for n in (key, value))
    pairs = [pair.split(b"=", 1) for pair in headers.split(b",") if pair]
    pairs = [(name.decode(), None if data == b"NULL" else data) for name, data in pairs]
    return int(partition), int(offset), key, value, pairs, int(timestamp)


def stop_when_done(kcat, quota):
    """SIGTERM has kcat commit and leave the group."""
    waiting = threading.Event()
    while quota.is_open() and kcat.poll() is None:
        waiting.wait(0.1)
    kcat.send_signal(signal.SIGTERM)


main(produce, consume)
