"""Models, structures and backends of the parity matrix, and the NumPy answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms
from numpy_reference.lennard_jones import NumpyLennardJones
from numpy_reference.m3gnet import NumpyM3GNet
from numpy_reference.pairs import brute_force_pairs
from numpy_reference.schnet import NumpySchNet, forces_and_virial
from structures import random_structure

from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.spec import Spec

#: Backends that prepare a model within seconds, as they are called.
BACKENDS = ("torch", "onnx:threads=1", "onnx:threads=2")

#: Model → length in Å by which the structures are scaled.
LENGTHS = {"schnet": 1.0, "schnet, one layer left": 1.0, "m3gnet": 1.0, "lennard-jones": 3.4}

#: Å, more than a pair's length changes in a finite difference.
CLEARANCE = 0.02

STRUCTURES = {
    "molecule": {"atoms": 6, "pbc": False, "edge": (3.0, 4.0)},
    "liquid": {"atoms": 18, "pbc": True, "edge": (4.0, 4.5)},
    "small triclinic cell": {"atoms": 2, "pbc": True, "edge": (1.9, 2.4)},
    "slab": {"atoms": 12, "pbc": (True, True, False), "edge": (3.0, 4.0)},
    "one atom": {"atoms": 1, "pbc": False},
    "no edges": {"atoms": 3, "pbc": False, "edge": (90.0, 99.0)},
}


@dataclass(frozen=True)
class Answer:
    """What the reference says; forces in eV/Å, virial in eV."""

    energies: np.ndarray
    forces: np.ndarray
    virial: np.ndarray


@cache
def potential(model):
    """The potential of a model of the matrix. Weights follow from the seed."""
    name = model.partition(",")[0]
    backbone = build_backbone(name, registry().load("backbone", name).example_config(), seed=1)
    if "one layer" in model:
        backbone = registry().load("pruner", "depth")(layers=1).prune(backbone)[0]
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})


@cache
def evaluator(model, backend, dtype):
    """Compiled once for all structures, which is how users run it."""
    return potential(model).evaluator(backend, dtype, "cpu", "none", "auto")


def structure(model, case, seed=3):
    """The structure of a case, scaled to the lengths of a model."""
    atoms = random_structure(seed, symbols=potential(model).species, **STRUCTURES[case])
    length = LENGTHS[model]
    return Atoms(atoms.numbers, atoms.positions * length, cell=atoms.cell * length, pbc=atoms.pbc)


@cache
def answer(model, case):
    """Energies, forces and virial by NumPy, with neighbours found by brute force."""
    atoms, backbone = structure(model, case), potential(model).backbone
    pairs, vectors = brute_force_pairs(atoms, backbone.neighbours.cutoff)
    receivers, senders = ([pair[end] for pair in pairs] for end in (0, 1))
    weights = {name: tensor.numpy() for name, tensor in backbone.state_dict().items()}
    if backbone.name == "m3gnet":
        reference = NumpyM3GNet(backbone.config, weights)
        return Answer(*reference.energies_forces_virial(atoms.numbers, receivers, senders, vectors))
    if backbone.name == "schnet":
        reference = NumpySchNet(backbone.config, weights)
    else:
        reference = NumpyLennardJones(backbone.config)
    energies, gradients = reference.energies_and_gradients(atoms.numbers, receivers, senders, vectors)
    forces, virial = forces_and_virial(len(atoms), receivers, senders, vectors, gradients)
    return Answer(energies, forces, virial)


@cache
def clear_structure(model, case):
    """The structure of a case with no pair near the cutoff, where second derivatives jump."""
    cutoff = potential(model).backbone.neighbours.cutoff
    for seed in range(500):
        atoms = structure(model, case, seed)
        _, vectors = brute_force_pairs(atoms, cutoff + CLEARANCE)
        distances = np.linalg.norm(vectors, axis=1)
        if (distances < cutoff).any() and (distances < cutoff - CLEARANCE).sum() == len(distances):
            return atoms
    raise AssertionError(f"no seed keeps the pairs of the {case} off the cutoff")


def why_not(backend, dtype):
    """The reason why a cell of the matrix cannot be run here, or None."""
    executor = registry().load("executor", Spec.parse(backend).name)
    if dtype not in executor.capabilities.precisions:
        return f"{Spec.parse(backend).name} has no {dtype}"
    diagnosis = executor.diagnose()
    return None if diagnosis.usable else diagnosis.reason
