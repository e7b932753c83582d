"""How far can a universal potential be pruned for one material, once it is fine-tuned?

    python study.py RECIPE.toml STARTS -o FOLDER [--seeds 0 1 2] [--teach]

For each seed ``halocline prune`` fits the model whole and at every depth; with --teach each depth is fitted once
more, with the whole model of that seed as its teacher beside the labels. Dynamics from frames of the file STARTS
show whether the models of the first seed hold. All runs lie in FOLDER, and those that are done are not made again;
it gets results.json, results.md and results.png: errors on the frames that nobody has looked at, and what a model
costs.
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

#: Of dynamics: frames to start from, steps, and K, as hot as the data are.
DYNAMICS = ["--starts", "3", "--steps", "500", "--temperature", "600", "--timestep", "1"]

#: Exit status of a search whose budget nothing meets; what it found is there all the same.
NONE_WITHIN = 1

TEACHER = """
[distillation]
teacher = {teacher}
"""


def main() -> None:
    """Run what is not there yet, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("starts", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--teach", action="store_true", help="distil the whole model into the pruned ones as well")
    arguments = parser.parse_args()
    arguments.output.mkdir(exist_ok=True)
    rows = []
    for seed in arguments.seeds:
        recipe = arguments.output / f"{seed}.toml"
        recipe.write_text(re.sub(r"(?m)^seed = .*$", f"seed = {seed}", arguments.recipe.read_text()))
        candidates = searched(recipe, arguments.output / str(seed))
        if arguments.teach:
            teacher = Path(candidates[0]["model"]).resolve()
            candidates += [taught(recipe, teacher, each, arguments.output) for each in candidates[1:]]
        for each in candidates:
            row = {key: value for key, value in each.items() if key != "model"} | {"seed": seed}
            if seed == arguments.seeds[0]:
                folder = arguments.output / f"audit-{seed}-{each['name']}"
                row["survived"] = audited(Path(each["model"]), arguments.starts, folder)
            rows.append(row)
    (arguments.output / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    (arguments.output / "results.md").write_text(table(rows))
    plot(rows, arguments.output / "results.png")


def searched(recipe: Path, folder: Path) -> list[dict[str, Any]]:
    """All depths, the whole model first, as ``curve.json`` has them."""
    curve = folder / "curve.json"
    if not curve.exists():
        run("prune", recipe, "--budget", "forces 120 %", "-o", folder, folder=folder, allowed=(0, NONE_WITHIN))
    found: list[dict[str, Any]] = json.loads(curve.read_text())["candidates"]
    return found


def taught(recipe: Path, teacher: Path, pupil: dict[str, Any], output: Path) -> dict[str, Any]:
    """A depth that was fitted to labels and to a teacher; its costs are those of the depth."""
    name = f"{pupil['name']}, taught"
    folder = output / f"{recipe.stem}-taught-{pupil['prune']}"
    result = folder.with_suffix(".json")
    if not result.exists():
        copy = output / f"{folder.name}.toml"
        text = re.sub(r"(?m)^(from = .*)$", rf"\1\nprune = {pupil['prune']}", recipe.read_text())
        copy.write_text(text + TEACHER.format(teacher=json.dumps(str(teacher))))
        result.write_text(run("train", copy, "-o", folder, "--json", folder=folder))
    errors = json.loads(result.read_text())["test"]
    return pupil | {"name": name, "model": str(folder / "model.safetensors"), "test": errors}


def audited(model: Path, starts: Path, folder: Path) -> str:
    """How many runs of dynamics held, of how many."""
    document = folder / "audit.json"
    if not document.exists():
        run("audit", model, starts, *DYNAMICS, "-o", folder, folder=folder)
    summary = json.loads(document.read_text())["stability"]["summary"]
    return f"{summary['survived']} of {summary['runs']}"


def run(command: str, *words: object, folder: Path, allowed: tuple[int, ...] = (0,)) -> str:
    """What a command of Halocline says; where its folder is there already, it goes on."""
    call = [sys.executable, "-m", "halocline", command, *map(str, words), *["--resume"] * folder.exists()]
    ended = subprocess.run(call, stdout=subprocess.PIPE, text=True)
    if ended.returncode not in allowed:
        raise SystemExit(f"{' '.join(call)} ended with status {ended.returncode}")
    return ended.stdout


def by_name(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of all seeds, by what became of the model."""
    return {
        name: [row for row in rows if row["name"] == name] for name in dict.fromkeys(row["name"] for row in rows)
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Means over seeds, with their standard deviations; errors beside those of the whole model."""
    whole = mean(row["test"]["forces_mae"] for row in rows if row["prune"] is None)
    heads = ["model", "forces, meV/Å", "of the whole", "energy, meV/atom", "receptive field, Å", "time"]
    heads += ["halo 8", "halo 64", "held"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, each in by_name(rows).items():
        forces, energy = ([row["test"][f"{what}_mae"] for row in each] for what in ("forces", "energy"))
        halos = each[0]["redundancy"]
        cells = [
            name,
            told(forces),
            f"{mean(forces) / whole:.2f}",
            told(energy),
            f"{each[0]['receptive_field']:g}",
            f"{mean(row['time_ratio'] for row in each):.2f}",
            *(f"{halos[ranks]:.2f}" for ranks in ("8", "64")),
            each[0]["survived"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def told(values: list[float]) -> str:
    """A mean and a standard deviation."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Errors against time."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
    for name, each in by_name(rows).items():
        forces = [row["test"]["forces_mae"] for row in each]
        spread = stdev(forces) if len(forces) > 1 else 0.0
        time = mean(row["time_ratio"] for row in each)
        axes.errorbar(time, mean(forces), spread, marker="o", capsize=3, label=name)
    axes.set(xlabel="time of an evaluation / that of the whole model", ylabel="force MAE, meV/Å")
    axes.set_ylim(bottom=0.0)
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
