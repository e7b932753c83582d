"""Models of SevenNet (Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024); https://github.com/MDIL-SNU/SevenNet).

Upstream normalises at run time what we fold into the weights: each linear map by the root of its inputs, each
activation by its second moment. What an activation leaves is scaled in the maps that read it. Of couplings whose
degrees have an odd sum the sign is a convention, which the file states.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from halocline.checkpoint import Checkpoint
from halocline.errors import BackboneError
from halocline.model.config import to_json
from halocline.plugins.backbones.nequip.config import SCALAR, NequIPConfig
from halocline.plugins.equivariance import Space, coupling, paths

#: What e3nn multiplies SiLU by: the inverse root of its second moment over a million normally distributed numbers
#: of one seed.
SILU = 1.6791767923989418

#: By how much couplings in single precision may differ from ours.
_ROUNDED = 1e-5


def convert(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Turn a model of SevenNet into one of ours.

    Args:
        config: sizes and choices, as the reader of its files gives them.
        tensors: of its state, couplings included.

    Raises:
        BackboneError: the sizes are none of a NequIP, or its couplings none of its irreps.
    """
    weights = {name: tensor.double() for name, tensor in tensors.items()}
    shifts = weights["rescale_atomic_energy.shift"].reshape(max(1, len(config["heads"])), -1)
    ours = _config(config, weights, shifts)
    renamed = {
        "embed.table": weights["onehot_to_feature_x.linear.weight"].view(len(ours.species), -1)
        / math.sqrt(len(ours.species)),
        **_readout(ours, weights),
    }
    for layer in range(ours.layers):
        found = _Layer(ours, layer, weights, in_order=config["sorted"]).renamed()
        renamed |= {f"layers.{layer}.{name}": tensor for name, tensor in found.items()}
    return Checkpoint(
        backbone="nequip",
        config=to_json(ours),
        tensors={name: tensor.contiguous() for name, tensor in renamed.items()},
        reference_energies=dict(zip(ours.species, shifts[0].tolist(), strict=True)),
    )


def _config(config: Mapping[str, Any], weights: Mapping[str, Tensor], shifts: Tensor) -> NequIPConfig:
    return NequIPConfig(
        species=tuple(config["species"]),
        irreps="+".join(f"{count}x{degree}e" for count, degree in config["irreps"]),
        embedding=config["channels"],
        layers=config["layers"],
        max_degree=config["lmax"],
        parity="even",
        solid=not config["normalised_harmonics"],
        cutoff=config["cutoff"],
        bessels=config["bessels"],
        envelope=config["envelope"],
        envelope_order=config.get("envelope_order", 6),
        xplor_from=config.get("xplor_from", 0.0),
        radial_units=tuple(config["radial_units"]),
        denominator=float(weights["0_convolution.denominator"]),
        biased=bool(config["heads"]),
        heads=tuple(config["heads"]),
        head_energies=tuple((shifts - shifts[0]).flatten().tolist()) if config["heads"] else (),
    )


class _Layer:
    """The weights of one layer under our names.

    Args:
        config: of our model.
        layer: its number.
        weights: of upstream's model.
        in_order: whether weights of messages are in the order of what they lead to.
    """

    def __init__(self, config: NequIPConfig, layer: int, weights: Mapping[str, Tensor], *, in_order: bool) -> None:
        self.config, self.layer, self.weights, self.in_order = config, layer, weights, in_order
        self.before, self.after = config.before(layer), config.after(layer)
        gates = sum(count for count, irrep in self.after.terms if irrep.degree)
        self.ungated = [count + (gates if irrep == SCALAR else 0) for count, irrep in self.after.terms]
        self.paths = paths(self.before.irreps, config.harmonics, self.after.irreps)
        #: Of what the gates before leave, which is scaled here; the embedding is no gate.
        self.scaled = SILU if layer else 1.0

    def renamed(self) -> dict[str, Tensor]:
        """Every tensor of the layer."""
        return self._radial() | self._linears()

    def _of(self, name: str) -> Tensor:
        return self.weights[f"{self.layer}_{name}"]

    def _radial(self) -> dict[str, Tensor]:
        count = len(self.config.radial_units) + 1
        matrices = [self._of(f"convolution.weight_nn.layer{number}.weight") for number in range(count)]
        factors = [1.0] + [SILU] * (count - 1)
        scaled = [m.T * (f / math.sqrt(len(m))) for m, f in zip(matrices, factors, strict=True)]
        scaled[-1] = self._ordered(scaled[-1])
        renamed = {f"weights.layers.{number}.weight": matrix for number, matrix in enumerate(scaled)}
        renamed["weights.waves"] = self.weights["edge_embedding.basis_function.coeffs"]
        return renamed

    def _ordered(self, rows: Tensor) -> Tensor:
        """Rows of the weights of all paths in our order and with the signs of our couplings, (Σ C, units)."""
        order = (
            self.paths if self.in_order else sorted(self.paths, key=lambda path: (path.left, path.right, path.out))
        )
        widths = [self.before.channels[path.left] for path in order]
        found = dict(zip(order, torch.split(rows, widths), strict=True))
        return torch.cat([found[path] * self._sign(path.left, path.right, path.out) for path in self.paths])

    def _sign(self, left: int, right: int, out: int) -> float:
        """Of upstream's coupling beside ours."""
        degrees = (
            self.before.irreps[left].degree,
            self.config.harmonics[right].degree,
            self.after.irreps[out].degree,
        )
        if 0 in degrees:
            return 1.0
        name = "_".join(map(str, degrees))
        theirs = self._of(f"convolution.convolution._compiled_main_left_right._w3j_{name}")
        ours = torch.from_numpy(coupling(*degrees).copy())
        sign = math.copysign(1.0, float((ours * theirs).sum()))
        if not float((ours * sign - theirs).abs().max()) <= _ROUNDED:
            raise BackboneError(f"The coupling {name} in this SevenNet is not that of its degrees.")
        return sign

    def _linears(self) -> dict[str, Tensor]:
        config, heads = self.config, len(self.config.heads)
        ratio = config.denominator / float(self._of("convolution.denominator"))
        square = [(count, count) for count in self.before.channels]
        up, sent = _by_irrep(self._of("self_interaction_1.linear.weight"), square, self.before, heads)
        widths = self.before.channels
        counts = [
            sum(widths[path.left] for path in self.paths if path.out == place)
            for place in range(len(self.ungated))
        ]
        down, summed = _by_irrep(
            self._of("self_interaction_2.linear.weight"),
            list(zip(counts, self.ungated, strict=True)),
            self.after,
            heads,
        )
        kept = self.before.only([irrep for irrep in self.before.irreps if irrep in self.after.irreps])
        widened = dict(zip(self.after.irreps, self.ungated, strict=True))
        sizes = [(count, widened[irrep]) for count, irrep in kept.terms]
        skip, _ = _by_irrep(self._of("self_connection_intro.linear.weight"), sizes, kept, 0)
        renamed = {f"up.weights.{number}": matrix * self.scaled for number, matrix in enumerate(up)}
        renamed |= {f"down.weights.{number}": matrix * ratio for number, matrix in enumerate(down)}
        renamed |= {f"skip.weights.{number}": matrix * self.scaled for number, matrix in enumerate(skip)}
        return renamed | ({"sent_offsets": sent, "summed_offsets": summed} if heads else {})


def _by_irrep(
    flat: Tensor, sizes: Sequence[tuple[int, int]], space: Space, heads: int
) -> tuple[list[Tensor], Tensor]:
    """One matrix for each irrep out of a row of numbers, and offsets of each head.

    Heads are more scalars, of which one is 1: they come last in the row, and count among the inputs of scalars.
    """
    scalars = space.irreps.index(SCALAR)
    numbers = [before * after for before, after in sizes] + [heads * sizes[scalars][1]]
    *parts, more = torch.split(flat, numbers)
    inputs = [before + (heads if place == scalars else 0) for place, (before, _) in enumerate(sizes)]
    matrices = [part.view(size) / math.sqrt(count) for part, size, count in zip(parts, sizes, inputs, strict=True)]
    return matrices, more.view(heads, sizes[scalars][1]) / math.sqrt(inputs[scalars])


def _readout(config: NequIPConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Two linear maps with nothing between them are one."""
    heads, scalars = len(config.heads), config.features.of(SCALAR)
    hidden = weights["reduce_input_to_hidden.linear.weight"].view(scalars + heads, -1) / math.sqrt(scalars + heads)
    out = weights["reduce_hidden_to_energy.linear.weight"].view(-1, 1) / math.sqrt(hidden.shape[1])
    whole = hidden @ out
    renamed = {
        "readout.out.weight": whole[:scalars].T * SILU,
        "readout.scales": weights["rescale_atomic_energy.scale"],
    }
    return renamed | ({"readout.offsets": whole[scalars:]} if heads else {})
