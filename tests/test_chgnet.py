"""CHGNet: files of upstream are read and converted, and bonds and moments are what they should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from halocline.errors import CheckpointError
from halocline.plugin import registry
from halocline.potential.load import build_potential
from halocline.zoo.conversion import format_of, read
from halocline.zoo.foreign.chgnet import chgnet_layout

WIDTHS = ("atom_fea_dim", "bond_fea_dim", "angle_fea_dim", "atom_conv_hidden_dim", "bond_conv_hidden_dim")
ARGUMENTS = {
    **dict.fromkeys(WIDTHS, 4),
    **dict.fromkeys(("update_bond", "update_angle", "mlp_first", "is_intensive", "learnable_rbf"), True),
    **dict.fromkeys(("mlp_dropout", "conv_dropout", "angle_layer_hidden_dim"), 0),
    **{"composition_model": "MPtrj", "non_linearity": "silu", "read_out": "ave", "mlp_hidden_dims": [4, 4]},
    **{"n_conv": 3, "num_radial": 3, "num_angular": 5, "cutoff_coeff": 5},
    **{"atom_graph_cutoff": 5, "bond_graph_cutoff": 3, "gMLP_norm": "layer", "readout_norm": "layer"},
}

#: eV; of energies that differ by nothing but rounding.
ROUNDING = 1e-10


def write(path, arguments=ARGUMENTS, *, offsets=False):
    """A file as upstream writes it, with random weights."""
    generator = torch.Generator().manual_seed(5)
    layout = chgnet_layout(arguments | {"mlp_out_bias": offsets})
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in layout.items()}
    torch.save({"model": {"state_dict": tensors, "model_args": arguments}, "optimizer": {}}, path)
    return path


def potential(path):
    foreign = read("chgnet", path)
    return build_potential(registry().load("converter", "chgnet")(foreign.config, foreign.tensors))


@pytest.mark.parametrize("offsets", [False, True])
def test_files_are_read_and_converted(tmp_path, offsets):
    path = write(tmp_path / "m.pth.tar", offsets=offsets)
    assert format_of(path) == "chgnet"
    made = potential(path)
    assert len(made.backbone.species) == 89
    assert made.backbone.config["offsets"] is offsets
    result = made(Atoms("OH2", [(0, 0, 0), (0.9, 0, 0), (0, 1.1, 0.2)]), dtype="float64", device="cpu")
    assert (result.magmoms >= 0.0).all()
    assert np.isfinite(result.forces).all()


def test_what_is_not_known_is_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError, match="read_out"):
        read("chgnet", write(tmp_path / "m.pth.tar", ARGUMENTS | {"read_out": "attn"}))
    with pytest.raises(CheckpointError, match="surprise"):
        read("chgnet", write(tmp_path / "m.pth.tar", ARGUMENTS | {"surprise": 1}))


@pytest.mark.parametrize("offsets", [False, True])
def test_nothing_jumps_where_the_last_angle_goes(tmp_path, offsets):
    made = potential(write(tmp_path / "m.pth.tar", offsets=offsets))

    def energy(r):
        return made(Atoms("OH2", [(0, 0, 0), (r, 0, 0), (0, r, 0)]), dtype="float64", device="cpu").energy

    inside, outside, beyond = (energy(3.0 + step) for step in (-1e-6, 1e-6, 3e-6))
    assert abs((inside - outside) - (outside - beyond)) < ROUNDING


def test_isolated_atoms_have_moments_and_no_forces(tmp_path):
    made = potential(write(tmp_path / "m.pth.tar"))
    far = made(Atoms("OH", [(0, 0, 0), (50, 0, 0)]), dtype="float64", device="cpu")
    alone = [made(Atoms(symbol), dtype="float64", device="cpu") for symbol in "OH"]
    assert abs(far.energy - sum(each.energy for each in alone)) < ROUNDING
    assert np.abs(far.forces).max() == 0.0
    assert np.isfinite(far.magmoms).all()
