"""What is soaked: a `tidings dev`, or a cluster of this machine."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class Failed(Exception):
    """A reason to stop, for people."""


def binaries():
    folder = Path(os.environ.get("TIDINGS_BIN_DIR", ROOT / "target" / "release")).absolute()
    if not (folder / "tidings").exists():
        raise Failed(f"no tidings in {folder}: cargo build --release, or TIDINGS_BIN_DIR")
    return folder


class Dev:
    """One process on a folder of its own."""

    def __init__(self, out):
        data, log = out / "data", out / "dev.log"
        shutil.rmtree(data, ignore_errors=True)
        self._log = log.open("w")
        self._process = subprocess.Popen(
            [binaries() / "tidings", "dev", "--listen", "127.0.0.1:0", "--log", "warn", "--data", data],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.urls = []
        for line in self._process.stdout:
            name, _, value = line.strip().partition(" ")
            if name == "url":
                self.urls = [value.strip()]
            if name == "token":
                break
        if not self.urls:
            raise Failed(f"tidings dev did not start: see {log}")
        self.api = self.urls[0].replace("ws://", "http://").split("/v1/")[0]
        self.secret = (data / "jwt-secret").read_text().strip()

    def pids(self):
        """Ours, and which of them are judged."""
        return {"dev": self._process.pid}

    def is_judged(self, name):
        return True

    def stop(self):
        self._process.terminate()
        code = self._process.wait(30)
        self._log.close()
        if code != 0:
            raise Failed(f"tidings dev ended with {code}")


class Cluster:
    """Every process and server of scripts/cluster."""

    def __init__(self, out):
        self._environment = {
            **os.environ,
            "TIDINGS_CLUSTER_DIR": str(out / "cluster"),
            "TIDINGS_BIN_DIR": str(binaries()),
            "TIDINGS_LOG": "warn",
        }
        if "TIDINGS_SERVERS_DIR" not in os.environ:
            self._environment["TIDINGS_SERVERS_DIR"] = str(ROOT / ".servers")
        try:
            self._run("up")
            said = self._run("env")
        except BaseException:
            self.stop()
            raise
        self._values = dict(
            shlex.split(line)[1].split("=", 1) for line in said.splitlines() if line.startswith("export ")
        )
        self.urls = self._values["TIDINGS_EDGE_URLS"].split(",")
        self.api = self._values.get("TIDINGS_API_URL")
        self.secret = self._values["TIDINGS_JWT_SECRET"]

    def _run(self, command, *more):
        done = subprocess.run(
            [ROOT / "scripts" / "cluster", command, *more],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            text=True,
        )
        if done.returncode != 0:
            raise Failed(f"scripts/cluster {command} failed")
        return done.stdout

    def pids(self):
        named = (item for item in self._values.items() if item[0].startswith("PID_"))
        return {name[4:].lower().replace("_", "-"): int(pid) for name, pid in named}

    def is_judged(self, name):
        """A server's heap is its own affair; and the stand-in for MongoDB keeps
        all its data in memory."""
        return name.split("-")[0] not in ("kafka", "registry", "mongodb", "opensearch", "redis")

    def stop(self):
        self._run("down")
