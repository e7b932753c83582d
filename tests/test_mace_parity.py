"""MACE gives what mace-torch gives; see `oracles/mace/README.md`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import read
from oracles.mace.models import (
    BESSELS,
    CHANNELS,
    CUTOFF,
    HEAD_ENERGIES,
    HEAD_SCALES,
    HEAD_SHIFTS,
    MODELS,
    NEIGHBOURS,
    NUMBERS,
    POWER,
    RADIAL,
    READOUT,
    arguments,
)
from oracles.mace.records import CHECKPOINTS, FOLDER, answer_name, read_answers, weight
from oracles.mace.structures import structures
from real_data import real_data

from halocline.errors import BackboneError
from halocline.plugin import registry
from halocline.plugins.equivariance import coupling, spherical_harmonics
from halocline.potential.load import build_potential
from halocline.zoo.foreign import read_mace
from halocline.zoo.foreign.mace_layout import mace_layout

#: Of one eV or a hundredth of an atom's energy, of the largest force, and of the largest stress.
AGREEMENT = {"float64": 1e-10, "float32": 1e-5}

#: What e3nn 0.4.4 multiplies SiLU by: its second moment over a million normally distributed numbers of one seed.
ACTIVATION = 1.6791767923989418


def config(name):
    """A model as the reader of files describes it."""
    chosen = arguments(name)
    return {
        "model": "ScaleShiftMACE",
        "heads": list(chosen["heads"]),
        "atomic_numbers": list(NUMBERS),
        "interactions": [chosen["first"]] + [chosen["later"]] * (chosen["layers"] - 1),
        "avg_num_neighbors": [NEIGHBOURS] * chosen["layers"],
        "channels": CHANNELS,
        "hidden_lmax": chosen["hidden"],
        "max_ell": chosen["max_ell"],
        "correlation": chosen["correlation"],
        "num_bessel": BESSELS,
        "num_polynomial_cutoff": POWER,
        "r_max": CUTOFF,
        "radial_MLP": list(RADIAL),
        "MLP_irreps": READOUT if chosen["layers"] > 1 else 0,
        "distance_transform": chosen["distance_transform"],
        "pair_repulsion": chosen["pair_repulsion"],
        "activation": ACTIVATION,
    }


def coupling_key(name, max_ell):
    """Where the couplings of this name are kept."""
    out, power = name.split(".")[4], name[-1]
    return f"{out}_{max_ell}_{power}"


def tensors(name):
    """Its tensors: weights from the seed, constants and couplings as the package made them."""
    chosen = config(name)
    _, constants = read_answers(FOLDER / f"{name}.npz")
    with np.load(FOLDER / "couplings.npz") as file:
        tables = {key: file[key] for key in file}
    layout = mace_layout(chosen, lambda matrix: tables[coupling_key(matrix, chosen["max_ell"])].shape[-1])
    given = {
        "r_max": np.array(CUTOFF),
        "atomic_energies_fn.atomic_energies": np.array(HEAD_ENERGIES[: len(chosen["heads"])]),
        "scale_shift.scale": np.array(HEAD_SCALES[: len(chosen["heads"])]),
        "scale_shift.shift": np.array(HEAD_SHIFTS[: len(chosen["heads"])]),
        **constants,
    }
    found = {}
    for key, shape in layout.items():
        if "U_matrix" in key:
            found[key] = tables[coupling_key(key, chosen["max_ell"])]
        else:
            found[key] = given[key] if key in given else weight(key, shape)
        assert found[key].shape == shape, key
    assert set(constants) <= set(layout)
    return chosen, {key: torch.from_numpy(np.array(values)) for key, values in found.items()}


def potential(name):
    return build_potential(registry().load("converter", "mace")(*tensors(name)))


def require_close(found, answer, agreement):
    """Energies relative to what binds the atoms, forces and stress to their largest."""
    scale = max(1.0, np.abs(answer.energies).max() * 1e-2)
    assert abs(found.energy - answer.energy) <= agreement * scale * len(answer.energies)
    assert np.abs(found.energies - answer.energies).max() <= agreement * scale
    for ours, theirs in ((found.forces, answer.forces), (found.stress, answer.stress)):
        if ours is not None and not np.isnan(theirs).any():
            assert np.abs(ours - theirs).max() <= agreement * np.abs(theirs).max()


@pytest.mark.parametrize("precision", AGREEMENT)
@pytest.mark.parametrize("name", MODELS)
def test_energies_forces_and_stress_are_those_of_the_package(name, precision):
    ours, answers, agreement = potential(name), read_answers(FOLDER / f"{name}.npz")[0], AGREEMENT[precision]
    heads = arguments(name)["heads"]
    assert len(answers) == len(structures()) * len(heads)
    for key, atoms in structures().items():
        for head in heads:
            found = ours(atoms, dtype=precision, device="cpu", head=head if len(heads) > 1 else None)
            require_close(found, answers[answer_name(key, head)], agreement)


def test_harmonics_are_those_of_e3nn():
    with np.load(FOLDER / "e3nn-0.4.4.npz") as file:
        directions, expected = file["directions"], file["harmonics"]
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_allclose(spherical_harmonics(torch.from_numpy(unit), 3), expected, rtol=0, atol=1e-14)


def test_couplings_are_those_of_e3nn_but_for_the_signs_of_some_odd_ones():
    """Which ones is written down at `coupling`: whoever multiplies them by trained weights must know."""
    opposite = set()
    with np.load(FOLDER / "e3nn-0.4.4.npz") as file:
        for name in file:
            if name.startswith("coupling_"):
                degrees = tuple(map(int, name.removeprefix("coupling_")))
                sign = np.sign(np.vdot(file[name], coupling(*degrees)))
                np.testing.assert_allclose(sign * file[name], coupling(*degrees), rtol=0, atol=1e-14)
                opposite |= {degrees} if sign < 0 else set()
    assert opposite == {(1, 2, 2), (2, 1, 2), (2, 2, 1), (1, 3, 3), (3, 1, 3), (3, 3, 1)}


def test_signs_of_couplings_in_the_file_do_not_matter():
    """Files of other versions list couplings with other signs; their weights have them as well."""
    chosen, theirs = tensors("residual-L1")
    base = build_potential(registry().load("converter", "mace")(chosen, theirs))
    name = "products.0.symmetric_contractions.contractions.1"
    theirs[f"{name}.U_matrix_3"] = theirs[f"{name}.U_matrix_3"] * -1
    theirs[f"{name}.weights_max"] = theirs[f"{name}.weights_max"] * -1
    turned = build_potential(registry().load("converter", "mace")(chosen, theirs))
    for key, values in base.backbone.state_dict().items():
        torch.testing.assert_close(turned.backbone.state_dict()[key], values, rtol=0, atol=0)


def test_couplings_of_other_irreps_are_refused():
    chosen, theirs = tensors("residual-L1")
    name = "products.0.symmetric_contractions.contractions.1.U_matrix_2"
    theirs[name] = theirs[name].clone()
    theirs[name][0, 0, 0] += 0.1
    with pytest.raises(BackboneError, match="couplings of power 2 to 1o"):
        registry().load("converter", "mace")(chosen, theirs)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_trained_models_are_those_of_the_package(name):
    path = real_data(Path(CHECKPOINTS[name]).parent.name) / Path(CHECKPOINTS[name]).name
    foreign = read_mace(path)
    ours = build_potential(registry().load("converter", foreign.dialect)(foreign.config, foreign.tensors))
    for key, answer in read_answers(FOLDER / f"{name}.npz")[0].items():
        file, _, index = key.partition(":")
        atoms = read(real_data(Path(file).parent.name) / Path(file).name, index=int(index))
        for precision, agreement in AGREEMENT.items():
            require_close(ours(atoms, dtype=precision, device="cpu"), answer, agreement)
