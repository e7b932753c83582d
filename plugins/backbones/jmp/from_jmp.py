"""Pre-trained networks of JMP (https://github.com/facebookresearch/JMP). They have no energy surface.

Heads of the data sets that they were trained on are left behind, as upstream does, and the head that energies
are read from here is new: it gives zero until it is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from halocline.checkpoint import Checkpoint
from halocline.errors import BackboneError
from halocline.model.config import to_json
from halocline.plugins.backbones.jmp.config import ROWS, JMPConfig
from halocline.plugins.backbones.jmp.outputs import Head

#: Hidden layers of the head, and the seed of their weights.
_HEAD_LAYERS, _SEED = 4, 0

#: Our sizes → theirs.
_SIZES = {
    "layers": "num_blocks",
    "atom": "emb_size_atom",
    "edge": "emb_size_edge",
    "triplet_in": "emb_size_trip_in",
    "triplet_out": "emb_size_trip_out",
    "quadruplet_in": "emb_size_quad_in",
    "quadruplet_out": "emb_size_quad_out",
    "pair_in": "emb_size_aint_in",
    "pair_out": "emb_size_aint_out",
    "radial": "emb_size_rbf",
    "angular": "emb_size_cbf",
    "dihedral": "emb_size_sbf",
    "gaussians": "num_radial",
    "degrees": "num_spherical",
    "before_skip": "num_before_skip",
    "after_skip": "num_after_skip",
    "atom_layers": "num_atom_emb_layers",
    "concat_layers": "num_concat",
    "update_layers": "num_atom",
    "output_layers": "num_output_afteratom",
    "final_layers": "num_global_out_layers",
}

#: What its functions of the distance, and of it and an angle, are for.
_LENGTHS = ("qint", "out", "tint", "eaint", "h", "aeint")
_ANGLES = ("tint", "aeint", "eaint", "qint")

Named = Iterator[tuple[str, Tensor]]


def convert(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Turn a pre-trained network of JMP into a model of ours, whose head is yet to be fitted.

    Args:
        config: hyper-parameters of its network.
        tensors: of its state.

    Raises:
        BackboneError: the sizes are none of a JMP.
    """
    ours = JMPConfig(
        species=tuple(chemical_symbols[1:ROWS]),
        envelope=config["envelope"]["exponent"],
        cutoff=12.0,
        head_layers=_HEAD_LAYERS,
        **{name: config[theirs] for name, theirs in _SIZES.items()},
    )
    network = _Network(ours, {name.removeprefix("backbone."): tensor.double() for name, tensor in tensors.items()})
    renamed = dict(network.tensors())
    return Checkpoint(
        backbone="jmp",
        config=to_json(ours),
        tensors={name: tensor.contiguous() for name, tensor in (renamed | _fresh_head(ours)).items()},
        reference_energies=dict.fromkeys(ours.species, 0.0),
    )


def _fresh_head(ours: JMPConfig) -> dict[str, Tensor]:
    """A head with weights of a seed, and a last layer of zeros."""
    head = Head(ours.atom, ours.head_layers)
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for layer in head.hidden:
            assert isinstance(layer, nn.Linear)
            layer.weight.normal_(std=ours.atom**-0.5, generator=generator)
            layer.bias.zero_()
        head.out.weight.zero_()
    return {f"readout.head.{name}": tensor for name, tensor in head.state_dict().items()}


class _Network:
    """Tensors of upstream under our names."""

    def __init__(self, ours: JMPConfig, theirs: Mapping[str, Tensor]) -> None:
        self.ours, self.theirs = ours, theirs
        self.offsets = theirs["bases.radial_basis.rbf.offset"]
        for name, offsets in theirs.items():
            if name.endswith(".rbf.offset") and not torch.equal(offsets, self.offsets):
                raise BackboneError(
                    f"JMP has one set of Gaussians here, and {name} differs from that of radial_basis."
                )

    def tensors(self) -> Named:
        """All but those of the head."""
        table = torch.zeros((ROWS, self.ours.atom), dtype=torch.float64)
        table[1:] = self.theirs["embedding.atom_embedding.weight"][: ROWS - 1]
        yield "embed.table.weight", table
        yield from self._start()
        for layer in range(self.ours.layers):
            yield from self._layer(f"layers.{layer}", f"int_blocks.{layer}")
            last = layer == self.ours.layers - 1
            yield from self._close(f"layers.{layer}.after" if last else f"layers.{layer + 1}.before", layer)
        yield from self._residuals("readout.layers", "out_mlp_E.out_mlp", self.ours.final_layers, first=1)

    def _start(self) -> Named:
        atom = self.ours.atom
        weight = self.theirs["bases.edge_emb.dense.linear.weight"]
        yield "layers.0.start.ends.source.weight", weight[:, :atom]
        yield "layers.0.start.ends.target.weight", weight[:, atom : 2 * atom]
        yield from self._radial("layers.0.start.distance", weight[:, 2 * atom :])
        yield from self._output("layers.0.start.output", 0)
        yield from self._geometry("layers.0.geometry")

    def _geometry(self, name: str) -> Named:
        """Functions of the distance side by side, as `Geometry` has them."""
        lengths = {kind: self.theirs[f"bases.mlp_rbf_{kind}.linear.weight"] for kind in _LENGTHS}
        angles = {kind: self.theirs[f"bases.mlp_cbf_{kind}.weight"].flatten(1).T for kind in _ANGLES}
        dihedral = self.theirs["bases.mlp_sbf_qint.weight"].flatten(1).T
        near = (lengths["tint"], angles["tint"], angles["aeint"], dihedral, lengths["eaint"], lengths["h"])
        yield from self._radial(f"{name}.far.basis", torch.cat([lengths["qint"], lengths["out"]]))
        yield from self._radial(f"{name}.near.basis", torch.cat(near))
        mixed = torch.cat([lengths["aeint"], angles["eaint"]])
        yield from self._radial(f"{name}.mixed.basis", mixed)
        yield from self._radial(f"{name}.close.basis", angles["qint"])
        pairs = self.theirs["bases.mlp_rbf_aint.weight"]
        yield from self._radial(f"{name}.pairs.basis", pairs)

    def _close(self, name: str, block: int) -> Named:
        atom, theirs = self.ours.atom, f"int_blocks.{block}"
        weight = self.theirs[f"{theirs}.concat_layer.dense.linear.weight"]
        yield f"{name}.ends.source.weight", weight[:, :atom]
        yield f"{name}.ends.target.weight", weight[:, atom : 2 * atom]
        yield f"{name}.edge.weight", weight[:, 2 * atom :]
        yield from self._residuals(f"{name}.layers", f"{theirs}.residual_m", self.ours.concat_layers)
        yield from self._output(f"{name}.output", block + 1)

    def _output(self, name: str, block: int) -> Named:
        atom, theirs = self.ours.atom, f"out_blocks.{block}"
        yield from self._from_edges(f"{name}.from_edges", theirs)
        yield from self._residuals(f"{name}.layers", f"{theirs}.seq_energy2", self.ours.output_layers)
        weight = self.theirs["out_mlp_E.out_mlp.0.linear.weight"]
        yield f"{name}.share.weight", weight[:, block * atom : (block + 1) * atom]

    def _layer(self, name: str, theirs: str) -> Named:
        yield from self._dense(f"{name}.skip", f"{theirs}.dense_ca")
        for ours, kind in (
            ("edges_to_edges", "trip"),
            ("atoms_to_edges", "atom_edge"),
            ("edges_to_atoms", "edge_atom"),
        ):
            given = f"{theirs}.{kind}_interaction"
            yield from self._weighted(f"{name}.{ours}.read", given, "dense_ba")
            yield f"{name}.{ours}.bilinear.weight.weight", self.theirs[f"{given}.mlp_cbf.bilinear.linear.weight"]
            yield f"{name}.{ours}.bilinear.scale.factor", self.theirs[f"{given}.scale_cbf_sum.scale_factor"]
            if kind == "edge_atom":
                yield from self._dense(f"{name}.{ours}.up", f"{given}.up_projection_ca")
            else:
                yield from self._both_ways(f"{name}.{ours}.up", given)
        yield from self._chains(f"{name}.chains", f"{theirs}.quad_interaction")
        pairs, given = f"{name}.atoms_to_atoms", f"{theirs}.atom_interaction"
        yield from self._dense(f"{pairs}.down", f"{given}.down_projection")
        yield from self._dense(f"{pairs}.up", f"{given}.up_projection")
        yield f"{pairs}.weight.weight", self.theirs[f"{given}.bilinear.linear.weight"]
        yield f"{pairs}.scale.factor", self.theirs[f"{given}.scale_rbf_sum.scale_factor"]
        for ours, layers, count in (
            ("before_skip", "layers_before_skip", self.ours.before_skip),
            ("after_skip", "layers_after_skip", self.ours.after_skip),
            ("atom_layers", "atom_emb_layers", self.ours.atom_layers),
        ):
            yield from self._residuals(f"{name}.{ours}", f"{theirs}.{layers}", count)
        yield from self._from_edges(f"{name}.from_edges", f"{theirs}.atom_update")

    def _chains(self, name: str, theirs: str) -> Named:
        yield from self._weighted(f"{name}.read", theirs, "dense_db")
        yield f"{name}.weight.weight", self.theirs[f"{theirs}.mlp_cbf.linear.weight"]
        yield f"{name}.scale.factor", self.theirs[f"{theirs}.scale_cbf.scale_factor"]
        yield f"{name}.bilinear.weight.weight", self.theirs[f"{theirs}.mlp_sbf.bilinear.linear.weight"]
        yield f"{name}.bilinear.scale.factor", self.theirs[f"{theirs}.scale_sbf_sum.scale_factor"]
        yield from self._both_ways(f"{name}.up", theirs)

    def _weighted(self, name: str, theirs: str, dense: str) -> Named:
        yield from self._dense(f"{name}.dense", f"{theirs}.{dense}")
        yield from self._dense(f"{name}.down", f"{theirs}.down_projection")
        yield f"{name}.weight.weight", self.theirs[f"{theirs}.mlp_rbf.linear.weight"]
        yield f"{name}.scale.factor", self.theirs[f"{theirs}.scale_rbf.scale_factor"]

    def _both_ways(self, name: str, theirs: str) -> Named:
        yield from self._dense(f"{name}.own", f"{theirs}.up_projection_ca")
        yield from self._dense(f"{name}.opposite", f"{theirs}.up_projection_ac")

    def _from_edges(self, name: str, theirs: str) -> Named:
        yield f"{name}.weight.weight", self.theirs[f"{theirs}.dense_rbf.linear.weight"]
        yield f"{name}.scale.factor", self.theirs[f"{theirs}.scale_sum.scale_factor"]
        into = self.ours.edge != self.ours.atom
        if into:
            yield from self._dense(f"{name}.layers.into", f"{theirs}.layers.0")
        count = self.ours.update_layers
        yield from self._residuals(f"{name}.layers", f"{theirs}.layers", count, first=int(into))

    def _residuals(self, name: str, theirs: str, count: int, first: int = 0) -> Named:
        for layer in range(count):
            for ours, dense in (("first", 0), ("second", 1)):
                given = f"{theirs}.{first + layer}.dense_mlp.{dense}"
                yield from self._dense(f"{name}.layers.{layer}.{ours}", given)

    def _radial(self, name: str, weight: Tensor) -> Named:
        yield f"{name}.offsets", self.offsets
        yield f"{name}.project.weight", weight

    def _dense(self, name: str, theirs: str) -> Named:
        yield f"{name}.linear.weight", self.theirs[f"{theirs}.linear.weight"]
