"""A profile as a picture, made without touching matplotlib's global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from halocline.figures import save_figure
from halocline.model import Work
from halocline.profile.evaluation import Profile

_COLOURS: Final = colormaps["tab20"].colors  # type: ignore[attr-defined]
_HEIGHT: Final = 0.42  # inches of a bar


def plot_profile(profiles: Sequence[Profile], picture: Path, *, title: str) -> None:
    """Draw the time of each stage by kind of work, derivatives hatched, and how each kind grows, as a PNG.

    Args:
        profiles: of one model; bars are those of the last one, and the growth is drawn where there are several.
        picture: the file to write.
        title: above the figure.

    Raises:
        HaloclineError: the picture cannot be written.
    """
    profile = profiles[-1]
    stages = list(dict.fromkeys(row.place.stage for row in profile.rows))
    works = list(dict.fromkeys(row.place.work for row in profile.rows))
    works.sort(key=lambda work: (list(Work).index(Work(work)) if work in set(Work) else len(Work), work))
    colours = {work: _COLOURS[number % len(_COLOURS)] for number, work in enumerate(works)}
    several = len(profiles) > 1
    figure = Figure(figsize=(14.0 if several else 9.0, 2.6 + _HEIGHT * len(stages)), layout="constrained")
    axes = figure.subplots(1, 2 if several else 1, squeeze=False)[0]
    _draw_bars(axes[0], profile, stages, colours)
    if several:
        _draw_growth(axes[1], profiles, works, colours)
    figure.suptitle(title)
    handles = [Patch(facecolor=colour, label=work) for work, colour in colours.items()]
    handles.append(Patch(facecolor="white", edgecolor="#555555", hatch="////", label="derivative"))
    figure.legend(handles=handles, loc="outside lower center", ncols=7, frameon=False, fontsize="small")
    save_figure(figure, picture)


def _draw_bars(axes: Axes, profile: Profile, stages: list[str], colours: dict[str, tuple[float, ...]]) -> None:
    ends = dict.fromkeys(stages, 0.0)
    for row in profile.rows:
        width, stage = 1e3 * max(0.0, row.median), row.place.stage
        axes.barh(
            stages.index(stage),
            width,
            left=ends[stage],
            color=colours[row.place.work],
            hatch="////" if row.place.derivative else None,
            edgecolor="white",
            linewidth=0.4,
        )
        ends[stage] += width
    axes.set_yticks(range(len(stages)), stages)
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.set_title(f"{profile.atoms} atoms, {1e3 * profile.median:.3g} ms", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_growth(
    axes: Axes, profiles: Sequence[Profile], works: list[str], colours: dict[str, tuple[float, ...]]
) -> None:
    atoms = [profile.atoms for profile in profiles]
    for work in works:
        seconds = [sum(row.median for row in each.rows if row.place.work == work) for each in profiles]
        axes.plot(atoms, [1e3 * each for each in seconds], "o-", color=colours[work], markersize=4)
    whole = [1e3 * profile.median for profile in profiles]
    axes.plot(atoms, whole, "o-", color="black", markersize=4, linewidth=2)
    axes.annotate("whole", (atoms[-1], whole[-1]), xytext=(4, 4), textcoords="offset points", fontsize="small")
    axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel="ms")
    axes.set_yscale("log", nonpositive="mask")
    axes.set_title("growth with the number of atoms", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
