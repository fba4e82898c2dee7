"""Plots of a results.json, as SVG beside it. Run by bench/compare with the
Python that has matplotlib."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

NAMES = {"tidings": "tidings", "node": "Node.js"}
# Of Okabe and Ito: told apart by everybody.
COLOURS = {"tidings": "#0072B2", "node": "#D55E00"}

plt.rcParams.update(
    {
        # The same results give the same file.
        "svg.hashsalt": "tidings",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "figure.facecolor": "white",
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def main():
    folder = Path(sys.argv[1])
    results = json.loads((folder / "results.json").read_text())
    runs = [run for run in results["runs"] if run["offered_rate"]]
    latency(runs, results["raw"], folder)
    rate(runs, folder)
    cost(runs, folder)


def points(runs, system, value):
    """Offered rates, means of the rounds, and the rounds themselves."""
    rates = sorted({run["offered_rate"] for run in runs if run["system"] == system})
    each = [[value(run) for run in runs if run["system"] == system and run["offered_rate"] == rate] for rate in rates]
    return rates, [sum(values) / len(values) for values in each], each


def draw(axes, runs, system, value, label, **style):
    rates, means, each = points(runs, system, value)
    colour = COLOURS[system]
    axes.plot(rates, means, color=colour, label=label, marker="o", markersize=4, **style)
    for rate, values in zip(rates, each):
        axes.plot([rate, rate], [min(values), max(values)], color=colour, alpha=0.4, linewidth=1)


def latency(runs, raw, folder):
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    for axes, kind in zip(panels, ["pending", "delivered"]):
        for system, name in NAMES.items():
            for percentile, line in [("p50", "-"), ("p99", "--")]:
                value = lambda run: run[f"{kind}_ms"][percentile]  # noqa: E731, B023
                draw(axes, runs, system, value, f"{name} {percentile}", linestyle=line)
        if kind == "delivered":
            draw_raw(axes, raw)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_title(kind)
        offered_axis(axes)
    panels[0].set_ylabel("milliseconds, from when a message was due")
    for axes in panels:
        axes.legend(frameon=False)
    save(figure, folder / "latency.svg")


def draw_raw(axes, raw):
    for percentile, shape in [("p50", "v"), ("p99", "^")]:
        rates = [one["rate"] for one in raw]
        values = [one["at_rate_ms"][percentile] for one in raw]
        axes.plot(rates, values, shape, color="black", markersize=5, label=f"librdkafka {percentile}")


def rate(runs, folder):
    figure, axes = plt.subplots(figsize=(6, 4.2))
    highest = max(run["offered_rate"] for run in runs)
    axes.plot([0, highest], [0, highest], color="#999999", linewidth=1, label="offered")
    for system, name in NAMES.items():
        draw(axes, runs, system, lambda run: run["achieved_rate"], name)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel("delivered, messages a second")
    offered_axis(axes)
    axes.legend(frameon=False)
    save(figure, folder / "rate.svg")


def cost(runs, folder):
    figure, axes = plt.subplots(figsize=(6, 4.2))
    for system, name in NAMES.items():
        label = {"tidings": f"{name}: sequencer and edge", "node": name}[system]
        draw(axes, runs, system, lambda run: run["cpu_seconds_per_1000_messages"], label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("CPU seconds per 1,000 messages")
    offered_axis(axes)
    axes.legend(frameon=False)
    save(figure, folder / "cpu.svg")


def offered_axis(axes):
    axes.set_xlim(left=0)
    axes.set_xlabel("offered, messages a second")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
