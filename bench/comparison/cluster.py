"""A cluster of tidings on this machine, with topics of its own for each run."""

import os
import shutil
import subprocess
from pathlib import Path


class Failed(Exception):
    """Something that the caller is told, without a trace."""


class Cluster:
    """The servers below and tidings, while it is entered."""

    def __init__(self, root, folder, members, settings=None):
        self.root = root
        self.folder = folder
        self.members = list(members)
        self.binaries = Path(os.environ.get("TIDINGS_BIN_DIR") or root / "target" / "release").absolute()
        self.environment = {
            **os.environ,
            "TIDINGS_CLUSTER_DIR": str(folder),
            # The generator sends more than a person may.
            "TIDINGS_MESSAGES_PER_MINUTE": "0",
            **(settings or {}),
        }
        self._logs = 0

    def __enter__(self):
        install_node(self.root)
        if self.folder.exists():
            # Of a run that was killed.
            self.command("down")
        # It may have to build, which is better seen.
        self.command("up", *self.members, stderr=None)
        self._read_environment()
        return self

    def __exit__(self, *_):
        if self.folder.exists():
            self.command("down")

    def pids(self):
        """Of every process, by name."""
        return {name: self.pid(name) for name in self.members}

    def pid(self, name):
        return int(self.environment["PID_" + name.upper().replace("-", "_")])

    def check(self):
        """Fails when one is gone."""
        for name, pid in self.pids().items():
            if not Path(f"/proc/{pid}").exists():
                raise Failed(f"{name} has ended; the end of its log:\n{self.log_end(name)}")

    def begin_anew(self, partitions=None):
        """Starts the sequencer and the edges on topics that are new and empty.

        An edge reads the log from where the history view is, and no view is
        built here: it would read all that the runs before have left.
        """
        old = self.environment.get("TIDINGS_TOPIC_PREFIX")
        self._logs += 1
        self.environment["TIDINGS_TOPIC_PREFIX"] = f"run-{self._logs}."
        command = [self.binaries / "tidings", "topics", "apply", "--replication-factor", "1"]
        command += ["--partitions", partitions] if partitions else []
        run(command, env=self.environment)
        for name in self.members:
            if name == "sequencer" or name.startswith("edge-"):
                self.command("restart", name)
        self._read_environment()
        if old:
            # A broker with thousands of partitions is another broker.
            run(["node", self.root / "bench/node/forget.js", old], env=self.environment)

    def have_edges(self, count):
        """Starts or stops edges until there are so many: each of them reads all
        of the log, whether anybody is connected to it or not."""
        edges = [name for name in self.members if name.startswith("edge-")]
        for name in edges[count:]:
            self.command("stop", name)
            self.members.remove(name)
        for _ in range(count - len(edges)):
            self.members.append(run([self.root / "scripts" / "cluster", "add", "edge"], env=self.environment).strip())
        self._read_environment()

    def command(self, *arguments, stderr=subprocess.PIPE):
        run([self.root / "scripts" / "cluster", *arguments], env=self.environment, stderr=stderr)
        if arguments[0] in ("restart", "start"):
            self._read_environment()

    def log(self, name):
        return self.folder / f"{name}.log"

    def log_end(self, name):
        lines = self.log(name).read_text(errors="replace").splitlines()
        return "\n".join("    " + line for line in lines[-10:])

    def _read_environment(self):
        for line in run([self.root / "scripts" / "cluster", "env"], env=self.environment).splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            self.environment[name] = value


def install_node(root):
    """What bench/node needs, unless it is there."""
    folder = root / "bench" / "node"
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Failed("node and npm are missing: install Node.js 20 or later")
    installed = folder / "node_modules" / ".package-lock.json"
    lock = folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder)
        installed.touch()


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
