"""A backbone under test: evaluate it in every way."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import final

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from halocline.aggregation import Form
from halocline.evaluator.result import Result
from halocline.graph import Graph, NeighbourList, Structure
from halocline.model import Backbone
from halocline.model.condition import under_conditions
from halocline.model.pooled import POOLED_WEIGHTS
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.testing.evaluate import divide, sum_parts
from halocline.testing.structures import Samples


@final
class Subject:
    """A backbone and the means to look at it.

    Args:
        backbone: stays as it is.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._frozen: dict[tuple[Form, Precision], FrozenModel] = {}

    @cached_property
    def samples(self) -> Samples:
        """Structures to look at it with."""
        return Samples(self.backbone)

    @property
    def forms(self) -> list[Form]:
        """Forms that all of its stages declare."""
        return [form for form in Form if all(form in stage.spec.forms for _, stage in self.backbone.stages())]

    def potential(self) -> Potential:
        """The backbone as a potential without reference energies."""
        return Potential(self.backbone, dict.fromkeys(self.backbone.species, 0.0), {"name": "conformance"})

    def graph(self, atoms: Atoms) -> Graph:
        """The neighbour graph of a structure."""
        info = self.samples.states | atoms.info
        structure = under_conditions(Structure.from_atoms(atoms), self.backbone.conditions, info)
        if (head := self.backbone.pooled_head) is not None:  # any will do
            weights = np.linspace(-1.0, 1.0, head.channels)
            structure = structure.under(
                {**structure.conditions, POOLED_WEIGHTS: np.tile(weights, (len(atoms), 1))}
            )
        return NeighbourList(self.backbone.neighbours).graph(structure)

    def frozen(self, form: Form, precision: Precision = Precision.FLOAT64) -> FrozenModel:
        """The backbone frozen in a form and precision; the same object at every call."""
        key = (form, precision)
        if key not in self._frozen:
            self._frozen[key] = FrozenModel.freeze(self.backbone, precision, Capabilities.reference(form))
        return self._frozen[key]

    def evaluate(
        self,
        atoms: Atoms,
        *,
        form: Form | None = None,
        precision: Precision = Precision.FLOAT64,
        owners: NDArray[np.int64] | None = None,
    ) -> Result:
        """Energies, forces and virial.

        Args:
            atoms: N atoms.
            form: layout of edges; the first that it declares by default.
            precision: of the program.
            owners: (N,) the part of each atom, to sum over parts; whole by default.
        """
        form = form or self.forms[0]
        graph = self.graph(atoms)
        run = partial(energies_and_gradients, self.frozen(form, precision).backbone)
        parts = divide(graph, self.backbone.hops, owners)
        return self._balanced(atoms, sum_parts(run, graph, parts, form, precision, shapes=self.backbone.shapes))

    def _balanced(self, atoms: Atoms, result: Result) -> Result:
        """With direct forces as the head leaves them that sees those of all atoms."""
        head = self.backbone.pooled_head
        if head is None or self.backbone.derives_forces:
            return result
        positions, periodic = torch.from_numpy(atoms.positions), bool(atoms.pbc.any())
        forces = head.balanced(torch.from_numpy(result.forces), positions, periodic=periodic)
        return replace(result, forces=forces.numpy())
