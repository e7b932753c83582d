"""NequIP's three kinds of stage.

Shapes: N atoms read, n atoms written, D numbers of an atom's features, S species, H heads, [...] edges in either
form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.model import Stage, StageSpec, State, Work
from halocline.model.condition import HEAD
from halocline.plugins.backbones.nequip.config import ROWS, SCALAR, NequIPConfig
from halocline.plugins.backbones.nequip.gate import Gate, Norm
from halocline.plugins.backbones.nequip.radial import RadialNetwork
from halocline.plugins.equivariance import Space, UnevenLinear, UnevenProduct, spherical_harmonics


@final
class Embedding(Stage):
    """What is known of each atom by its chemical element.

    Attributes:
        table: (S, C), a learned vector for each species.
    """

    spec = StageSpec(hops=0)
    rows: Tensor

    def __init__(self, config: NequIPConfig) -> None:
        super().__init__()
        numbers = [atomic_numbers[symbol] for symbol in config.species]
        rows = torch.zeros(ROWS, dtype=torch.int64)
        rows[numbers] = torch.arange(len(numbers))
        self.register_buffer("rows", rows, persistent=False)
        self.table = nn.Parameter(torch.randn(len(numbers), config.embedding, dtype=torch.float64))
        self.told = (HEAD,) if config.heads else ()

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → ``features`` (N, C) and ``rows`` (N,), the number of the species of each atom.

        The head that is to answer, of models with several, is handed on.
        """
        del blocks
        rows = self.rows.index_select(0, state.atoms["species"])
        atoms = {"rows": rows, "features": self.table.index_select(0, rows)}
        return State(atoms | {name: state.atoms[name] for name in self.told}, {})


@final
class Layer(Stage):
    """A convolution, a linear map past it, and gates; eq. 5-9 of the paper.

    Args:
        config: of the model.
        number: of the layer, from 0.
    """

    profiled_as: ClassVar = {
        "forward": Work.UPDATE,
        "_harmonics": Work.ANGULAR,
        "weights": Work.RADIAL,
        "product": Work.MESSAGES,
    }

    def __init__(self, config: NequIPConfig, number: int) -> None:
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=config.rule)
        self.max_degree, self.solid = config.max_degree, config.solid
        self.denominator = config.denominator
        self.before, after = config.before(number), config.after(number)
        self.gate = Gate(after)
        ungated = [count + (self.gate.gates if irrep == SCALAR else 0) for count, irrep in after.terms]
        self.up = UnevenLinear([(count, count) for count in self.before.channels])
        self.harmonics = config.harmonics
        self.product = UnevenProduct(self.before, self.harmonics, after.irreps)
        self.weights = RadialNetwork(config, sum(self.product.widths))
        self.down = UnevenLinear(list(zip(self.product.inputs, ungated, strict=True)))
        self.kept = [irrep in self.before.irreps for irrep in after.irreps]
        self.carried = [self.before.irreps.index(irrep) for irrep in after.irreps if irrep in self.before.irreps]
        widths = [count for count, kept in zip(ungated, self.kept, strict=True) if kept]
        self.skip = UnevenLinear(
            [(self.before.channels[place], width) for place, width in zip(self.carried, widths, strict=True)]
        )
        self.norm = Norm(ungated) if config.normalised else None
        self.scalars_before, self.scalars_after = self.before.irreps.index(SCALAR), after.irreps.index(SCALAR)
        self.sent_offsets = _offsets(config, self.before.of(SCALAR))
        self.summed_offsets = _offsets(config, ungated[self.scalars_after])

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (N, D) → (n, D')."""
        (block,) = blocks
        return self.updated(state, block, self._sums(block, self.sent(state)))

    def sent(self, state: State) -> list[Tensor]:
        """What every atom sends, (N, 2l + 1, C) of each irrep."""
        parts = self.up(self.before.split(state.atoms["features"]))
        return _offset(parts, self.scalars_before, self.sent_offsets, state.atoms.get(HEAD))

    def updated(self, state: State, block: Block, sums: Sequence[Tensor]) -> State:
        """The state after the layer, by the sums of messages, (n, 2l + 1, C) of each irrep."""
        own = {name: block.targets(state.atoms[name]) for name in ("rows", HEAD) if name in state.atoms}
        features = self.before.split(block.targets(state.atoms["features"]))
        summed = _offset(self.down(sums), self.scalars_after, self.summed_offsets, own.get(HEAD))
        skipped = iter(self.skip([features[place] for place in self.carried]))
        parts = [part + next(skipped) if kept else part for part, kept in zip(summed, self.kept, strict=True)]
        if self.norm is not None:
            parts = self.norm(parts)
        return State(own | {"features": Space.join(self.gate(parts))}, {})

    def _sums(self, block: Block, sent: Sequence[Tensor]) -> list[Tensor]:
        """Messages summed at their receivers, (n, 2l + 1, C) of each irrep."""
        gathered = self.before.split(block.at_senders(Space.join(sent) * (1.0 / self.denominator)))
        sums: list[Tensor] = self.product(gathered, self._harmonics(block), block.radial(self.weights), block.sum)
        return sums

    def _harmonics(self, block: Block) -> Tensor:
        """Of the directions of edges, or of the edges themselves, [..., (l_max + 1)²]."""
        lengths = block.lengths()[..., None]
        values: Tensor = spherical_harmonics(block.vectors / lengths, self.max_degree)
        if not self.solid:
            return values
        parts = torch.split(values, [2 * degree + 1 for degree in range(self.max_degree + 1)], -1)
        return torch.cat([part * lengths**degree for degree, part in enumerate(parts)], -1)


@final
class Readout(Stage):
    """Energy of each atom: a linear map of its scalars, times the scale of its species.

    Attributes:
        scales: (S,), eV.

    Args:
        config: of the model.
    """

    spec = StageSpec(hops=0)
    scales: Tensor

    def __init__(self, config: NequIPConfig) -> None:
        super().__init__()
        self.out = nn.Linear(config.features.of(SCALAR), 1, bias=False, dtype=torch.float64)
        self.offsets = _offsets(config, 1)
        self.register_buffer("scales", torch.ones(len(config.species), dtype=torch.float64))

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (n, C) → ``energies`` (n,) in eV."""
        del blocks
        energies = self.out(state.atoms["features"])
        if self.offsets is not None:
            energies = energies + _chosen(self.offsets, state.atoms.get(HEAD))
        return State({"energies": energies.squeeze(1) * self.scales.index_select(0, state.atoms["rows"])}, {})


def _offsets(config: NequIPConfig, channels: int) -> nn.Parameter | None:
    """Of each head, (H, C); of a model without heads (1, C)."""
    if not config.biased:
        return None
    return nn.Parameter(torch.randn(max(1, len(config.heads)), channels, dtype=torch.float64))


def _offset(parts: Sequence[Tensor], place: int, offsets: Tensor | None, heads: Tensor | None) -> list[Tensor]:
    """Features of each irrep, of which one gets the offsets of the head of each atom."""
    moved = list(parts)
    if offsets is not None:
        moved[place] = moved[place] + _chosen(offsets, heads).unsqueeze(1)
    return moved


def _chosen(offsets: Tensor, heads: Tensor | None) -> Tensor:
    """Offsets (H, C) → of the head of each atom, (n, C), or of the only one, (1, C)."""
    return offsets if heads is None else offsets.index_select(0, heads)
