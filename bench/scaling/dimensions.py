"""What grows, and how one point is measured."""

import json
import os
import signal
from dataclasses import dataclass

from comparison.generator import Watch, bench, figures, raise_file_limit

#: What must be started of the cluster.
MEMBERS = ["kafka", "registry", "mongodb", "redis", "sequencer", "edge-1"]
WARMUP_S = 2
#: As much as a broker and a generator beside it leave room for.
BUSY_RATE = 5000
#: Events a second of the largest conversations.
BUSY_EVENTS = 40_000


@dataclass(frozen=True)
class Dimension:
    """What grows, and where."""

    #: As a heading.
    title: str
    #: The axis.
    label: str
    values: list
    #: What stays the same, for a reader.
    others: str


DIMENSIONS = {
    "members": Dimension(
        "Members of a conversation",
        "members",
        [2, 10, 100, 1_000],
        "1,000 sockets; 2,000 messages a second, but never more than 40,000 events to members",
    ),
    "conversations": Dimension(
        "Conversations",
        "conversations",
        [500, 10_000, 100_000],
        "1,000 sockets in conversations of 2, which get 2,000 messages a second in turn",
    ),
    "sockets": Dimension(
        "Sockets",
        "sockets",
        [100, 1_000, 10_000, 18_000],
        "conversations of 2; 2,000 messages a second",
    ),
    "edges": Dimension(
        "Edges",
        "edges",
        [1, 2, 4],
        "100 sockets, shared among them, in conversations of 10; 5,000 messages a second",
    ),
    "partitions": Dimension(
        "Partitions",
        "partitions",
        [1, 4, 12, 48],
        "100 sockets in conversations of 10; 5,000 messages a second",
    ),
    "log": Dimension(
        "Length of the log",
        "decisions in the log",
        [10_000, 100_000, 1_000_000],
        "the sequencer is killed and started again; then 100 sockets in conversations of 10, 2,000 messages a second",
    ),
}


def load_of(name, value):
    """The arguments of `tidings bench` for a point."""
    rate, sockets, members, conversations = BUSY_RATE, 100, 10, 1
    if name == "members":
        rate, sockets, members = min(2_000, BUSY_EVENTS // value), 1_000, value
    elif name == "conversations":
        rate, sockets, members, conversations = 2_000, 1_000, 2, value // 500
    elif name == "sockets":
        rate, sockets, members = 2_000, value, 2
    elif name == "log":
        rate = 2_000
    return {"rate": rate, "connections": sockets, "members": members, "conversations": conversations}


def measure(cluster, name, value, seconds):
    """One point of a dimension."""
    load = load_of(name, value)
    raise_file_limit(load["connections"])
    edges = value if name == "edges" else 1
    cluster.have_edges(edges)
    cluster.begin_anew(value if name == "partitions" else None)
    point = {"value": value, **load}
    if name == "log":
        point["fill_rate"] = fill(cluster, value)
        point["recovery_seconds"] = restart_sequencer(cluster)

    watch = Watch(cluster.pids())
    said = load_with(cluster, {**load, "seconds": seconds, "warmup": WARMUP_S}, name)
    used = watch.read()
    cluster.check()
    # To make a conversation is a command like any other.
    commands = said["delivered"] + said["conversations"]

    def cost(names):
        return round(sum(used["cpu_seconds"][one] for one in names) / commands * 1000, 4)

    names = [member for member in cluster.members if member.startswith("edge-")]
    point |= {"received": said["received"], **figures(said)}
    point["cpu_per_1000"] = {
        "edge": cost(names),
        "sequencer": cost(["sequencer"]),
        "kafka": cost(["kafka"]),
    }
    point["resident_mib"] = {
        "edge": sum(resident_mib(cluster.pid(one)) for one in names) // edges,
        "sequencer": resident_mib(cluster.pid("sequencer")),
    }
    point |= {key: used[key] for key in ["idle_part", "others_part", "stolen_part", "quiet"]}
    return point


def load_with(cluster, options, what):
    # Behind those that run are those that were stopped.
    running = sum(name.startswith("edge-") for name in cluster.members)
    urls = cluster.environment["TIDINGS_EDGE_URLS"].split(",")[:running]
    arguments = ["--url", ",".join(urls)]
    for option, value in options.items():
        arguments += [f"--{option}", value]
    return bench(cluster.binaries, arguments, cluster.environment, what)


def fill(cluster, decisions):
    """As fast as it goes, until there are so many. The rate."""
    written = seconds = 0
    while written < decisions * 0.98:
        left = decisions - written
        # The last part at a rate, so that it is not much too long.
        options = {"rate": 0, "seconds": 20} if left > 500_000 else {"rate": 10_000, "seconds": max(1, left // 10_000)}
        said = load_with(cluster, {**options, "warmup": 0}, "filling the log")
        written += said["delivered"]
        seconds += options["seconds"]
    return round(written / seconds)


def restart_sequencer(cluster):
    """Kills it; how long the next one takes for all partitions, from when the
    group has given them to it, in seconds."""
    log = cluster.log("sequencer")
    before = log.stat().st_size
    os.kill(cluster.pid("sequencer"), signal.SIGKILL)
    cluster.command("restart", "sequencer")
    with open(log) as lines:
        lines.seek(before)
        said = [json.loads(line) for line in lines if line.startswith("{")]
    return max(line["took_ms"] for line in said if line["message"] == "partition gained") / 1000


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) // 1024
    return 0
