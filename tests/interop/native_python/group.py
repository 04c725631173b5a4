"""Members of a group in two pages of Python, written from docs/design/native-api.md.

Two members share a topic: the second joins, the first gives up what it has to and commits it first,
one breaks its stream and comes back, both leave. Prints one JSON object; exits 0 when all went as the
document says.

    python group.py --server 127.0.0.1:9192 --api proto/api --work DIR
"""

import argparse
import json
import queue
import sys
import time
import uuid

import grpc

from client import DEADLINE_S, PARTITIONS, create_topic, generate_stubs, must, requests

NOBODY = ("", -1)


class Member:
    """One member's stream. What it reads is up to its owner: `partitions` says what it may."""

    def __init__(self, api, stub, group, topic):
        self.api, self.stub, self.group, self.topic = api, stub, group, topic
        self.member_id = str(uuid.uuid4())
        self.epoch, self.partitions = 0, set()
        self.connect()

    def connect(self):
        """Joins anew with epoch 0, else takes the membership up where it was."""
        self.outbox, self.sequence, before = queue.Queue(), 0, self.epoch
        self.stream = self.stub.Member(requests(self.outbox), timeout=DEADLINE_S)
        join = self.api.MemberJoin(
            group_id=self.group,
            member_id=self.member_id,
            member_epoch=self.epoch,
            client_id="python",
            subscription=self.api.MemberSubscription(topics=[self.topic.name]),
            owned=self.held() if self.epoch else [],
        )
        self.outbox.put(self.api.MemberRequest(join=join))
        assert self.read() == "joined"
        assert self.read() == "assignment"
        return before == self.epoch

    def held(self):
        """What it holds, as messages."""
        if not self.partitions:
            return []
        topic = self.api.TopicPartitions(topic_id=self.topic.id, partitions=sorted(self.partitions))
        return [topic]

    def read(self):
        """Takes in the next answer, and returns its kind."""
        response = next(self.stream)
        kind = response.WhichOneof("response")
        if kind == "failed":
            raise SystemExit(f"member: {response.failed.name}: {response.failed.message}")
        if kind == "joined":
            assert response.joined.member_id == self.member_id
        if kind == "assignment":
            assignment = response.assignment
            assert assignment.sequence == self.sequence + 1, "one by one"
            assert assignment.member_epoch >= self.epoch, "epochs only grow"
            self.sequence, self.epoch = assignment.sequence, assignment.member_epoch
            self.partitions = {p for topic in assignment.partitions for p in topic.partitions}
        return kind

    def read_until(self, kind):
        while self.read() != kind:
            pass

    def own(self):
        """Says that it holds what it was assigned last and nothing else."""
        owned = self.api.MemberOwned(partitions=self.held(), sequence=self.sequence)
        self.outbox.put(self.api.MemberRequest(owned=owned))

    def settle(self, count):
        """Carries out assignments until it holds so many partitions."""
        self.own()
        while len(self.partitions) != count:
            self.read_until("assignment")
            self.own()

    def heartbeat(self):
        self.outbox.put(self.api.MemberRequest(heartbeat=self.api.MemberHeartbeat()))
        self.read_until("heartbeat_ack")

    def break_off(self):
        """As when a connection breaks: nothing is said."""
        self.stream.cancel()
        self.outbox.put(None)

    def leave(self):
        self.outbox.put(self.api.MemberRequest(leave=self.api.MemberLeave()))
        self.read_until("left")
        assert next(self.stream, None) is None, "the stream ends after it"
        self.outbox.put(None)

    def me(self):
        return self.member_id, self.epoch


class Commits:
    """A stream of commits, for any group and member."""

    def __init__(self, api, stub, group, topic):
        self.api, self.group, self.topic = api, group, topic
        self.outbox, self.next_id = queue.Queue(), 1
        self.stream = stub.CommitOffsets(requests(self.outbox), timeout=DEADLINE_S)

    def commit(self, who, offsets):
        """Commits {partition: offset}, and returns the name of each refusal or None."""
        common = {"topic_id": self.topic.id, "leader_epoch": -1, "metadata": "python"}
        request = self.api.CommitOffsetsRequest(
            request_id=self.next_id,
            group_id=self.group,
            member_id=who[0],
            member_epoch=who[1],
            offsets=[
                self.api.OffsetCommit(partition=partition, offset=offset, **common)
                for partition, offset in offsets.items()
            ],
        )
        self.outbox.put(request)
        answer = must(next(self.stream), "commit")
        assert answer.request_id == self.next_id
        self.next_id += 1
        return [result.error.name or None for result in answer.results]

    def close(self):
        self.outbox.put(None)
        assert next(self.stream, None) is None


def committed(api, stub, group, who):
    request = api.FetchOffsetsRequest(group_id=group, member_id=who[0], member_epoch=who[1])
    answer = must(stub.FetchOffsets(request, timeout=DEADLINE_S), "fetch offsets")
    return {offset.partition: offset.offset for offset in answer.offsets}


class Topic:
    def __init__(self, channel, name):
        self.name, self.id = name, create_topic(channel, name)


def run(channel, name):
    import millstream.v1.groups_pb2 as api
    from millstream.v1.groups_pb2_grpc import GroupServiceStub

    stub, group, topic = GroupServiceStub(channel), f"group-{name}", Topic(channel, name)
    commits = Commits(api, stub, group, topic)
    first = Member(api, stub, group, topic)
    report = {"alone": len(first.partitions)}
    first.own()
    held = first.partitions
    second = Member(api, stub, group, topic)
    assert not second.partitions, "all of it has an owner"
    first.read_until("assignment")
    lost = held - first.partitions
    report["lost"] = len(lost)
    report["last_commit"] = commits.commit(first.me(), dict.fromkeys(lost, 5))
    first.own()
    second.settle(len(lost))
    first.settle(PARTITIONS - len(lost))
    report["disjoint"] = not first.partitions & second.partitions
    found = committed(api, stub, group, second.me())
    report["taken_over_at"] = [found[partition] for partition in sorted(second.partitions)]
    report["late_commit"] = commits.commit(first.me(), dict.fromkeys(lost, 9))
    report["next_commit"] = commits.commit(second.me(), dict.fromkeys(second.partitions, 7))
    first.heartbeat()
    second.heartbeat()
    second.break_off()
    report["resumed"] = second.connect() and len(second.partitions)
    second.leave()
    first.settle(PARTITIONS)
    first.leave()
    report["as_nobody"] = commits.commit(NOBODY, {0: 11})
    commits.close()
    report["committed"] = committed(api, stub, group, NOBODY)
    deleted = stub.DeleteGroups(api.DeleteGroupsRequest(group_ids=[group]), timeout=DEADLINE_S)
    must(deleted.results[0], "delete")
    report["left"] = committed(api, stub, group, NOBODY)
    report["expected"] = {**dict.fromkeys(lost, 7), 0: 11}
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="127.0.0.1:9192")
    parser.add_argument("--api", default="proto/api")
    parser.add_argument("--work", required=True)
    parser.add_argument("--topic", default=f"python-{time.time_ns()}")
    arguments = parser.parse_args()
    generate_stubs(arguments.api, arguments.work)
    with grpc.insecure_channel(arguments.server) as channel:
        report = run(channel, arguments.topic)
    print(json.dumps(report))
    is_right = report["committed"] == report["expected"] and not report["left"]
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
