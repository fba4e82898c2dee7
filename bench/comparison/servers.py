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
from pathlib import Path

from .machine import cpu_seconds, family

PATIENCE_S = 60
#: The processes of each system, whose CPU a message is charged with.
PROCESSES = {"tidings": ["sequencer", "edge-1"], "node": ["node"]}
#: CPU that a system at rest uses less of in half a second.
SETTLED_S = 0.08
#: What must be started of the cluster.
MEMBERS = ["kafka", "registry", "mongodb", "redis", "sequencer", "edge-1"]


class Failed(Exception):
    """Something that the caller is told, without a trace."""


class Servers:
    """Kafka and the rest, tidings and the Node.js server, while it is entered."""

    def __init__(self, root, folder, workers):
        self._root = root
        self._folder = folder
        self._workers = workers
        self._node = None
        self._logs = 0
        self._environment = {
            **os.environ,
            "TIDINGS_CLUSTER_DIR": str(folder),
            # Longer than it may be paused.
            "TIDINGS_SESSION_TIMEOUT_MS": "120000",
            # The generator sends more than a person may.
            "TIDINGS_MESSAGES_PER_MINUTE": "0",
        }
        self.binaries = Path(os.environ.get("TIDINGS_BIN_DIR") or root / "target" / "release").absolute()

    def __enter__(self):
        self._install_node()
        if self._folder.exists():
            # Of a run that was killed.
            self._cluster("down")
        try:
            # It may have to build, which is better seen.
            self._cluster("up", *MEMBERS, stderr=None)
            self._read_environment()
            self._node_port = run([self._root / "scripts" / "servers", "port"]).strip()
            self._start_node()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._stop_node()
        if self._folder.exists():
            self._cluster("down")

    # ---- What is asked of them

    def environment(self):
        """For the generator."""
        return self._environment

    def url(self, system):
        return {
            "tidings": self._environment["TIDINGS_EDGE_URLS"],
            "node": f"ws://127.0.0.1:{self._node_port}",
        }[system]

    def pids(self):
        """Of every process, by name."""
        pids = {name: self._pid(name) for name in MEMBERS}
        pids["node"] = self._node.pid
        return pids

    def socket_process(self, system):
        """The pid of the process that holds the sockets."""
        return self.pids()["edge-1" if system == "tidings" else "node"]

    def begin_anew(self, system):
        """Starts what has just begun: no run finds what one before it has left.

        An edge reads the log from where the history view is, and no view is
        built here: it would read all of it. So tidings gets topics of its own
        for each run.
        """
        if system == "node":
            self._stop_node()
            self._start_node()
            return
        old = self._environment.get("TIDINGS_TOPIC_PREFIX")
        self._logs += 1
        self._environment["TIDINGS_TOPIC_PREFIX"] = f"run-{self._logs}."
        run([self.binaries / "tidings", "topics", "apply", "--replication-factor", "1"], env=self._environment)
        self._cluster("restart", "sequencer")
        self._cluster("restart", "edge-1")
        self._read_environment()
        if old:
            # A broker with thousands of partitions is another broker.
            run(["node", self._root / "bench/node/forget.js", old], env=self._environment)

    def check(self):
        """Fails when one is gone."""
        for name, pid in self.pids().items():
            if not Path(f"/proc/{pid}").exists() or (name == "node" and self._node.poll() is not None):
                raise Failed(f"{name} has ended; the end of its log:\n{self._log_end(name)}")

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

    # ---- How they are run

    def _cluster(self, *arguments, stderr=subprocess.PIPE):
        run([self._root / "scripts" / "cluster", *arguments], env=self._environment, stderr=stderr)

    def _read_environment(self):
        for line in run([self._root / "scripts" / "cluster", "env"], env=self._environment).splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            self._environment[name] = value

    def _pid(self, name):
        return int(self._environment["PID_" + name.upper().replace("-", "_")])

    def _install_node(self):
        folder = self._root / "bench" / "node"
        if shutil.which("node") is None or shutil.which("npm") is None:
            raise Failed("node and npm are missing: install Node.js 20 or later")
        installed = folder / "node_modules" / ".package-lock.json"
        lock = folder / "package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder)
            installed.touch()

    def _start_node(self):
        command = ["node", self._root / "bench/node/server.js", "--port", self._node_port]
        command += ["--workers", str(self._workers)]
        with open(self._log("node"), "ab") as log:
            self._node = subprocess.Popen(
                list(map(str, command)),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self._node_is_ready():
            if self._node.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the Node.js server does not start; the end of its log:\n{self._log_end('node')}")
            time.sleep(0.1)

    def _node_is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._node_port}/readyz", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _stop_node(self):
        if self._node is None:
            return
        self._node.terminate()
        try:
            self._node.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._node.pid, signal.SIGKILL)
            self._node.wait()
        self._node = None

    def _log(self, name):
        return self._folder / f"{name}.log"

    def _log_end(self, name):
        lines = self._log(name).read_text(errors="replace").splitlines()
        return "\n".join("    " + line for line in lines[-10:])


def run(command, env=None, cwd=None, stderr=subprocess.PIPE):
    """Runs a command to its end; what it says."""
    command = list(map(str, command))
    done = subprocess.run(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    if done.returncode != 0:
        said = (done.stderr or "").strip() or done.stdout.strip()
        raise Failed(f"{' '.join(command)} failed" + (f":\n{said}" if said else ""))
    return done.stdout
