"""How much faster than each peer, over the number of atoms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from peers.table import Comparison, ratios


def draw(comparisons: Iterable[Comparison], path: Path) -> None:
    """Write a PNG: for each model a panel of its runs on one thread, a line for each of our ways and each peer."""
    panels: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for each in sorted(comparisons, key=lambda each: each["atoms"]):
        if each["threads"] > 1:
            continue
        for name in each["contenders"]:
            if name.startswith("halocline"):
                for peer, ratio in ratios(each, name).items():
                    label = f"{name.removeprefix('halocline ')} / {peer}, {each['structure']}"
                    panels[each["model"]][label].append((each["atoms"], ratio))
    figure = Figure(figsize=(4.0 * max(len(panels), 1), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (model, lines) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, len(panels), number)
        for label, points in lines.items():
            axes.plot(*zip(*points, strict=True), "o-", label=label)
        axes.axhline(1.0, color="grey", linewidth=0.8)
        axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel="peer's time / ours", title=model)
        axes.legend(fontsize=6)
    figure.savefig(path, dpi=90)
