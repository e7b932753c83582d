"""CHGNet: files of upstream are read and converted, and bonds and moments are what they should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from matrix.axes import Cell, why_not

from halocline.aggregation import Form
from halocline.backends.torch.samples import samples
from halocline.errors import BackboneError, CheckpointError, UsageError
from halocline.lowering import lower
from halocline.lowering.arguments import flatten
from halocline.lowering.example import other_inputs
from halocline.model.build import build_backbone
from halocline.model.chain import chain
from halocline.partition import whole
from halocline.plugin import registry
from halocline.potential.load import build_potential
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.layout import lay_out
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


def published(**changes):
    """A small model with the cutoffs of the published ones, whose bonds are half as long as its edges."""
    config = registry().load("backbone", "chgnet").example_config() | {"cutoff": 6.0, "bond_cutoff": 3.0}
    return build_backbone("chgnet", config | changes, seed=0)


def test_what_is_traced_and_measured_with_has_angles():
    graph = chain(published(), 8, seed=0)
    (places,) = graph.sets.places
    assert np.bincount(graph.edges.receivers[places]).max() > 1


def test_state_of_bonds_is_not_exchanged(tmp_path):
    """By the executor, and by all who ask for it beforehand, in the words of the model."""
    made = potential(write(tmp_path / "m.pth.tar"))
    with pytest.raises(
        UsageError, match=r"'layers.1' of 'chgnet' reads sums of edges .* choose halo=recompute"
    ) as told:
        made(Atoms("H2", [(0, 0, 0), (0, 0, 1)]), partition="rcb:2", halo="exchange", device="cpu")
    assert str(told.value) == made.backbone.exchange_refusal
    assert why_not(Cell("chgnet", "torch", "float64", "exchange", "nothing")) == made.backbone.exchange_refusal
    assert why_not(Cell("chgnet", "torch", "float64", "parts", "nothing")) == ""


def test_one_hop_is_enough_only_for_what_the_layer_before_returned(monkeypatch):
    backbone = published()
    forgetful = backbone.layers[0]
    between = forgetful._between

    def without_sums(*arguments):
        return {name: values for name, values in between(*arguments).items() if name != "sums"}

    monkeypatch.setattr(forgetful, "_between", without_sums)
    graph = chain(backbone, 4, seed=0)
    inputs = lay_out(graph, whole(4, graph.edges, 2), Form.EDGES, Precision.FLOAT64)
    with pytest.raises(BackboneError, match="Layer 1 of 'chgnet' reads sums of edges that end at other atoms"):
        energies_and_gradients(backbone, inputs)
    backbone.layers[0].spec = replace(backbone.layers[0].spec, edge_state=("sums",))
    with pytest.raises(BackboneError, match=r"'layers.0' of 'chgnet' reads edges that end at other atoms"):
        FrozenModel.freeze(backbone, Precision.FLOAT64, Capabilities.reference(Form.EDGES))


@pytest.mark.slow  # lowered
def test_programs_of_the_published_cutoffs_hold_for_edges_without_bonds():
    """They are checked on such edges when they are made; `samples` has them for what is compiled of them."""
    backbone = published()
    frozen = FrozenModel.freeze(backbone, Precision.FLOAT32, Capabilities.reference(Form.EDGES))
    program = lower(frozen)
    unlisted = samples(program.manifest)["edges in no list"]
    sizes = dict(zip((value.name for value in program.manifest.inputs), map(len, unlisted), strict=True))
    assert sizes["senders"] > 0 == sizes["rule_0"] == sizes["triplets_0_written"]
    pair = other_inputs(backbone, Form.EDGES, Precision.FLOAT32)["one pair"]
    assert len(pair.senders) == 2
    assert len(pair.sets.tensors["rule_0"]) == 0
    for inputs in (unlisted, flatten(pair)):
        assert all(values.isfinite().all() for values in program(*inputs))
