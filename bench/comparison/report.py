"""Tables of the results, in Markdown, and where they go."""

import subprocess
import sys

from .cluster import Failed, run
from .servers import PROCESSES as OWN

NAMES = {"tidings": "tidings", "node": "Node.js"}
SYSTEMS = list(NAMES)
RAW = "plain librdkafka"
#: Latencies that a rate may be asked for at, in milliseconds of delivered p99.
LIMITS_MS = [10, 25, 50, 100]


def describe_run(run):
    """For whoever watches."""
    offered = f"{run['offered_rate']}/s" if run["offered_rate"] else "as much as goes"
    latency = run["delivered_ms"]
    notes = [] if run["reached"] else ["NOT REACHED"]
    notes += [f"{run[name]} {name}" for name in ["errors", "lost", "duplicated", "out_of_order"] if run[name]]
    notes += [] if run["quiet"] else [f"others took {run['others_part']:.0%} of the machine"]
    return ", ".join(
        [
            f"{run['system']} {offered}: {run['achieved_rate']:.0f}/s",
            f"delivered p50 {latency['p50']:.1f} p99 {latency['p99']:.1f} ms",
            f"{run['cpu_seconds_per_1000_messages']:.3f} CPU s per 1,000",
            *notes,
        ]
    )


def describe_raw(raw):
    latency = raw["at_rate_ms"]
    return (
        f"plain librdkafka: {raw['pipeline_rate']:.0f}/s at full speed, "
        f"p50 {latency['p50']:.1f} p99 {latency['p99']:.1f} ms at {raw['rate']:.0f}/s"
    )


def describe_fan_out(run):
    latency = run["received_ms"]
    faults = [f"{run[name]} {name}" for name in ["errors", "lost", "duplicated", "out_of_order"] if run[name]]
    return ", ".join(
        [
            f"{run['rate']}/s to {run['members']}: {run['frames_rate']:,} frames/s",
            f"received p50 {latency['p50']:.1f} p99 {latency['p99']:.1f} ms",
            *faults,
        ]
    )


def fill(page, command, tables):
    """Replaces what stands between a command's markers."""
    begin, end = (f"<!-- Written by {command} --write-docs: {which} -->" for which in ["begin", "end"])
    text = page.read_text()
    if begin not in text or end not in text:
        raise Failed(f"no markers of {command} in {page.name}")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{tables}\n\n{end}{after}")


def plot(root, plots, folders):
    """Runs a script that makes plots beside each results.json."""
    folder = root / "target" / "compare-venv"
    python = folder / "bin" / "python"
    requirements = root / "bench" / "requirements.txt"
    if not python.exists():
        run([sys.executable, "-m", "venv", folder])
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements])
    for results in folders:
        done = subprocess.run([python, plots, results])
        if done.returncode != 0:
            raise Failed("no plots")


def tables(results):
    parts = [conditions(results), by_rate(results), limits(results), peak(results), idle(results), shares(results)]
    parts += [embedded(results), fan_out(results)]
    return "\n\n".join(part for part in parts if part)


# ---- The parts


def conditions(results):
    machine, versions, settings = results["machine"], results["versions"], results["settings"]
    loud = [run for run in results["runs"] if not run["quiet"]]
    quiet = "No other program took more than 5 % of the machine in any run."
    if loud:
        worst = max(run["others_part"] + run["stolen_part"] for run in loud)
        quiet = (
            f"The machine was not quiet: in {len(loud)} of {len(results['runs'])} runs other programs took more "
            f"than 5 % of it, {worst:.0%} at worst. Latencies and rates are worse for it."
        )
    day = results["begun_at"][:10]
    commit = f" ({versions['commit']})" if versions["commit"] else ""
    return (
        f"Measured on {day}: {machine['cpu']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB, Linux "
        f"{machine['kernel']}; tidings {versions['tidings']}{commit}, Node.js {versions['node']} with "
        f"ws {versions['ws']}, kafkajs {versions['kafkajs']}, ioredis {versions['ioredis']}, "
        f"{count(settings['workers'], 'process', 'processes')}. {settings['connections']} sockets in conversations of "
        f"{settings['members']}, texts of {settings['bytes']} bytes, {settings['seconds']} s a run after "
        f"{settings['warmup']} s of warm-up, {count(settings['rounds'], 'round', 'rounds')}. {quiet}"
    )


def by_rate(results):
    rows = []
    for rate in offered(results):
        for system in SYSTEMS:
            runs = select(results, system, rate)
            if not runs:
                continue
            achieved = f"{mean(runs, 'achieved_rate'):,.0f}"
            if not all(run["reached"] for run in runs):
                achieved += " **not reached**"
            rows.append(
                [f"{rate:,}", NAMES[system], achieved]
                + [percentiles(runs, kind) for kind in KINDS]
                + [f"{mean(runs, 'cpu_seconds_per_1000_messages'):.3f}", faults(runs)]
            )
        raw = [one for one in results["raw"] if one["rate"] == rate]
        if raw:
            rows.append([f"{rate:,}", RAW, "", "", percentiles(raw, "at_rate_ms"), "", "", ""])
    head = ["offered /s", "", "achieved /s", "pending", "delivered", "received", "CPU s per 1,000", "faults"]
    return "**Latency and cost by rate.** p50 / p99 in ms, mean of the rounds.\n\n" + table(head, rows, "rlrrrrrl")


KINDS = ["pending_ms", "delivered_ms", "received_ms"]


def limits(results):
    """The highest rate that every round reached, by how late the last hundredth may be."""
    rows = []
    for limit in LIMITS_MS:
        row = [f"{limit} ms"]
        best = {}
        for system in SYSTEMS:
            good = [
                rate
                for rate in offered(results)
                if (runs := select(results, system, rate))
                and all(run["reached"] and run["delivered_ms"]["p99"] < limit for run in runs)
            ]
            best[system] = max(good, default=0)
            row.append(f"{best[system]:,}" if good else "none")
        row.append(f"{best['tidings'] / best['node']:.2f}" if best["node"] else "–")
        rows.append(row)
    head = ["delivered p99 below", *NAMES.values(), "ratio"]
    title = "**The highest rate offered that was reached in every round**, messages a second."
    return title + "\n\n" + table(head, rows, "rrrr")


def peak(results):
    raw = results["raw"]
    rows = []
    for system in SYSTEMS:
        runs = select(results, system, None)
        if runs:
            row = [NAMES[system], f"{mean(runs, 'achieved_rate'):,.0f}", percentiles(runs, "delivered_ms")]
            row += [f"{mean(runs, 'cpu_seconds_per_1000_messages'):.3f}"]
            # Its way is another: nothing to compare.
            is_same_way = raw and system == "tidings"
            ratio = mean(runs, "achieved_rate") / mean(raw, "pipeline_rate") if is_same_way else None
            rows.append([*row, f"{ratio:.2f}" if ratio else ""])
    if raw:
        rows.append([RAW, f"{mean(raw, 'pipeline_rate'):,.0f}", percentiles(raw, "pipeline_ms"), "", "1"])
    head = ["", "messages /s", "delivered p50 / p99, ms", "CPU s per 1,000", "of the raw pipeline"]
    title = "**As much as goes**, with 1,000 messages undecided at once (librdkafka: 5,000)."
    return title + "\n\n" + table(head, rows, "lrrrr")


def idle(results):
    rows = []
    for system in SYSTEMS:
        found = [one for one in results["idle"] if one["system"] == system]
        if found:
            each = [f"{one['bytes_per_connection'] / 1024:.1f}" for one in found]
            before = mean(found, "resident_before") / 1024**2
            rows.append([NAMES[system], f"{found[0]['connections']:,}", f"{before:.0f} MiB", ", ".join(each)])
    if not rows:
        return ""
    head = ["", "sockets", "without them", "KiB each, by round"]
    return "**Memory of idle sockets**, resident, of a process that has just started.\n\n" + table(head, rows, "lrrr")


def shares(results):
    rows = []
    for rate in [*offered(results), None]:
        for system in SYSTEMS:
            runs = select(results, system, rate)
            if not runs:
                continue
            rows.append(
                [f"{rate:,}" if rate else "as much as goes", NAMES[system]]
                + [cpus(runs, names) for names in [OWN[system], ["kafka"], ["generator"]]]
                + [cpus(runs, ["redis", "registry", "mongodb", "compare"])]
                + [f"{mean(runs, 'others_part') * results['machine']['cpus']:.2f}"]
                + [f"{mean(runs, 'idle_part') * results['machine']['cpus']:.2f}"]
            )
    head = ["offered /s", "", "its servers", "Kafka", "generator", "the rest", "others", "left"]
    return (
        "**Who used the CPUs**, in CPUs, over the whole run with connecting and waiting for the last answer. "
        "The rest: Redis, the registry, MongoDB and the script. Others: what has nothing to do with it.\n\n"
        + table(head, rows, "rlrrrrrr")
        + "\n\n"
        + "\n".join(f"- {saturation(results, system)}" for system in SYSTEMS)
    )


def saturation(results, system):
    """What had run out where no more went."""
    missed = [rate for rate in offered(results) if not all(run["reached"] for run in select(results, system, rate))]
    runs = select(results, system, None)
    if not runs:
        return f"{NAMES[system]}: not measured."
    total = results["machine"]["cpus"]
    left = mean(runs, "idle_part") * total
    took = {"its own processes": OWN[system], "Kafka": ["kafka"], "the generator": ["generator"]}
    parts = ", ".join(f"{who} {cpus(runs, names)}" for who, names in took.items())
    parts += f", other programs {mean(runs, 'others_part') * total:.2f}"
    reached = f"did not reach {min(missed):,}" if missed else "reached every rate offered"
    verdict = "the CPUs are what ran out"
    if left >= 0.1 * total:
        is_one_thread = system == "node" and results["settings"]["workers"] == 1
        verdict = "its one thread is what ran out" if is_one_thread else "it is not the CPUs that ran out"
    return f"{NAMES[system]} {reached}. At its most, {left:.2f} of {total} CPUs were left ({parts}): {verdict}."


def embedded(results):
    found = results.get("embedded", [])
    rows = []
    for rate in sorted({run["offered_rate"] or 0 for run in found}, key=lambda rate: rate or float("inf")):
        runs = [run for run in found if (run["offered_rate"] or 0) == rate]
        achieved = f"{mean(runs, 'achieved_rate'):,.0f}"
        achieved += "" if all(run["reached"] for run in runs) else " **not reached**"
        raw = "" if rate else f"{mean(runs, 'achieved_rate') / mean(runs, 'raw_rate'):.2f}"
        rows.append(
            [f"{rate:,}" if rate else "as much as goes", achieved]
            + [percentiles(runs, kind) for kind in KINDS]
            + [f"{mean(runs, 'cpu_seconds_per_1000_messages'):.3f}", raw, faults(runs)]
        )
    head = ["offered /s", "achieved /s", "pending", "delivered", "received", "CPU s per 1,000", "of plain SQLite"]
    title = (
        "**Embedded**: `tidings dev`, one process with all views, one SQLite file; Kafka and the rest are idle beside it. p50 / p99 in ms. "
        "Plain SQLite: rows of that size inserted in batches, copied and read, without WebSockets (`tidings bench raw`)."
    )
    return title + "\n\n" + table([*head, "faults"], rows, "rrrrrrrl") if rows else ""


def fan_out(results):
    found = results.get("fan_out", [])
    rows = []
    for rate in sorted({run["rate"] for run in found}):
        runs = [run for run in found if run["rate"] == rate]
        rows.append(
            [f"{rate:,}", f"{mean(runs, 'frames_rate'):,.0f}", percentiles(runs, "received_ms")]
            + [f"{mean(runs, 'edge_cpu_seconds_per_million_frames'):.2f}"]
            + [cpus(runs, names) for names in [["edge-1"], ["generator"]]]
            + [faults(runs)]
        )
    head = ["messages /s", "frames /s", "received", "edge, CPU s per million frames", "edge, CPUs", "generator, CPUs"]
    title = "**Fan-out**: a conversation of 1,000, all of them at one edge. A frame is one member's event."
    return title + "\n\n" + table([*head, "faults"], rows, "rrrrrrl") if rows else ""


# ---- Helpers


def offered(results):
    return sorted({run["offered_rate"] for run in results["runs"] if run["offered_rate"]})


def select(results, system, rate):
    return [run for run in results["runs"] if run["system"] == system and run["offered_rate"] == rate]


def mean(items, *path):
    values = []
    for value in items:
        for name in path:
            value = value[name]
        values.append(value)
    return sum(values) / len(values)


def percentiles(items, kind):
    return f"{mean(items, kind, 'p50'):.1f} / {mean(items, kind, 'p99'):.1f}"


def cpus(runs, names):
    seconds = sum(sum(run["cpu_seconds"].get(name, 0) for name in names) / run["run_seconds"] for run in runs)
    return f"{seconds / len(runs):.2f}"


def faults(runs):
    counts = {
        name.replace("_", " "): sum(run[name] for run in runs)
        for name in ["errors", "lost", "duplicated", "out_of_order"]
    }
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number) or "none"


def count(number, one, many):
    return f"{number} {one if number == 1 else many}"


def table(head, rows, alignment):
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join("---:" if side == "r" else "---" for side in alignment) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
