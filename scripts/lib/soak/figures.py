"""What the kernel tells of a process, and what is made of it."""

import os
from statistics import median

from comparison.machine import field, own_cpu_seconds

#: What may be more at the end of the second half of a run than at its
#: beginning: so much at least, and this part of what there is.
MAY_GROW = {"rss_mib": (8.0, 0.05), "descriptors": (4, 0.05), "threads": (2, 0.05)}


def look_at(pid):
    """None where the process is gone."""
    try:
        status = f"/proc/{pid}/status"
        return {
            "rss_mib": round(int(field(status, "VmRSS").split()[0]) / 1024, 2),
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": int(field(status, "Threads")),
            "cpu_seconds": round(own_cpu_seconds(pid), 2),
        }
    except (OSError, AttributeError):
        return None


def percentile(values, part):
    """None of no values."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 2)


def slope(points):
    """How much y grows with each x, by Theil and Sen: the median of the slopes
    between any two points, which a few outliers do not move."""
    slopes = [(y2 - y1) / (x2 - x1) for n, (x1, y1) in enumerate(points) for x2, y2 in points[n + 1 :] if x2 > x1]
    return median(slopes) if slopes else 0.0


def growth(samples, name, figure):
    """By how much a figure of a process has grown in the second half of a run,
    by its slope; and how much it may."""
    end = samples[-1]["seconds"]
    points = [
        (sample["seconds"], sample["processes"][name][figure])
        for sample in samples
        if sample["seconds"] >= end / 2 and name in sample["processes"]
    ]
    # No more than a few hundred points: they are compared with each other.
    points = points[:: max(1, len(points) // 300)]
    least, part = MAY_GROW[figure]
    level = median(y for _, y in points) if points else 0
    return slope(points) * end / 2, max(least, part * level)
