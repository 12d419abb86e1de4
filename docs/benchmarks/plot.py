#!/usr/bin/env python3
"""Draws scaling.svg from the JSON of `cargo bench-load growth`.

    pip install -r docs/benchmarks/requirements.txt
    docs/benchmarks/plot.py target/bench-load.json docs/benchmarks/scaling.svg
"""

import json
import sys

import matplotlib

matplotlib.use("svg")
# The same figures give the same file, and text stays text.
matplotlib.rcParams.update({"svg.hashsalt": "scaling", "svg.fonttype": "none", "font.size": 9})

from matplotlib import pyplot  # noqa: E402  (the backend must be chosen before)

LAG = "end to status p95"
REQUESTS = "requests of one workspace"
LOOKS = {"operator": ("tab:blue", "this operator"), "baseline": ("tab:orange", "one call per run, as the SDK waits")}


def series(outcomes, subject, figure):
    """Live runs and this figure, in order."""
    points = []
    for outcome in outcomes:
        if outcome["scenario"].startswith("growth") and outcome["subject"] == subject:
            values = [entry["value"] for entry in outcome["figures"] if entry["name"] == figure]
            points += [(outcome["live"], value) for value in values if value is not None]
    return sorted(points)


def main(source, target):
    with open(source, encoding="utf-8") as file:
        outcomes = json.load(file)["outcomes"]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, (name, unit) in zip(axes, [(LAG, "s"), (REQUESTS, "1/s")]):
        for subject, (colour, label) in LOOKS.items():
            points = series(outcomes, subject, name)
            if points:
                axis.plot(*zip(*points), marker="o", color=colour, label=label)
        axis.set_xlabel("live runs in one workspace")
        axis.set_title(f"{name} ({unit})", fontsize=9)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
