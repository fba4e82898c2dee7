"""Runs of `tidings bench`, and what the processes used meanwhile."""

import json
import os
import resource
import subprocess
import time

from .machine import busy_seconds, cpu_seconds, ended_children_seconds
from .cluster import Failed
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
        wanted = self._arguments
        command = ["--rate", rate, "--seconds", seconds or wanted.seconds, "--warmup", wanted.warmup]
        command += ["--connections", wanted.connections, "--members", wanted.members, "--bytes", wanted.bytes]
        if system == "tidings":
            self._servers.begin_anew(system)
        with self._servers.alone(system):
            watch = Watch(self._servers.pids())
            said = self._bench(command, system)
            used = watch.read()
        self._servers.check()

        messages = said["delivered"] or 1
        charged = sum(used["cpu_seconds"][name] for name in PROCESSES[system])
        clean = said["errors"] + said["lost"] + said["duplicated"] + said["out_of_order"] == 0
        result = {
            "system": system,
            "offered_rate": rate or None,
            "achieved_rate": round(said["achieved_rate"], 1),
            "reached": not rate or (clean and said["achieved_rate"] >= REACHED * rate),
            "clean": clean,
            **{
                f"{name}_ms": {key: said[f"{name}_ms"][key] for key in PERCENTILES}
                for name in KINDS
            },
            **{name: said[name] for name in ["sent", "delivered", *FAULTS]},
            "error_causes": said["error_causes"],
            "cpu_seconds_per_1000_messages": round(charged / messages * 1000, 4),
            **used,
        }
        return result

    def embedded(self, rate):
        """A load on `tidings dev`, beside its pipeline in plain SQLite where
        as much as goes is asked for."""
        wanted = self._arguments
        command = ["--rate", rate, "--seconds", wanted.seconds, "--warmup", wanted.warmup]
        command += ["--connections", wanted.connections, "--members", wanted.members, "--bytes", wanted.bytes]
        command += [] if rate else ["--with-raw", "sqlite"]
        with self._servers.embedded() as (url, pid):
            folder = self._servers.embedded_folder
            watch = Watch({**self._servers.pids(), "dev": pid})
            said = self._run([*command, "--data", folder], url, "embedded")
            used = watch.read()
        clean = said["errors"] + said["lost"] + said["duplicated"] + said["out_of_order"] == 0
        return {
            "system": "embedded",
            "offered_rate": rate or None,
            "achieved_rate": round(said["achieved_rate"], 1),
            "reached": not rate or (clean and said["achieved_rate"] >= REACHED * rate),
            **{f"{name}_ms": {key: said[f"{name}_ms"][key] for key in PERCENTILES} for name in KINDS},
            **{name: said[name] for name in ["sent", "delivered", *FAULTS]},
            "error_causes": said["error_causes"],
            "cpu_seconds_per_1000_messages": round(used["cpu_seconds"]["dev"] / (said["delivered"] or 1) * 1000, 4),
            "raw_rate": said["raw"]["sqlite"]["pipeline_rate"] if not rate else None,
            **used,
        }

    def fan_out(self, rate):
        """Messages to conversations of a thousand, all at one edge."""
        self._servers.begin_anew("tidings")
        wanted = self._arguments
        command = ["--rate", rate, "--seconds", wanted.seconds, "--warmup", wanted.warmup]
        command += ["--connections", FAN_OUT, "--members", FAN_OUT, "--bytes", wanted.bytes]
        with self._servers.alone("tidings"):
            watch = Watch(self._servers.pids())
            said = self._bench(command, "tidings")
            used = watch.read()
        self._servers.check()
        frames = said["received_ms"]["count"] / wanted.seconds
        return {
            "rate": rate,
            "members": FAN_OUT,
            "achieved_rate": round(said["achieved_rate"], 1),
            "frames_rate": round(frames),
            **{f"{name}_ms": {key: said[f"{name}_ms"][key] for key in PERCENTILES} for name in KINDS},
            **{name: said[name] for name in ["sent", "delivered", "received", *FAULTS]},
            "error_causes": said["error_causes"],
            "edge_cpu_seconds_per_million_frames": round(
                used["cpu_seconds"]["edge-1"] / (said["received"] or 1) * 1_000_000, 2
            ),
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
        binary = self._servers.binaries / "tidings"
        command = [str(binary), "bench", *map(str, command), "--url", url, "--json"]
        done = subprocess.run(
            command, env=self._servers.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise Failed(f"{system}: 'tidings bench' failed:\n{done.stderr.strip()}") from None


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
