"""Whence the reference energies of the elements come, in each of the ways that a recipe may ask for."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Final, final

import numpy as np
import torch

from halocline.data.frames import Frame, Frames
from halocline.data.labels import Labels
from halocline.errors import TrainingError, UsageError, within
from halocline.graph import Graph, NeighbourList, Structure
from halocline.model import Backbone
from halocline.model.condition import under_conditions
from halocline.program import Precision
from halocline.training.fit.objective import predict
from halocline.training.parent import Parent
from halocline.training.recipe.references import ReferenceSettings
from halocline.training.reference import composition, fit_reference_energies
from halocline.training.samples import Batch, Sample
from halocline.training.split import Split

#: eV, by which the energies of one isolated atom may differ among frames.
SAME_ENERGY: Final = 1e-3


@final
class ElementEnergies:
    """Finds the reference energies of a fit.

    Args:
        backbone: with the weights that the fit starts from.
        origin: the model that they are from, if they are from one.
        frames: all of them.
        labels: of the frames.
        graphs: of the frames that are fitted, by their number.
    """

    def __init__(
        self,
        backbone: Backbone,
        origin: Parent | None,
        frames: Frames,
        labels: Sequence[Labels],
        graphs: Mapping[int, Graph],
    ) -> None:
        self._backbone, self._origin = backbone, origin
        self._frames, self._labels, self._graphs = frames, labels, graphs

    def find(
        self, settings: ReferenceSettings, split: Split, elements: Sequence[str]
    ) -> tuple[dict[str, float], bool]:
        """Energy of each element that the model knows in eV, and whether the data determine all that they have.

        Args:
            settings: which way.
            split: says which frames are fitted, and which are of the level of theory of the parent.
            elements: of the frames that are fitted.

        Raises:
            UsageError: values are missing, or of elements that the model does not know; or there is no parent.
            TrainingError: there is no isolated atom of an element.
        """
        kind = settings.kind or ("fit" if self._origin is None else "shift")
        species = self._backbone.species
        labelled = [i for i in split.train if self._labels[i].energy is not None]
        match kind:
            case "fit":
                return fit_reference_energies(species, *self._data(labelled, {}))
            case "given":
                return self._given(settings.values, elements), True
            case "isolated":
                return self._isolated(split, elements), True
        if self._origin is None:
            raise UsageError(f"references.kind {kind!r} is of a parent, and model.from names none.")
        known = self._origin.potential.reference_energies
        new = [symbol for symbol in species if symbol not in known]
        moving = elements if kind == "shift" and labelled else new
        energies = {symbol: known.get(symbol, 0.0) for symbol in species}
        if not moving:
            return energies, True
        numbers, left = self._data(labelled, energies)
        errors = [each - self._of_network(i) for each, i in zip(left, labelled, strict=True)]
        shifts, determined = fit_reference_energies(moving, numbers, errors)
        return energies | {symbol: energies[symbol] + shift for symbol, shift in shifts.items()}, determined

    def _data(self, which: Sequence[int], energies: Mapping[str, float]) -> tuple[list[np.ndarray], list[float]]:
        """Atomic numbers and energies of frames, some reference energies taken out."""
        numbers = [self._frames.numbers(i) for i in which]
        labels = np.array([self._labels[i].energy for i in which], dtype=np.float64)
        if energies and len(labels):
            labels = labels - composition(list(energies), numbers) @ np.array(list(energies.values()))
        return numbers, labels.tolist()

    def _of_network(self, frame: int) -> float:
        """What the network says before the first step, eV."""
        sample = Sample(self._graphs[frame], self._labels[frame], 0.0)
        batch = Batch([sample], self._backbone.hops, Precision.FLOAT64, torch.device("cpu"))
        return float(predict(self._backbone, batch, forces=False).energies)

    def _given(self, values: Mapping[str, float], elements: Sequence[str]) -> dict[str, float]:
        species = self._backbone.species
        if strange := [symbol for symbol in values if symbol not in species]:
            raise UsageError(
                f"references.values has {', '.join(strange)}, but the model is made for {', '.join(species)}; "
                "leave them out."
            )
        if missing := self._missing(values, elements):
            raise UsageError(f"references.values lacks {', '.join(missing)}; add them.")
        return self._completed({symbol: float(value) for symbol, value in values.items()})

    def _isolated(self, split: Split, elements: Sequence[str]) -> dict[str, float]:
        found: dict[str, tuple[float, Frame]] = {}
        for symbol, energy, frame in self._single_atoms(split):
            first, where = found.setdefault(symbol, (energy, frame))
            if abs(energy - first) > SAME_ENERGY:
                raise TrainingError(
                    f"{where} and {frame} are isolated atoms of {symbol} with energies of {first:g} and "
                    f"{energy:g} eV; leave one of them, or give the energies in [references] values."
                )
        if missing := self._missing(found, elements):
            raise TrainingError(
                f"No frame is an isolated atom of {', '.join(missing)} with an energy, as references.kind "
                '"isolated" needs; add them, or give the energies with kind = "given".'
            )
        return self._completed({symbol: energy for symbol, (energy, _) in found.items()})

    def _missing(self, found: Container[str], elements: Sequence[str]) -> list[str]:
        """Elements without an energy that need one: all of the model, or with a parent those of the data."""
        needed = self._backbone.species if self._origin is None else elements
        return [symbol for symbol in needed if symbol not in found]

    def _completed(self, energies: Mapping[str, float]) -> dict[str, float]:
        """With what the parent has for other elements, in the order of the model's."""
        known = {} if self._origin is None else self._origin.potential.reference_energies
        return {symbol: (known | dict(energies))[symbol] for symbol in self._backbone.species}

    def _single_atoms(self, split: Split) -> Iterator[tuple[str, float, Frame]]:
        """Chemical symbol and energy of each frame of one atom that has no neighbours, not even its own images."""
        neighbours = NeighbourList(self._backbone.neighbours, skin=0.0)
        singles = [i for i in range(len(self._frames)) if len(self._frames.numbers(i)) == 1]
        for i in singles:
            frame, energy = self._frames[i], self._labels[i].energy
            if energy is None or split.replays(i):
                continue
            atoms = frame.atoms
            with within(str(frame)):
                structure = Structure.from_atoms(atoms)
                graph = neighbours.graph(under_conditions(structure, self._backbone.conditions, atoms.info))
            if not len(graph.edges):
                yield atoms.get_chemical_symbols()[0], energy, frame
