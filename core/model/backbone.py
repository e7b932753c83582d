"""The backbone interface: a message-passing potential, split at its stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from math import isfinite, pi
from typing import Any, ClassVar, Self

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from torch import Tensor, nn

from halocline.errors import BackboneError
from halocline.graph.rules import Nearest, NeighbourRule, single_rules, together
from halocline.model.channels import Channels
from halocline.model.condition import Condition
from halocline.model.pooled import PooledHead
from halocline.model.stage import Stage


class Output(StrEnum):
    """What a readout can return, under this name in ``State.atoms``; those of several readouts are added up.

    Energies are there always, and forces and stress follow by differentiation; a model with a pooled vector may
    leave them to `Backbone.pooled_head`. A model with forces of its own is
    not differentiated: its forces are no gradient, and it has a stress only if it returns virials, too.
    """

    ENERGIES = "energies"
    FORCES = "forces"
    VIRIALS = "virials"
    MAGMOMS = "magmoms"
    CHARGES = "charges"
    POOLED = "pooled"

    @property
    def unit(self) -> str:
        """Unit of the values."""
        return _MEANINGS[self][0]

    @property
    def meaning(self) -> str:
        """A few words that say what the values are, for listings and manifests."""
        return _MEANINGS[self][1]


_MEANINGS: dict[Output, tuple[str, str]] = {
    Output.ENERGIES: ("eV", "energy of each atom, without reference energies"),
    Output.FORCES: ("eV/Å", "force on each atom, which is no gradient of the energy"),
    Output.VIRIALS: ("eV", "what each atom adds to the virial, which is no gradient of the energy"),
    Output.MAGMOMS: ("μB", "magnetic moment of each atom"),
    Output.CHARGES: ("e", "charge of each atom"),
    Output.POOLED: ("", "vector of each atom, of which an energy follows once it is added up over all atoms"),
}


class Backbone(nn.Module, ABC):
    """A machine-learned potential as a sequence of stages: embed, layers, readouts.

    Readouts give energies per atom, which are added up: a model with one readout has it after its last layer, a
    model with one readout for each layer has all of them. What else it declares each of them may give, or not.

    Subclasses are final. They build their modules in float64 from ``config`` alone, read no global state and
    are cast from outside.

    Attributes:
        name: the name under which the backbone is registered and saved.
        invariant: whether energies stay, and forces turn, when a structure is turned or mirrored, by construction.
        config: everything needed to build it again, as plain JSON values.
        species: chemical symbols it knows.
        embed: turns ``species`` into the first state.
        layers: message passing; pruning cuts here.
        readouts: number of layers done → the readout that sees the state then.
        outputs: what the readouts return, energies first.
        conditions: what it is told of a structure beside atoms and cell; nothing by default.
        numbered_weights: names of the weights that have a row for each atomic number. Those with a row for each
            species, in their order, need not be named.
    """

    name: ClassVar[str]

    invariant: bool = True
    outputs: tuple[Output, ...] = (Output.ENERGIES,)
    conditions: tuple[Condition, ...] = ()
    numbered_weights: tuple[str, ...] = ()

    config: dict[str, Any]
    species: tuple[str, ...]
    embed: Stage
    layers: nn.ModuleList

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build the backbone with fresh weights.

        Raises:
            BackboneError: the config has unknown, missing or impossible values.
        """

    @classmethod
    @abstractmethod
    def example_config(cls) -> dict[str, Any]:
        """A small config, as plain JSON values, that the conformance suite builds.

        Two species and few channels keep the suite quick; two layers or more let it prune.
        """

    @property
    @abstractmethod
    def readouts(self) -> dict[int, Stage]:
        """Readouts by the number of layers that precede them."""

    @abstractmethod
    def pruned_config(self, layers: int) -> dict[str, Any]:
        """The config of this model with only its first ``layers`` layers and the readouts that belong to them."""

    def pruned_weights(self, layers: int) -> dict[str, Tensor]:
        """The weights, by name, that the pruned model takes over. The default drops the later layers."""
        dropped = tuple(f"layers.{i}." for i in range(layers, len(self.layers)))
        return {name: t for name, t in self.state_dict().items() if not name.startswith(dropped)}

    def widened_config(self, elements: Sequence[str]) -> dict[str, Any]:
        """The config of this model with more elements, after those that it has; see `halocline.model.widening`."""
        return self.config | {"species": [*self.species, *elements]}

    def one_head_config(self, head: str) -> dict[str, Any]:
        """The config of this model with one of its heads, and none to choose from.

        Raises:
            BackboneError: the backbone does not say how its heads are separated.
        """
        raise BackboneError(
            f"The backbone {self.name!r} does not say how {head!r} is separated from its other heads; "
            "it needs one_head_config and one_head_weights."
        )

    def one_head_weights(self, head: str) -> dict[str, Tensor]:
        """The weights, by name, that the model with one of its heads takes over. The default takes all."""
        del head
        return self.state_dict()

    def energies_only_config(self) -> dict[str, Any]:
        """The config of this model without what it says of atoms beside their energies, as moments and charges.

        Raises:
            BackboneError: the backbone does not say how that is left out.
        """
        more = " and ".join(output for output in self.outputs if output is not Output.ENERGIES)
        raise BackboneError(
            f"The backbone {self.name!r} does not say how {more} are left out; it needs energies_only_config and "
            "energies_only_weights."
        )

    def energies_only_weights(self) -> dict[str, Tensor]:
        """The weights, by name, that the model without them takes over. The default takes all."""
        return self.state_dict()

    def energies_of_atoms_config(self) -> dict[str, Any]:
        """The config of this model with an energy of each atom, in the place of one of the whole structure.

        Raises:
            BackboneError: the backbone does not say how that is made.
        """
        raise BackboneError(
            f"The backbone {self.name!r} does not say how its energy becomes one of atoms; it needs "
            "energies_of_atoms_config and energies_of_atoms_weights."
        )

    def energies_of_atoms_weights(self) -> dict[str, Tensor]:
        """The weights, by name, that such a model starts from. The default takes all."""
        return self.state_dict()

    @property
    def channels(self) -> tuple[Channels, ...]:
        """The channels of each vector inside the network, by the weights that write and read them."""
        return ()

    @classmethod
    def renewed_weights(cls, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a checkpoint under the names of today, where those of older versions were others."""
        return dict(weights)

    def stages(self) -> Iterator[tuple[str, Stage]]:
        """All stages with their names, in the order in which they run."""
        yield "embed", self.embed
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Stage)
            yield f"layers.{i}", layer
        for depth, readout in self.readouts.items():
            yield f"readouts.{depth}", readout

    @property
    def pooled_head(self) -> PooledHead | None:
        """The head that makes an energy of the sum of ``pooled`` vectors; there if the backbone declares those."""
        return None

    @property
    def head_energies(self) -> Mapping[str, Mapping[str, float]]:
        """What the reference energies of each head have beyond the model's: head → chemical symbol → eV.

        Heads that were trained on other methods differ by thousands of eV there, which single precision must not
        carry: like all reference energies these are added in float64. Empty where heads share them.
        """
        return {}

    @property
    def shapes(self) -> dict[Output, tuple[int, ...]]:
        """Output → shape of its values for one atom, () for numbers; of all outputs, in their order."""
        head = self.pooled_head
        sizes = {
            Output.FORCES: (3,),
            Output.VIRIALS: (3, 3),
            Output.POOLED: (0 if head is None else head.channels,),
        }
        return {output: sizes.get(output, ()) for output in self.outputs}

    @property
    def derives_forces(self) -> bool:
        """Whether its forces are derivatives of its energy."""
        return Output.FORCES not in self.outputs

    @property
    def derives_stress(self) -> bool:
        """Whether its stress is a derivative of its energy."""
        return self.derives_forces and Output.VIRIALS not in self.outputs

    @property
    def rank_remark(self) -> str:
        """A sentence for cards where neighbours are the nearest ones and energies jump with them; else empty.

        Models that weight neighbours by smooth ranks say something else.
        """
        nearest = [rule for rule in single_rules(self.neighbours) if isinstance(rule, Nearest)]
        if not nearest:
            return ""
        rule = nearest[0]
        remark = (
            f"Neighbours are the {rule.count} nearest: where two change places, energies and forces jump, "
            "unless both have faded out at the cutoff."
        )
        if not isfinite(rule.cutoff):
            return remark
        density = rule.count / (4.0 / 3.0 * pi * rule.cutoff**3)
        return f"{remark} On average, fewer are within it where there are less than {density:.2g} atoms/Å³."

    @property
    def exchange_refusal(self) -> str:
        """Why its state cannot be exchanged between ranks, as one sentence; empty where it can.

        Ranks send values of atoms. A stage that reads values of edges which end at other atoms needs more.
        """
        for name, stage in self.stages():
            if stage.spec.edge_state:
                return (
                    f"Stage {name!r} of {self.name!r} reads {', '.join(stage.spec.edge_state)} of edges "
                    "that end at other atoms, and only values of atoms are exchanged; choose halo=recompute."
                )
        return ""

    @property
    def hops(self) -> int:
        """Hops that the energy of one atom depends on: the receptive field."""
        readouts, reach, deepest = self.readouts, 0, 0
        for depth, stage in enumerate((self.embed, *self.layers)):
            assert isinstance(stage, Stage)
            reach += stage.spec.hops
            if depth in readouts:
                deepest = max(deepest, reach + readouts[depth].spec.hops)
        return deepest

    @property
    def neighbours(self) -> NeighbourRule:
        """The rule of all stages together; single rules and index sets are in the order in which stages name them.

        Raises:
            BackboneError: no stage has neighbours.
        """
        specs = [stage.spec for _, stage in self.stages()]
        rules = [rule for spec in specs for rule in single_rules(spec.neighbours)]
        if not rules:
            raise BackboneError(f"No stage of {self.name!r} declares neighbours.")
        return together(rules, [index_set for spec in specs for index_set in spec.index_sets])


def reference_table(
    shared: Mapping[str, float], of_heads: Mapping[str, Mapping[str, float]]
) -> NDArray[np.float64]:
    """Reference energies in eV by head and atomic number; NaN where the model does not know the element.

    Args:
        shared: chemical symbol → eV, of the model.
        of_heads: what those of each head have beyond them, as `Backbone.head_energies` gives it.

    Returns:
        (H, 119), the heads in their order; one row where they share the model's or there are none.
    """
    rows = list(of_heads.values()) or [dict.fromkeys(shared, 0.0)]
    table = np.full((len(rows), len(atomic_numbers)), np.nan)
    for row, more in zip(table, rows, strict=True):
        row[[atomic_numbers[symbol] for symbol in shared]] = [
            energy + more[symbol] for symbol, energy in shared.items()
        ]
    return table
