"""Make the answers of mace-torch for trained models in files; see the README beside this file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # the files are pickles, and trusted here

import torch
from ase.io import read
from oracles.m3gnet.report import say
from oracles.mace.make_answers import evaluate
from oracles.mace.records import CHECKPOINTS, FOLDER, LABELLED, write_answers


def main(root):
    """Answers of every checkpoint for every so-many-th labelled structure, in double precision."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    for name, path in CHECKPOINTS.items():
        model = torch.load(root / path, map_location="cpu", weights_only=False).double()
        numbers, cutoff = model.atomic_numbers.tolist(), float(model.r_max)
        answers = {
            f"{file}:{index}": evaluate(model, read(root / file, index=index), numbers, cutoff)
            for file, index in LABELLED
        }
        write_answers(FOLDER / f"{name}.npz", answers, {})
        say(f"{name}: {[answer.energy for answer in answers.values()]} eV")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
