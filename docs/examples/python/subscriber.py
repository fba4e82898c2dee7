"""Reads message.delivered and prints each event as one line of JSON.

    pip install -r requirements.txt
    python subscriber.py --brokers 127.0.0.1:9092 --registry http://127.0.0.1:8081 --group billing

A group goes on where it stopped. Replace `handle` with your own work, and see
docs/subscribing.md for what the records mean.
"""

import argparse
import json
from datetime import UTC, datetime

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

COMMIT_EVERY = 500  # records


class ReaderRule:
    """Tells which records of one partition count. Give it all, in log order."""

    def __init__(self, state):
        epoch, _, self.owner = (state or "").partition(" ")
        self.epoch = int(epoch or 0)

    def counts(self, epoch, owner, is_claim):
        if is_claim and epoch > self.epoch:
            self.epoch, self.owner = epoch, owner
        return not is_claim and (epoch, owner) == (self.epoch, self.owner)

    def __str__(self):
        """What to keep with an offset, to go on from there."""
        return f"{self.epoch} {self.owner}" if self.epoch else ""


def handle(message, headers, decision):
    """One event. The same one may come again after a crash: its conversation
    and seq tell."""
    print(
        json.dumps(
            {
                "partition": message.partition(),
                "offset": message.offset(),
                "id": headers["ce_id"],
                "type": headers["ce_type"],
                "tenant": decision["tenant"],
                "conversation_id": decision["conversation_id"],
                "seq": decision["seq"],
                "at": decision["at"],
                "by": decision["sender"],
                "event": decision["event"],
            },
            default=as_text,
            ensure_ascii=False,
        ),
        flush=True,
    )


def as_text(value):
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return str(value)  # a UUID


class Subscriber:
    def __init__(self, args):
        self.topic = f"{args.topic_prefix}message.delivered"
        self.decode = AvroDeserializer(SchemaRegistryClient({"url": args.registry}))
        self.context = SerializationContext(self.topic, MessageField.VALUE)
        self.exit_at_end = args.exit_at_end
        self.rules = {}  # of each partition
        self.next = {}  # the offset to go on at
        self.at_end = set()
        self.consumer = Consumer(
            {
                "bootstrap.servers": args.brokers,
                "group.id": args.group,
                "enable.auto.commit": False,
                "enable.partition.eof": args.exit_at_end,
            }
        )

    def run(self):
        self.consumer.subscribe(
            [self.topic], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.lost
        )
        uncommitted = 0
        try:
            while not (self.exit_at_end and self.rules and self.at_end == set(self.rules)):
                message = self.consumer.poll(1.0)
                if message is None:
                    continue
                if message.error() is None:
                    self.take(message)
                    uncommitted += 1
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    self.at_end.add(message.partition())
                else:
                    raise KafkaException(message.error())
                if uncommitted >= COMMIT_EVERY:
                    self.commit()
                    uncommitted = 0
        finally:
            self.consumer.close()  # commits, by `revoked`

    def take(self, message):
        headers = {name: value.decode() for name, value in message.headers()}
        is_claim = message.value() is None
        rule = self.rules[message.partition()]
        if rule.counts(int(headers["ce_epoch"]), headers["ce_owner"], is_claim):
            decision = self.decode(message.value(), self.context)
            # Rejected, duplicate, dead, and changes that are the sender's own
            # are no events.
            if decision["outcome"] == "accepted" and decision["seq"] is not None:
                handle(message, headers, decision)
        self.next[message.partition()] = message.offset() + 1

    def assigned(self, consumer, partitions):
        starts = []
        for position in consumer.committed(partitions):
            # The rule's state stands beside the position: the claim that
            # counts there may be far behind.
            known = position.offset >= 0
            self.rules[position.partition] = ReaderRule(position.metadata if known else "")
            offset = position.offset if known else OFFSET_BEGINNING
            starts.append(TopicPartition(self.topic, position.partition, offset))
        consumer.assign(starts)

    def revoked(self, consumer, partitions):
        self.commit()
        self.lost(consumer, partitions)

    def lost(self, consumer, partitions):
        for partition in partitions:
            self.rules.pop(partition.partition, None)
            self.next.pop(partition.partition, None)
            self.at_end.discard(partition.partition)

    def commit(self):
        offsets = [
            TopicPartition(self.topic, partition, offset, str(self.rules[partition]))
            for partition, offset in self.next.items()
        ]
        if offsets:
            self.consumer.commit(offsets=offsets, asynchronous=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Prints the events of message.delivered.")
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--topic-prefix", default="")
    parser.add_argument("--exit-at-end", action="store_true")
    Subscriber(parser.parse_args()).run()
