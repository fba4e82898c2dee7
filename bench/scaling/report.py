"""Tables of the results, in Markdown."""

from comparison.generator import FAULTS
from comparison.report import table

from .dimensions import DIMENSIONS


def describe(point):
    """For whoever watches."""
    latency, cost = point["delivered_ms"], point["cpu_per_1000"]
    notes = [f"{point[name]} {name}" for name in FAULTS if point[name]]
    notes += [] if point["quiet"] else [f"others took {point['others_part']:.0%} of the machine"]
    return ", ".join(
        [
            f"{point['achieved_rate']:.0f}/s",
            f"delivered p50 {latency['p50']:.1f} p99 {latency['p99']:.1f} ms",
            f"CPU s per 1,000: edge {cost['edge']:.3f}, sequencer {cost['sequencer']:.3f}, Kafka {cost['kafka']:.3f}",
            *notes,
        ]
    )


def tables(results):
    machine = results["machine"]
    points = [point for points in results["dimensions"].values() for point in points]
    loud = [point for point in points if not point["quiet"]]
    quiet = "No other program took more than 5 % of the machine at any point."
    if loud:
        worst = max(point["others_part"] + point["stolen_part"] for point in loud)
        quiet = f"At {len(loud)} of {len(points)} points other programs took more than 5 % of it, {worst:.0%} at worst."
    parts = [
        f"Measured on {results['begun_at'][:10]}: {machine['cpu']}, {machine['cpus']} CPUs, "
        f"{machine['memory_gib']} GiB, Linux {machine['kernel']}; {results['seconds']} s a point. {quiet}"
    ]
    parts += [dimension(name, points) for name, points in results["dimensions"].items()]
    return "\n\n".join(parts)


def dimension(name, points):
    of = DIMENSIONS[name]
    head = [of.label, "messages /s", "pending", "delivered", "edge", "sequencer", "Kafka", "edge, MiB"]
    head += ["sequencer, MiB", "faults"]
    is_log = name == "log"
    head += ["recovered in, s"] if is_log else []
    rows = []
    for point in points:
        cost, resident = point["cpu_per_1000"], point["resident_mib"]
        rows.append(
            [f"{point['value']:,}", f"{point['achieved_rate']:,.0f}"]
            + [f"{point[kind]['p50']:.1f} / {point[kind]['p99']:.1f}" for kind in ["pending_ms", "delivered_ms"]]
            + [f"{cost[who]:.3f}" for who in ["edge", "sequencer", "kafka"]]
            + [f"{resident[who]:,}" for who in ["edge", "sequencer"]]
            + [", ".join(f"{point[fault]:,} {fault.replace('_', ' ')}" for fault in FAULTS if point[fault]) or "none"]
            + ([f"{point['recovery_seconds']:.2f}"] if is_log else [])
        )
    heading = f"**{of.title}**: {of.others}. p50 / p99 in ms; CPU in seconds per 1,000 commands, those that make conversations too, of all edges together."
    plot = f"![{of.title}: latency and CPU](performance/scaling/{name}.svg)"
    return f"{heading}\n\n{table(head, rows, 'r' * 9 + 'l' + 'r' * is_log)}\n\n{plot}"
