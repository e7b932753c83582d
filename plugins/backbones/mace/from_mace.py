"""Models of MACE (I. Batatia et al., NeurIPS 2022; https://github.com/ACEsuit/mace).

Upstream normalises at run time what we fold into the weights: each linear map by the root of its inputs, the
activation by its second moment. Its harmonics look from senders to receivers, ours the other way. Its products are
spanned by couplings that lie in the file and are not independent; ours by an orthogonal basis, in which the same
polynomial has fewer weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols, covalent_radii
from torch import Tensor

from halocline.checkpoint import Checkpoint
from halocline.errors import BackboneError
from halocline.model.config import to_json
from halocline.plugins.backbones.mace.config import MACEConfig
from halocline.plugins.equivariance import Irrep, paths, symmetric_couplings

#: Of the largest number in a coupling: what single precision may leave outside of the equivariant ones.
_OUTSIDE = 1e-5


def convert(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Turn a model of MACE into one of ours.

    Args:
        config: sizes and choices of the model, as the reader of its files gives them.
        tensors: of its state, constants and couplings included.

    Raises:
        BackboneError: the sizes are none of a MACE, or its couplings none of its irreps.
    """
    weights = {name: tensor.double() for name, tensor in tensors.items()}
    ours = _config(config, weights)
    renamed = {
        "embed.table": weights["node_embedding.linear.weight"].view(len(ours.species), -1)
        / math.sqrt(len(ours.species)),
        "embed.radii": _radii(config, weights),
    }
    for layer in range(ours.layers):
        names = _Layer(ours, layer, config["activation"], weights)
        renamed |= {f"layers.{layer}.{name}": tensor for name, tensor in names.renamed().items()}
        renamed |= _readout(layer, ours, config["activation"], weights)
    energies = _energies(weights)[_default(ours)]
    return Checkpoint(
        backbone="mace",
        config=to_json(ours),
        tensors={name: tensor.contiguous() for name, tensor in renamed.items()},
        reference_energies=dict(zip(ours.species, energies.tolist(), strict=True)),
    )


def _config(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> MACEConfig:
    blocks = [
        name.removeprefix("RealAgnostic").removesuffix("InteractionBlock") for name in config["interactions"]
    ]
    kinds: list[Any] = ["residual" if "Residual" in block else "agnostic" for block in blocks]
    neighbours = config["avg_num_neighbors"]
    for values, what in ((kinds[1:], "blocks"), (neighbours, "avg_num_neighbors")):
        if len(set(values)) > 1:
            raise BackboneError(f"Layers of one MACE with different {what} are not known here: {values}.")
    if len({"Density" in block for block in blocks}) > 1:
        raise BackboneError(f"Only some of the blocks of this MACE know a density: {config['interactions']}.")
    return MACEConfig(
        species=tuple(chemical_symbols[number] for number in config["atomic_numbers"]),
        channels=config["channels"],
        hidden_degree=config["hidden_lmax"],
        max_degree=config["max_ell"],
        correlation=config["correlation"],
        layers=len(blocks),
        first_block=kinds[0],
        later_blocks=kinds[-1],
        density="Density" in blocks[0],
        cutoff=config["r_max"],
        bessels=config["num_bessel"],
        envelope_order=config["num_polynomial_cutoff"],
        agnesi=config["distance_transform"] == "Agnesi",
        repulsion=config["pair_repulsion"],
        radial_units=tuple(config["radial_MLP"]),
        readout_units=config["MLP_irreps"] or 1,
        last_readout="perceptron" if config["MLP_irreps"] else "linear",
        average_neighbours=neighbours[0],
        **_heads(config, weights),
    )


def _heads(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Choices of a model with several heads. Upstream takes the one called default where none is named."""
    names = tuple(config["heads"])
    energies, scales = _energies(weights), weights.get("scale_shift.scale", torch.ones(len(names)))
    if len(names) == 1:
        return {"scale": float(scales)}
    default = next((name for name in names if name.lower() == "default"), None)
    beyond = energies - energies[0 if default is None else names.index(default)]
    return {
        "heads": names,
        "default_head": default,
        "head_scales": tuple(scales.tolist()),
        "head_energies": tuple(beyond.flatten().tolist()),
    }


def _energies(weights: Mapping[str, Tensor]) -> Tensor:
    """Of isolated atoms, with the shift: (heads, species), eV."""
    energies = weights["atomic_energies_fn.atomic_energies"]
    return energies + weights.get("scale_shift.shift", torch.zeros(1)).double()[:, None]


def _default(config: MACEConfig) -> int:
    """The head whose reference energies are the model's."""
    return 0 if config.default_head is None else config.heads.index(config.default_head)


def _radii(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Tensor:
    """Covalent radii of the species, Å; those of the file, where the model uses them."""
    numbers = list(config["atomic_numbers"])
    found = [
        weights[f"{module}.covalent_radii"][numbers]
        for module in ("radial_embedding.distance_transform", "pair_repulsion_fn")
        if f"{module}.covalent_radii" in weights
    ]
    if len(found) == 2 and not torch.equal(*found):
        raise BackboneError("This MACE has different covalent radii for distances and for the repulsion.")
    return found[0] if found else torch.tensor(covalent_radii[numbers], dtype=torch.float64)


class _Layer:
    """The weights of one layer under our names.

    Args:
        config: of our model.
        layer: its number.
        activation: what upstream multiplies SiLU by.
        weights: of upstream's model.
    """

    def __init__(self, config: MACEConfig, layer: int, activation: float, weights: Mapping[str, Tensor]) -> None:
        self.config, self.layer, self.activation, self.weights = config, layer, activation, weights
        self.before, self.after = config.features_before(layer), config.features_after(layer)

    def renamed(self) -> dict[str, Tensor]:
        """Every tensor of the layer."""
        return self._radial() | self._linears() | self._contractions() | self._repulsion()

    def _of(self, name: str) -> Tensor:
        return self.weights[f"interactions.{self.layer}.{name}"]

    def _radial(self) -> dict[str, Tensor]:
        basis = "radial_embedding.bessel_fn"
        renamed = {
            "basis.waves": self.weights[f"{basis}.bessel_weights"],
            "basis.amplitude": self.weights[f"{basis}.prefactor"],
        }
        if self.config.agnesi:
            transform = "radial_embedding.distance_transform"
            renamed |= {f"basis.transform.{name}": self.weights[f"{transform}.{name}"] for name in ("a", "q", "p")}
        count = len(self.config.radial_units) + 1
        matrices = [self._of(f"conv_tp_weights.layer{number}.weight") for number in range(count)]
        scaled = _perceptron(matrices, self.activation)
        scaled[-1] = scaled[-1] * self._direction_signs()[:, None]
        renamed |= {f"weights.layers.{number}.weight": matrix for number, matrix in enumerate(scaled)}
        if self.config.density:
            (density,) = _perceptron([self._of("density_fn.layer0.weight")], self.activation)
            renamed["density.layers.0.weight"] = density
        return renamed

    def _direction_signs(self) -> Tensor:
        """(-1)^l of the harmonics in each path, for every channel: (P · C,)."""
        own = paths(self.before, self.config.harmonics, self.config.harmonics)
        signs = torch.tensor([(-1.0) ** path.right for path in own], dtype=torch.float64)
        return signs.repeat_interleave(self.config.channels)

    def _linears(self) -> dict[str, Tensor]:
        channels, between = self.config.channels, self.config.harmonics
        up, mix = self._of("linear_up.weight"), self.weights[f"products.{self.layer}.linear.weight"]
        own = paths(self.before, between, between)
        counts = [sum(path.out == k for path in own) * channels for k in range(len(between))]
        renamed = _by_irrep("up", up, [channels] * len(self.before))
        renamed |= _by_irrep("down", self._of("linear.weight"), counts)
        renamed |= _by_irrep("mix", mix, [channels] * len(self.after))
        skipped = min(len(self.before), len(self.after)) if self.config.residual(self.layer) else len(between)
        species = len(self.config.species)
        skip = self._of("skip_tp.weight").view(skipped, channels, species, channels)
        return renamed | {"skip.weight": skip.permute(2, 0, 1, 3) / math.sqrt(channels * species)}

    def _contractions(self) -> dict[str, Tensor]:
        """Weights of the products in our basis."""
        renamed = {}
        for number, irrep in enumerate(self.after):
            theirs = f"products.{self.layer}.symmetric_contractions.contractions.{number}"
            for power in range(1, self.config.correlation + 1):
                place = self.config.correlation - power  # the highest power is apart, the others fall from there
                weights = self.weights[f"{theirs}.weights.{place - 1}" if place else f"{theirs}.weights_max"]
                couplings = self.weights[f"{theirs}.U_matrix_{power}"]
                matrix = _in_our_basis(couplings, self.config.harmonics, irrep, power)
                renamed[f"contraction.weights.{number}_{power}"] = torch.einsum("jk,skc->sjc", matrix, weights)
        return renamed

    def _repulsion(self) -> dict[str, Tensor]:
        if not self.config.repulsion or self.layer:
            return {}
        names = {"shares": "c", "exponent": "a_exp", "prefactor": "a_prefactor"}
        return {f"repulsion.{ours}": self.weights[f"pair_repulsion_fn.{name}"] for ours, name in names.items()}


def _in_our_basis(couplings: Tensor, irreps: tuple[Irrep, ...], out: Irrep, power: int) -> Tensor:
    """The symmetric parts of couplings (2l + 1, M, ..., M, K) in terms of ours: (K', K).

    Raises:
        BackboneError: they are more than combinations of ours, so they are not equivariant in these irreps.
    """
    basis = symmetric_couplings(irreps, out, power)
    flat = torch.from_numpy(np.array(basis.reshape(len(basis), -1)))
    symmetric = _symmetrised(couplings.reshape(*basis.shape[1:], -1), power).flatten(0, power)
    matrix = flat @ symmetric * (math.factorial(power) / out.dimension)
    outside = float((flat.T @ matrix - symmetric).abs().max())
    if not outside <= _OUTSIDE * max(1.0, float(symmetric.abs().max())):
        raise BackboneError(
            f"The couplings of power {power} to {out} in this MACE are not those of the irreps "
            f"{'+'.join(map(str, irreps))}: {outside:.1e} of them is something else."
        )
    return matrix


def _symmetrised(couplings: Tensor, power: int) -> Tensor:
    """The mean over all orders of the factors, of couplings (2l + 1, M, ..., M, K)."""
    orders = list(permutations(range(1, power + 1)))
    total = torch.zeros_like(couplings)
    for order in orders:
        total += couplings.permute(0, *order, power + 1)
    return total / len(orders)


def _perceptron(matrices: Sequence[Tensor], activation: float) -> list[Tensor]:
    """Matrices (in, out) as ours, (out, in), with their normalisation and that of the activations before them."""
    factors = [1.0] + [activation] * (len(matrices) - 1)
    return [matrix.T * (factor / math.sqrt(len(matrix))) for matrix, factor in zip(matrices, factors, strict=True)]


def _by_irrep(name: str, flat: Tensor, inputs: Sequence[int]) -> dict[str, Tensor]:
    """One matrix for each irrep out of a row of numbers, normalised by their inputs."""
    outputs = len(flat) // sum(inputs)
    parts = torch.split(flat, [size * outputs for size in inputs])
    return {
        f"{name}.weights.{number}": part.view(size, outputs) / math.sqrt(size)
        for number, (part, size) in enumerate(zip(parts, inputs, strict=True))
    }


def _readout(
    layer: int, config: MACEConfig, activation: float, weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Of the outputs of a head only those count that its own hidden units give; upstream masks the others."""
    ours, theirs, heads = f"heads.{layer}", f"readouts.{layer}", max(1, len(config.heads))
    if layer < config.layers - 1 or config.last_readout == "linear":
        (out,) = _perceptron([weights[f"{theirs}.linear.weight"].view(-1, heads)], activation)
        return {f"{ours}.out.weight": out}
    hidden, out = weights[f"{theirs}.linear_1.weight"], weights[f"{theirs}.linear_2.weight"]
    hidden, out = _perceptron([hidden.view(config.channels, -1), out.view(-1, heads)], activation)
    own = torch.stack([row[head] for head, row in enumerate(torch.unflatten(out, 1, (heads, -1)))])
    return {f"{ours}.hidden.weight": hidden, f"{ours}.out.weight": own}
