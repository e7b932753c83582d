"""Evaluating a model changes nothing around it, and gives the same bits again."""

from __future__ import annotations

import numpy as np
import torch

from halocline.model.build import build_with_seed
from halocline.plugin.process_state import process_state_kept
from halocline.program import Precision, energies_and_gradients
from halocline.program.layout import lay_out
from halocline.testing.comparison import require_identical
from halocline.testing.evaluate import divide
from halocline.testing.report import Failure
from halocline.testing.subject import Subject


def check_inputs_unchanged(subject: Subject) -> None:
    """The structure, its inputs and the weights are the same before and after.

    Raises:
        Failure: one of them has changed.
    """
    atoms = subject.samples.crystal
    before = atoms.copy()
    graph = subject.graph(atoms)
    for form in subject.forms:
        frozen = subject.frozen(form)
        weights = {name: t.clone() for name, t in frozen.backbone.state_dict().items()}
        (part,) = divide(graph, subject.backbone.hops, None)
        inputs, twin = (lay_out(graph, part, form, Precision.FLOAT64) for _ in range(2))
        energies_and_gradients(frozen.backbone, inputs)
        changed = [name for name, tensor in inputs.tensors.items() if not torch.equal(tensor, twin.tensors[name])]
        changed += [name for name, t in frozen.backbone.state_dict().items() if not torch.equal(t, weights[name])]
        if changed:
            raise Failure(f"Evaluating it changed {', '.join(changed)}.")
    if atoms != before:
        raise Failure("Evaluating it changed the structure.")


def check_global_state(subject: Subject) -> None:
    """Random states, default dtype, environment and torch's switches are the same before and after.

    Raises:
        Failure: one of them has changed.
    """
    before = _switches()
    with process_state_kept() as changed:
        subject.potential()(subject.samples.molecule, dtype="float64", device="cpu")
        build_with_seed(type(subject.backbone), subject.backbone.config)
    changed += [name for name, value in _switches().items() if value != before[name]]
    if changed:
        raise Failure(f"Building or evaluating it changed {', '.join(changed)}.")


def _switches() -> dict[str, object]:
    """Process-wide settings of torch and NumPy."""
    return {
        "torch's number of threads": torch.get_num_threads(),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's float32 matmul precision": torch.get_float32_matmul_precision(),
        "torch's choice of deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "NumPy's error handling": tuple(np.geterr().items()),
    }


def check_determinism(subject: Subject) -> None:
    """Evaluated twice, with other structures in between and in a fresh program, results are bit-equal.

    Raises:
        Failure: a bit differs.
    """
    samples = subject.samples
    for name, atoms in samples.small().items():
        first = subject.evaluate(atoms)
        subject.evaluate(samples.liquid)
        require_identical(f"of the {name} at a second call", subject.evaluate(atoms), first)
        fresh = Subject(subject.backbone).evaluate(atoms)
        require_identical(f"of the {name} in a fresh program", fresh, first)
