"""A plot of each dimension in a results.json, as SVG beside it. Run by
bench/scale with the Python that has matplotlib."""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from comparison.plots import plt, save  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: E402
from scaling.dimensions import DIMENSIONS  # noqa: E402

# Of Okabe and Ito: told apart by everybody.
COLOURS = {"edge": "#0072B2", "sequencer": "#D55E00", "kafka": "#009E73", "pending": "#56B4E9", "delivered": "#0072B2"}
NAMES = {"edge": "edges", "sequencer": "sequencer", "kafka": "Kafka"}


def main():
    folder = Path(sys.argv[1])
    results = json.loads((folder / "results.json").read_text())
    for name, points in results["dimensions"].items():
        draw(DIMENSIONS[name], points, folder / f"{name}.svg")


def draw(dimension, points, path):
    figure, (latency, cost) = plt.subplots(1, 2, figsize=(10, 3.6))
    values = [point["value"] for point in points]
    for kind in ["pending", "delivered"]:
        for percentile, line in [("p50", "-"), ("p99", "--")]:
            figures = [point[f"{kind}_ms"][percentile] for point in points]
            style = {"color": COLOURS[kind], "linestyle": line, "marker": "o", "markersize": 4}
            latency.plot(values, figures, label=f"{kind} {percentile}", **style)
    latency.set_yscale("log")
    latency.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    latency.set_ylabel("milliseconds")
    for who, label in NAMES.items():
        figures = [point["cpu_per_1000"][who] for point in points]
        cost.plot(values, figures, label=label, color=COLOURS[who], marker="o", markersize=4)
    cost.set_ylim(bottom=0)
    cost.set_ylabel("CPU seconds per 1,000 commands")
    for axes in [latency, cost]:
        axes.set_xscale("log")
        axes.set_xticks(values)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(dimension.label)
        axes.legend(frameon=False, fontsize=9)
    save(figure, path)


if __name__ == "__main__":
    main()
