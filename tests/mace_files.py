"""Pickled models with the structure of MACE's, made of stand-in classes under its names."""

from __future__ import annotations

import sys
import types
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def _modules(classes):
    """Let classes be found under their dotted names while they are pickled."""
    names = {f"{kind.__module__}" for kind in classes}
    added = {}
    for name in sorted({".".join(n.split(".")[: i + 1]) for n in names for i in range(n.count(".") + 1)}):
        if name not in sys.modules:
            added[name] = sys.modules[name] = types.ModuleType(name)
    for kind in classes:
        setattr(sys.modules[kind.__module__], kind.__name__, kind)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def write_mace(path, config, tensors, *, root="mace.modules.models.ScaleShiftMACE", attributes=None, classes=None):
    """Write a model with these tensors.

    Args:
        path: of the file.
        config: as `read_mace` gives it.
        tensors: by name; parameters and buffers are not told apart.
        root: the class of the model.
        attributes: of the model, in place of or beside those it has.
        classes: dotted name of a module → dotted name of its class, where it is another one.
    """
    kinds: dict[str, type] = {}

    def make(name):
        module, _, short = name.rpartition(".")
        if name not in kinds:
            kinds[name] = type(short, (nn.Module,), {"__module__": module})
        return kinds[name]()

    known = {
        "": root,
        **{f"interactions.{i}": f"mace.modules.blocks.{kind}" for i, kind in enumerate(config["interactions"])},
        **{f"readouts.{i}": "mace.modules.blocks.LinearReadoutBlock" for i in range(len(config["interactions"]))},
        "radial_embedding.bessel_fn": "mace.modules.radial.BesselBasis",
        "radial_embedding.cutoff_fn": "mace.modules.radial.PolynomialCutoff",
        "radial_embedding.distance_transform": "mace.modules.radial.AgnesiTransform",
    }
    if config["MLP_irreps"]:
        known[f"readouts.{len(config['interactions']) - 1}"] = "mace.modules.blocks.NonLinearReadoutBlock"
    known |= classes or {}
    model = make(known[""])
    numbers = {
        "atomic_numbers": torch.tensor(config["atomic_numbers"]),
        "radial_embedding.cutoff_fn.p": torch.tensor(config["num_polynomial_cutoff"], dtype=torch.int32),
    }
    for name, tensor in (tensors | numbers).items():
        _place(model, name, tensor, make, known)
    for number, mean in enumerate(config["avg_num_neighbors"]):
        getattr(model.interactions, str(number)).avg_num_neighbors = mean
    act = make("e3nn.math._normalize_activation.normalize2mom")
    act.f, act.cst = torch.nn.functional.silu, config["activation"]
    model.act, model.heads = act, config["heads"]
    for name, value in (attributes or {}).items():
        setattr(model, name, value)
    with _modules(kinds.values()):
        torch.save(model, path)
    return path


def _place(model, name, tensor, make, known):
    """Register a tensor in the module that its name says, made on the way."""
    *parents, last = name.split(".")
    module = model
    for depth, key in enumerate(parents):
        if key not in module._modules:
            module.add_module(key, make(known.get(".".join(parents[: depth + 1]), "somewhere.Module")))
        module = module._modules[key]
    module.register_buffer(last, tensor)
