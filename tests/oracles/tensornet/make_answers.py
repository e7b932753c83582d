"""A small TensorNet with weights by MatGL, and what it says of two structures; README.md says how to run this."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from oracles.tensornet.matgl_commit import Potential, TensorNet, evaluate  # noqa: E402
from oracles.tensornet.models import ARGUMENTS, ENERGIES, SCALE, structures  # noqa: E402


def main():
    """Write a folder as MatGL does, without the pickle of its arguments, and answers."""
    torch.manual_seed(1)
    model = TensorNet(**ARGUMENTS)
    for norm in (model.tensor_embedding.init_norm, model.out_norm):  # ones and zeros before any fit
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
    for block in model.layers:  # zeros before any fit
        for linear in block.linears_scalar:
            torch.nn.init.uniform_(linear.bias, -0.5, 0.5)
    potential = Potential(model, data_std=torch.tensor(SCALE), element_refs=torch.tensor(ENERGIES))
    folder = HERE / "files"
    folder.mkdir(exist_ok=True)
    torch.save(potential.state_dict(), folder / "state.pt")
    described = {"@class": "TensorNet", "@module": TensorNet.__module__, "init_args": ARGUMENTS}
    document = {"@class": "Potential", "kwargs": {"model": described}}
    (folder / "model.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    potential = potential.double().eval()
    answers = {case: evaluate(potential, atoms) for case, atoms in structures().items()}
    (HERE / "answers.json").write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
