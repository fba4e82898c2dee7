"""The servers that are measured, and those below."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

from .cluster import Cluster, Failed, run
from .machine import cpu_seconds, family

PATIENCE_S = 60
#: The processes of each system, whose CPU a message is charged with.
PROCESSES = {"tidings": ["sequencer", "edge-1"], "node": ["node"]}
#: CPU that a system at rest uses less of in half a second.
SETTLED_S = 0.08
#: What must be started of the cluster.
MEMBERS = ["kafka", "registry", "mongodb", "redis", "sequencer", "edge-1"]


class Servers:
    """Kafka and the rest, tidings and the Node.js server, while it is entered."""

    def __init__(self, root, folder, workers):
        # Longer than it may be paused.
        self._cluster = Cluster(root, folder, MEMBERS, {"TIDINGS_SESSION_TIMEOUT_MS": "120000"})
        self._root = root
        self._workers = workers
        self._node = None
        self.binaries = self._cluster.binaries
        #: The data folder of `tidings dev`.
        self.embedded_folder = folder / "embedded"

    def __enter__(self):
        self._cluster.__enter__()
        try:
            self._node_port = run([self._root / "scripts" / "servers", "port"]).strip()
            self._start_node()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._stop_node()
        self._cluster.__exit__()

    # ---- What is asked of them

    def environment(self):
        """For the generator."""
        return self._cluster.environment

    def url(self, system):
        return {
            "tidings": self._cluster.environment["TIDINGS_EDGE_URLS"],
            "node": f"ws://127.0.0.1:{self._node_port}",
        }[system]

    def pids(self):
        """Of every process, by name."""
        return {**self._cluster.pids(), "node": self._node.pid}

    def socket_process(self, system):
        """The pid of the process that holds the sockets."""
        return self.pids()["edge-1" if system == "tidings" else "node"]

    def begin_anew(self, system):
        """Starts what has just begun: it finds nothing that a run has left."""
        if system == "node":
            self._stop_node()
            self._start_node()
        else:
            self._cluster.begin_anew()

    def check(self):
        """Fails when one is gone."""
        self._cluster.check()
        if self._node.poll() is not None:
            raise Failed(f"the Node.js server has ended; the end of its log:\n{self._cluster.log_end('node')}")

    @contextlib.contextmanager
    def alone(self, system):
        """Meanwhile the other system is paused: its polling costs Kafka, too."""
        (other,) = set(PROCESSES) - {system}
        paused = [pid for name in PROCESSES[other] for pid in family(self.pids()[name])]
        try:
            for pid in paused:
                os.kill(pid, signal.SIGSTOP)
            self.settle(system)
            yield
        finally:
            for pid in paused:
                # Who has ended is told by check().
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def settle(self, system):
        """Waits until a system has worked off what a run left, or a while is over."""
        pids = [self.pids()[name] for name in PROCESSES[system]]
        deadline = time.monotonic() + 20
        before = sum(map(cpu_seconds, pids))
        while time.monotonic() < deadline:
            time.sleep(0.5)
            now = sum(map(cpu_seconds, pids))
            if now - before < SETTLED_S:
                return
            before = now

    def versions(self):
        packages = json.loads((self._root / "bench/node/package-lock.json").read_text())["packages"]
        libraries = ["ws", "kafkajs", "ioredis"]
        # What somebody else has built may be of any.
        built_here = self.binaries == self._root / "target" / "release"
        commit = run(["git", "-C", self._root, "rev-parse", "--short=10", "HEAD"]).strip() if built_here else None
        return {
            "tidings": run([self.binaries / "tidings", "--version"]).split()[-1],
            "commit": commit,
            "node": run(["node", "--version"]).strip().lstrip("v"),
            **{name: packages[f"node_modules/{name}"]["version"] for name in libraries},
        }

    @contextlib.contextmanager
    def embedded(self):
        """`tidings dev` in a new folder, while both other systems are paused.
        Its address and its pid."""
        names = [name for names in PROCESSES.values() for name in names]
        paused = [pid for name in names for pid in family(self.pids()[name])]
        port = run([self._root / "scripts" / "servers", "port"]).strip()
        folder = self.embedded_folder
        command = [self.binaries / "tidings", "dev", "--data", folder, "--listen", f"127.0.0.1:{port}"]
        dev = None
        try:
            for pid in paused:
                os.kill(pid, signal.SIGSTOP)
            dev = self._start("dev", command, port)
            yield f"ws://127.0.0.1:{port}", dev.pid
        finally:
            if dev is not None:
                stop(dev)
            shutil.rmtree(folder, ignore_errors=True)
            for pid in paused:
                # Who has ended is told by check().
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    # ---- How they are run

    def _start_node(self):
        command = ["node", self._root / "bench/node/server.js", "--port", self._node_port]
        command += ["--workers", self._workers]
        self._node = self._start("node", command, self._node_port)

    def _stop_node(self):
        if self._node is not None:
            stop(self._node)
            self._node = None

    def _start(self, name, command, port):
        """Waits until it is ready."""
        with open(self._cluster.log(name), "ab") as log:
            process = subprocess.Popen(
                list(map(str, command)),
                env=self._cluster.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                stop(process)
                raise Failed(f"{name} does not start; the end of its log:\n{self._cluster.log_end(name)}")
            time.sleep(0.1)
        return process


def is_ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def stop(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
