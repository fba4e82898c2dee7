"""Runs of `tidings bench`, and what the processes used meanwhile."""

import json
import os
import resource
import subprocess
import time

from .cluster import Failed
from .machine import busy_seconds, cpu_seconds, ended_children_seconds
from .servers import PROCESSES

#: A rate is reached when at least this part of it is.
REACHED = 0.98
#: Other programs with more than this part of the machine make a run a noisy one.
QUIET = 0.05
KINDS = ["pending", "delivered", "received"]
FAULTS = ["errors", "lost", "duplicated", "out_of_order"]
#: Members of the conversation whose messages are counted as frames.
FAN_OUT = 1_000
PERCENTILES = ["p50", "p90", "p99", "p99_9", "max"]


class Generator:
    def __init__(self, servers, arguments):
        self._servers = servers
        self._arguments = arguments
        raise_file_limit(arguments.idle + arguments.connections)

    def load(self, system, rate, seconds=None):
        """One load on one system; rate 0: as much as goes."""
        if system == "tidings":
            self._servers.begin_anew(system)
        with self._servers.alone(system):
            watch = Watch(self._servers.pids())
            said = self._bench(self._load_of(rate, seconds=seconds), system)
            used = watch.read()
        self._servers.check()
        return self._result(system, rate, said, used, PROCESSES[system])

    def embedded(self, rate):
        """A load on `tidings dev`, beside its pipeline in plain SQLite where
        as much as goes is asked for."""
        with self._servers.embedded() as (url, pid):
            command = [*self._load_of(rate), "--data", self._servers.embedded_folder]
            command += [] if rate else ["--with-raw", "sqlite"]
            watch = Watch({**self._servers.pids(), "dev": pid})
            said = self._run(command, url, "embedded")
            used = watch.read()
        raw_rate = said["raw"]["sqlite"]["pipeline_rate"] if not rate else None
        return {**self._result("embedded", rate, said, used, ["dev"]), "raw_rate": raw_rate}

    def fan_out(self, rate):
        """Messages to conversations of a thousand, all at one edge."""
        self._servers.begin_anew("tidings")
        with self._servers.alone("tidings"):
            watch = Watch(self._servers.pids())
            said = self._bench(self._load_of(rate, connections=FAN_OUT, members=FAN_OUT), "tidings")
            used = watch.read()
        self._servers.check()
        cpu = used["cpu_seconds"]["edge-1"] / (said["received"] or 1)
        return {
            "rate": rate,
            "members": FAN_OUT,
            "frames_rate": round(said["received_ms"]["count"] / self._arguments.seconds),
            "received": said["received"],
            "edge_cpu_seconds_per_million_frames": round(cpu * 1_000_000, 2),
            **figures(said),
            **used,
        }

    def _load_of(self, rate, seconds=None, connections=None, members=None):
        wanted = self._arguments
        command = ["--rate", rate, "--seconds", seconds or wanted.seconds, "--warmup", wanted.warmup]
        command += ["--connections", connections or wanted.connections, "--members", members or wanted.members]
        return [*command, "--bytes", wanted.bytes]

    def _result(self, system, rate, said, used, processes):
        """One run, charged with the CPU of its processes."""
        charged = sum(used["cpu_seconds"][name] for name in processes)
        clean = sum(said[fault] for fault in FAULTS) == 0
        return {
            "system": system,
            "offered_rate": rate or None,
            "reached": not rate or (clean and said["achieved_rate"] >= REACHED * rate),
            "clean": clean,
            "cpu_seconds_per_1000_messages": round(charged / (said["delivered"] or 1) * 1000, 4),
            **figures(said),
            **used,
        }

    def raw(self, rate):
        """The same pipeline in plain librdkafka: at full speed, and at a rate."""
        wanted = self._arguments
        # Half as long each, for `bench` makes it follow a load of its own.
        command = ["--rate", rate, "--seconds", max(2, wanted.seconds // 2), "--warmup", wanted.warmup]
        command += ["--bytes", wanted.bytes, "--with-raw", "kafka"]
        with self._servers.alone("tidings"):
            said = self._bench(command, "tidings")["raw"]["kafka"]
        return {name: said[name] for name in ["pipeline_rate", "pipeline_ms", "rate", "at_rate_ms"]}

    def idle(self, system):
        """What sockets cost a process that has just started."""
        self._servers.begin_anew(system)
        self._servers.settle(system)
        pid = self._servers.socket_process(system)
        said = self._bench(["idle", "--connections", self._arguments.idle, "--pid", pid], system)
        self._servers.check()
        return {"system": system, **said}

    def _bench(self, command, system):
        return self._run(command, self._servers.url(system), system)

    def _run(self, command, url, system):
        command = [*command, "--url", url]
        return bench(self._servers.binaries, command, self._servers.environment(), system)


def bench(binaries, arguments, environment, what):
    """Runs `tidings bench`; what it found."""
    done = subprocess.run(
        [str(binaries / "tidings"), "bench", *map(str, arguments), "--json"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise Failed(f"{what}: 'tidings bench' failed:\n{done.stderr.strip()}") from None


def figures(said):
    """Of what it found, what is kept of every run."""
    return {
        "achieved_rate": round(said["achieved_rate"], 1),
        **{f"{kind}_ms": {key: said[f"{kind}_ms"][key] for key in PERCENTILES} for kind in KINDS},
        **{name: said[name] for name in ["sent", "delivered", *FAULTS, "error_causes"]},
    }


class Watch:
    """What is used from now on."""

    def __init__(self, pids):
        self._pids = pids
        self._before = self._look()

    def _look(self):
        used = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        used["generator"] = ended_children_seconds()
        own = os.times()
        used["compare"] = own.user + own.system
        return time.monotonic(), busy_seconds(), used

    def read(self):
        begun, (busy_before, steal_before), before = self._before
        ended, (busy, steal), now = self._look()
        seconds = ended - begun
        capacity = seconds * os.cpu_count()
        used = {name: round(now[name] - before[name], 2) for name in now}
        others = max(0.0, busy - busy_before - sum(used.values()))
        return {
            "run_seconds": round(seconds, 2),
            "cpu_seconds": used,
            "idle_part": round(max(0.0, 1 - (busy - busy_before) / capacity), 3),
            # Kernel threads, and whoever else is on this machine.
            "others_part": round(others / capacity, 3),
            "stolen_part": round((steal - steal_before) / capacity, 3),
            "quiet": (others + steal - steal_before) / capacity <= QUIET,
        }


def raise_file_limit(sockets):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + 1_000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Failed(f"{sockets} sockets need {wanted} open files: ulimit -n {wanted}, or a smaller --idle")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
