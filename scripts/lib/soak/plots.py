"""Plots of the samples of a run, as SVG beside them. Run by scripts/soak with
the Python that has matplotlib."""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

from comparison.plots import plt, save  # noqa: E402


def main():
    folder = Path(sys.argv[1])
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    minutes = [sample["seconds"] / 60 for sample in samples]
    of_processes(samples, "rss_mib", "resident memory, MiB", folder / "memory.svg")
    of_processes(samples, "descriptors", "open file descriptors", folder / "descriptors.svg")
    of_processes(samples, "threads", "threads", folder / "threads.svg")
    of_processes(samples, "cpu", "CPUs used", folder / "cpu.svg")
    figure, axes = plt.subplots(figsize=(8, 4))
    for kind, colour in [("pending", "#0072B2"), ("delivered", "#D55E00")]:
        for part, line in [("p50", "-"), ("p99", "--")]:
            known = [sample["latency"][f"{kind}_{part}_ms"] for sample in samples]
            values = [float("nan") if value is None else value for value in known]
            axes.plot(minutes, values, line, color=colour, linewidth=1, label=f"{kind} {part}")
    axes.set_yscale("log")
    save_with_time(figure, axes, "milliseconds, from when it was due", folder / "latency.svg")


def of_processes(samples, name, label, path):
    figure, axes = plt.subplots(figsize=(8, 4))
    for process in samples[0]["processes"]:
        known = [sample for sample in samples if name in sample["processes"].get(process, {})]
        minutes = [sample["seconds"] / 60 for sample in known]
        axes.plot(minutes, [sample["processes"][process][name] for sample in known], linewidth=1, label=process)
    axes.set_ylim(bottom=0)
    save_with_time(figure, axes, label, path)


def save_with_time(figure, axes, label, path):
    axes.set_xlabel("minutes")
    axes.set_ylabel(label)
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


if __name__ == "__main__":
    main()
