"""What the kernel tells of this machine and its processes (Linux)."""

import os
import platform
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def describe_machine():
    model = field("/proc/cpuinfo", "model name") or platform.machine()
    memory_kb = int(field("/proc/meminfo", "MemTotal").split()[0])
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "memory_gib": round(memory_kb / 1024**2),
        "kernel": platform.release(),
    }


def field(path, name):
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def family(pid):
    """A process and those it has started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid] + [one for child in children for one in family(int(child))]


def cpu_seconds(pid):
    """What a process, all its threads, and the processes it has started have used."""
    return sum(map(own_cpu_seconds, family(pid)))


def own_cpu_seconds(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The name, in parentheses, may hold spaces; utime and stime are the 12th
    # and 13th after it.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def ended_children_seconds():
    """What the processes have used that this one has started and seen end."""
    times = os.times()
    return times.children_user + times.children_system


def busy_seconds():
    """What all CPUs have been busy, and what the host has kept from them."""
    numbers = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(number) / TICK for number in numbers)
    return user + nice + system + irq + softirq, steal
