"""MACE's three kinds of stage.

Shapes: N atoms read, n atoms written, m components, C channels, P paths, [...] edges in either form.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import ClassVar, final

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn
from torch.nn.functional import silu

from halocline.aggregation import Block
from halocline.model import Stage, StageSpec, State, Work
from halocline.model.condition import HEAD
from halocline.plugins.backbones.mace.config import ROWS, MACEConfig
from halocline.plugins.backbones.mace.radial import RadialBasis, RadialNetwork
from halocline.plugins.backbones.mace.repulsion import Repulsion
from halocline.plugins.equivariance import (
    ChannelwiseProduct,
    IrrepLinear,
    SpeciesLinear,
    SymmetricContraction,
    slices,
    spherical_harmonics,
)


@final
class Embedding(Stage):
    """What is known of each atom by its chemical element.

    Attributes:
        table: (S, C), a learned vector for each species.
        radii: (S,), Å, covalent.
    """

    spec = StageSpec(hops=0)
    rows: Tensor
    radii: Tensor
    charges: Tensor

    def __init__(self, config: MACEConfig) -> None:
        super().__init__()
        numbers = [atomic_numbers[symbol] for symbol in config.species]
        rows = torch.zeros(ROWS, dtype=torch.int64)
        rows[numbers] = torch.arange(len(numbers))
        self.table = nn.Parameter(torch.randn(len(numbers), config.channels, dtype=torch.float64))
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("charges", torch.tensor(numbers, dtype=torch.float64), persistent=False)
        self.register_buffer("radii", torch.tensor(covalent_radii[numbers], dtype=torch.float64))
        self.repulsion = config.repulsion
        self.told = (HEAD,) if config.heads else ()

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → ``features`` (N, 1, C) and ``rows`` (N,), the number of the species of each atom.

        The head that is to answer, of models with several, is handed on.
        """
        del blocks
        rows = self.rows.index_select(0, state.atoms["species"])
        atoms = {"rows": rows, "features": self.table.index_select(0, rows).unsqueeze(1)}
        atoms |= {name: state.atoms[name] for name in self.told}
        if self.repulsion:
            atoms |= {"radii": self.radii.index_select(0, rows), "charges": self.charges.index_select(0, rows)}
        return State(atoms, {})


@final
class Layer(Stage):
    """An interaction, which sums messages, and the product of the sums with themselves; eq. 8-11 of the paper.

    Args:
        config: of the model.
        number: of the layer, from 0.
        embedding: of the model.
    """

    profiled_as: ClassVar = {
        "forward": Work.UPDATE,
        "_harmonics": Work.ANGULAR,
        "_radial": Work.RADIAL,
        "weights": Work.RADIAL,
        "density": Work.RADIAL,
        "product": Work.MESSAGES,
        "contraction": Work.PRODUCT,
        "repulsion": Work.RADIAL,
    }

    def __init__(self, config: MACEConfig, number: int, embedding: Embedding) -> None:
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=config.rule)
        self.max_degree, self.average = config.max_degree, config.average_neighbours
        self.residual = config.residual(number)
        before, between, after = config.features_before(number), config.harmonics, config.features_after(number)
        channels, species = config.channels, len(config.species)
        self.before = slices(before)
        self.up = IrrepLinear([channels] * len(before), channels)
        self.product = ChannelwiseProduct(before, between, between)
        self.channels = channels
        # What the first layer finds, whoever calls it. In a tuple, so that it has no weights of another's name.
        self.found: tuple[Tensor, ...] = () if number else (embedding.table,)
        self.basis = RadialBasis(config, embedding.radii)
        self.weights = RadialNetwork(self.basis, config.radial_units, len(self.product.paths) * channels)
        self.density = RadialNetwork(self.basis, (), 1) if config.density else None
        self.down = IrrepLinear([count * channels for count in self.product.of_out], channels)
        self.skip = SpeciesLinear(before[: len(after)] if self.residual else between, species, channels)
        self.contraction = SymmetricContraction(between, after, config.correlation, species, channels)
        self.mix, self.after = IrrepLinear([channels] * len(after), channels), slices(after)
        self.repulsion = Repulsion(config.envelope_order) if config.repulsion and number == 0 else None

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (N, m, C) → (n, m', C); the first layer may add ``repulsion`` (n,) in eV / scale."""
        (block,) = blocks
        features = state.atoms["features"]
        kept = ("rows", "radii", "charges", HEAD)
        own = {name: block.targets(state.atoms[name]) for name in kept if name in state.atoms}
        sums = self._interaction(block, state)
        if not self.residual:
            sums = self.skip(sums, own["rows"])
        products = self.contraction(sums, own["rows"])
        mixed = self.mix([products[:, place] for place in self.after])
        if self.residual:
            mixed = _added(mixed, self.skip(block.targets(features), own["rows"]))
        atoms = own | {"features": mixed}
        if self.repulsion is not None:
            atoms["repulsion"] = self.repulsion(block, state.atoms["charges"], state.atoms["radii"])
        return State(atoms, {})

    def _interaction(self, block: Block, state: State) -> Tensor:
        """Messages summed at their receivers, (n, m, C)."""
        features, rows = state.atoms["features"], state.atoms["rows"]
        sent = self.up([features[:, place] for place in self.before])
        weights = torch.unflatten(self._radial(self.weights, block, rows), -1, (-1, self.channels))
        of_paths = self.product(block.at_senders(sent), self._harmonics(block), weights, block.sum)
        ends = accumulate(self.product.of_out, initial=0)
        sums: Tensor = self.down([torch.cat(of_paths[start:end], -1) for start, end in pairwise(ends)])
        if self.density is None:
            return sums * (1.0 / self.average)
        density = torch.tanh(self._radial(self.density, block, rows) ** 2)
        result: Tensor = sums / (block.sum(density) + 1.0).unsqueeze(-1)
        return result

    def _harmonics(self, block: Block) -> Tensor:
        """Of the directions of edges, [..., (l_max + 1)²]."""
        result: Tensor = spherical_harmonics(block.vectors / block.lengths()[..., None], self.max_degree)
        return result

    def _radial(self, network: RadialNetwork, block: Block, rows: Tensor) -> Tensor:
        """A network of the radial basis on every edge, [..., outputs]."""
        return block.radial(network, rows)


@final
class Readout(Stage):
    """Energy of each atom from its scalars.

    Args:
        config: of the model.
        hidden: channels of a hidden layer, of each head; None for a linear readout.
        repulsion: whether it adds the repulsion.

    Attributes:
        scales: (H, H), eV, of a model with several heads: the scale of each on the diagonal.
    """

    spec = StageSpec(hops=0)
    scales: Tensor

    def __init__(self, config: MACEConfig, *, hidden: int | None, repulsion: bool) -> None:
        super().__init__()
        self.scale, self.repulsion, self.heads = config.scale, repulsion, len(config.heads)
        count = max(1, self.heads)
        self.hidden = None if hidden is None else _linear(config.channels, count * hidden)
        self.out = _linear(config.channels if hidden is None else hidden, count)
        if self.heads:
            scales = torch.tensor(config.head_scales, dtype=torch.float64)
            self.register_buffer("scales", torch.diag(scales), persistent=False)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (n, m, C) → ``energies`` (n,) in eV."""
        del blocks
        scalars = state.atoms["features"][:, :1].flatten(1)
        energies = self._of_heads(scalars)
        if self.repulsion:
            energies = energies + state.atoms["repulsion"].unsqueeze(1)
        if self.heads:
            chosen = self.scales.index_select(0, state.atoms[HEAD])
            return State({"energies": (energies * chosen).sum(1)}, {})
        return State({"energies": energies.squeeze(1) * self.scale}, {})

    def _of_heads(self, scalars: Tensor) -> Tensor:
        """Scalars (n, C) → what each head says, (n, H)."""
        said: Tensor
        if self.hidden is None:
            said = self.out(scalars)
        elif self.heads:  # each of which reads channels of its own
            hidden = torch.unflatten(silu(self.hidden(scalars)), 1, (self.heads, -1))
            said = (hidden * self.out.weight).sum(2)
        else:
            said = self.out(silu(self.hidden(scalars)))
        return said


def _added(features: Tensor, skipped: Tensor) -> Tensor:
    """Features (n, m, C) plus those of the first irreps (n, m', C)."""
    count = skipped.shape[1]
    if count == features.shape[1]:
        return features + skipped
    return torch.cat([features[:, :count] + skipped, features[:, count:]], dim=1)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False, dtype=torch.float64)
