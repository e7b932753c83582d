"""Does a model that has seen minima need fewer labels at 300 K, and at another level of theory?

    python study.py DATA [--sizes 20 60 200] [--seeds 0 1 2]

DATA is the folder with what label.py made. The model of pretrain.toml is fitted to forces with fine_tune.toml, and
from_scratch.toml beside it with the same frames, for each number of frames, at both levels of theory; every fit
takes the same number of steps. Runs lie in DATA/runs, and those that are there are not made again. Writes
results.json, results.md and results.png here.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ase.io import read, write

HERE = Path(__file__).parent

#: Level of theory → folder of its labels below that of the data.
LEVELS = {"GFN2-xTB": ".", "GFN1-xTB": "gfn1"}
KINDS = {"pretrained": "fine_tune.toml", "from scratch": "from_scratch.toml"}

#: Frames that a fit sees in all, each many times where there are few: fits differ in data and not in steps.
SEEN = 8000

#: What a run says of the frames that nobody has looked at.
ENERGY, FORCES = "energy_mae", "forces_mae"


def main() -> None:
    """Run what is not there yet, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=(20, 60, 200))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    arguments = parser.parse_args()
    runs = arguments.data / "runs"
    parent = trained(HERE / "pretrain.toml", {}, arguments.data, runs / "pretrained")
    found = []
    for level, folder in LEVELS.items():
        for size in arguments.sizes:
            some = subset(arguments.data / folder / "motion.extxyz", size)
            for kind, recipe in KINDS.items():
                for seed in arguments.seeds:
                    changes = {
                        "train_files": [str(some)],
                        "test_files": [str((arguments.data / folder / "unseen.extxyz").resolve())],
                        "from": str(parent["model"]),
                        "epochs": SEEN // size,
                        "seed": seed,
                    }
                    name = f"{level}-{size}-{kind.replace(' ', '-')}-{seed}"
                    errors = trained(HERE / recipe, changes, arguments.data, runs / name)["test"]
                    found.append(errors | {"level": level, "frames": size, "kind": kind, "seed": seed})
    (arguments.data / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.data / "results.md").write_text(table(found, arguments.sizes))
    plot(found, arguments.sizes, arguments.data / "results.png")


def subset(file: Path, size: int) -> Path:
    """The path of a file with some of the frames, evenly spread over it."""
    frames = read(file, ":")
    path = file.with_name(f"{file.stem}-{size}.extxyz").resolve()
    write(path, [frames[number * len(frames) // size] for number in range(size)])
    return path


def trained(recipe: Path, changes: dict[str, Any], data: Path, run: Path) -> dict[str, Any]:
    """What ``halocline train`` says of a recipe with some keys changed; a run that was interrupted goes on."""
    result = run.with_suffix(".json")
    if not result.exists():
        run.parent.mkdir(exist_ok=True)
        text = recipe.read_text()
        for key, value in changes.items():
            text = re.sub(rf"(?m)^{key} = .*$", lambda _, k=key, v=value: f"{k} = {json.dumps(v)}", text)
        copy = data / f"{run.name}.toml"
        copy.write_text(text)
        command = [sys.executable, "-m", "halocline", "train", str(copy), "-o", str(run), "--json"]
        command += ["--threads", "1", *["--resume"] * run.exists()]
        result.write_text(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        copy.unlink()
    found: dict[str, Any] = json.loads(result.read_text())
    return found | {"model": (run / "model.safetensors").resolve()}


def values(found: list[dict[str, Any]], level: str, kind: str, size: int, what: str) -> list[float]:
    """An error of all seeds."""
    of_all = {"level": level, "kind": kind, "frames": size}
    return [row[what] for row in found if of_all.items() <= row.items()]


def table(found: list[dict[str, Any]], sizes: list[int]) -> str:
    """Means over seeds, with their standard deviations."""
    lines = ["| level | frames | | energy, meV/atom | forces, meV/Å |", "|---|---|---|---|---|"]
    for level in LEVELS:
        for size in sizes:
            for kind in KINDS:
                cells = []
                for what in (ENERGY, FORCES):
                    each = values(found, level, kind, size, what)
                    cells.append(f"{mean(each):.2f}" + (f" ± {stdev(each):.2f}" if len(each) > 1 else ""))
                lines.append(f"| {level} | {size} | {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(found: list[dict[str, Any]], sizes: list[int], path: Path) -> None:
    """Learning curves."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(LEVELS), sharex=True, figsize=(8, 6), layout="constrained")
    for column, level in enumerate(LEVELS):
        for row, (what, label) in enumerate({ENERGY: "energy MAE, meV/atom", FORCES: "force MAE, meV/Å"}.items()):
            for kind in KINDS:
                points = [values(found, level, kind, size, what) for size in sizes]
                axes[row][column].errorbar(
                    sizes,
                    [mean(each) for each in points],
                    [stdev(each) if len(each) > 1 else 0.0 for each in points],
                    marker="o",
                    label=kind,
                )
            axes[row][column].set(xscale="log", ylabel=label)
            axes[row][column].set_xticks(sizes, [str(size) for size in sizes], minor=False)
            axes[row][column].set_xticks([], minor=True)
            axes[row][column].set_ylim(bottom=0.0)
        axes[0][column].set_title(level)
        axes[1][column].set_xlabel("labelled frames")
    axes[1][0].legend(loc="lower left")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
