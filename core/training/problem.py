"""From a recipe to everything a fit needs: frames, labels, split, backbone, reference energies."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from ase.data import chemical_symbols

from halocline.data.chained import Chained
from halocline.data.frames import Frames, PackedFrames, say_unused
from halocline.data.labels import UNLABELLED, LabelCount, Labels, read_labels
from halocline.data.magnitudes import warn_of_magnitudes
from halocline.errors import BackboneError, HaloclineError, TrainingError, within
from halocline.graph import Contacts
from halocline.model import Backbone
from halocline.model.bounded import trainable
from halocline.model.build import build_backbone
from halocline.model.condition import taken_entries
from halocline.potential.potential import Potential
from halocline.training.distillation import Teacher, find_teacher
from halocline.training.element_energies import ElementEnergies
from halocline.training.files import frames_of, replayed_frames, unlabelled_frames
from halocline.training.fittable import require_stress, require_trainable
from halocline.training.graphs import Graphs
from halocline.training.parent import Parent, Replay, find_parent
from halocline.training.recipe import DataSettings, Recipe, ReplaySettings, TrainingSettings
from halocline.training.recipe.metric import label_of
from halocline.training.split import Split, draw_split, refuse_shared

if TYPE_CHECKING:
    from ase import Atoms

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A fit before its first step.

    Attributes:
        recipe: what was asked for.
        frames: of all files, F. Those of packed files, their labels and their graphs are made when asked for.
        labels: of the frames.
        counts: which labels were found under which keys.
        split: which frame serves which purpose.
        elements: chemical symbols that the training frames have, by atomic number.
        backbone: with its initial weights.
        graphs: of the frames that the split uses, by their number.
        reference_energies: chemical symbol → eV, found as the recipe asks.
        duplicates: groups of frames of the same structure that the split keeps together; none if it may not be in
            two sets anyway.
        references_determined: whether the data determine each of them.
        digest: SHA-256 of structures and labels, in order.
        origin: the model that the fit starts from.
        teacher: the model whose energies and forces are fitted, too.
    """

    recipe: Recipe
    frames: Frames
    labels: Sequence[Labels]
    counts: list[LabelCount]
    split: Split
    elements: list[str]
    backbone: Backbone
    graphs: Graphs
    reference_energies: dict[str, float]
    references_determined: bool
    duplicates: list[tuple[int, ...]]
    digest: str
    origin: Parent | None = None
    teacher: Teacher | None = None

    @property
    def parent(self) -> Potential | None:
        """The model that the fit starts from, neither pruned nor with new elements; None if from new weights."""
        return None if self.origin is None else self.origin.potential

    @property
    def parent_digest(self) -> str:
        """SHA-256 of the model that the fit starts from, and of files it was pruned by; empty if from none."""
        return "" if self.origin is None else " ".join([self.origin.digest, *self.origin.pruned_by.values()])

    @property
    def contacts(self) -> Contacts:
        """How near atoms come in the frames that weights are fitted to, and how many neighbours they have."""
        assert self.graphs.contacts is not None  # there are training frames
        return self.graphs.contacts

    @property
    def taught(self) -> tuple[int, ...]:
        """The frames that the teacher knows, of those that weights are fitted to; none without a teacher."""
        if self.teacher is None:
            return ()
        some = (*self.split.train, *self.split.unlabelled)
        return tuple(i for i in some if self.teacher.knows(self.frames.numbers(i)))

    @property
    def replay(self) -> Replay:
        """Which frames are replayed when."""
        settings = self.recipe.data.replay
        return Replay() if settings is None else Replay(settings.frames, len(self.split.replay))

    def reference(self, frame: int) -> float:
        """Sum of the reference energies of a frame's atoms, eV; of a replayed frame, those of the parent."""
        energies = self.reference_energies
        if self.parent is not None and self.split.replays(frame):
            energies = self.parent.reference_energies  # the level of theory may be another
        return sum(energies[chemical_symbols[z]] for z in self.frames.numbers(frame))


def prepare(recipe: Recipe, folder: Path) -> Problem:
    """Read the data and build the model.

    Args:
        recipe: what to do.
        folder: to which the paths of data files are relative.

    Raises:
        TrainingError: the data cannot be used.
        StructureError: a structure in them cannot be evaluated.
        UsageError: an unknown backbone, or what `find_parent` says.
        BackboneError: its config does not fit.
    """
    origin = find_parent(recipe.model, folder)
    frames, given = frames_of(recipe.data, folder)
    labels, counts = _read_labels(recipe, recipe.data, frames)
    warn_of_magnitudes(frames, labels)
    groups = _groups(recipe, origin, frames)
    split = given or _draw(recipe.data, len(frames), groups)
    teacher = None if recipe.distillation is None else find_teacher(recipe.distillation, origin, folder)
    if teacher is not None and (added := unlabelled_frames(recipe.data, folder)):
        _refuse_unknown(teacher, added)
        split = replace(split, unlabelled=tuple(range(len(frames), len(frames) + len(added))))
        frames, labels = Frames([*frames.parts, *added.parts]), Chained([labels, [UNLABELLED] * len(added)])
    if origin is not None and (replay := recipe.data.replay) is not None:
        replayed = replayed_frames(replay, folder, origin.potential.species)
        more, of_more = _read_labels(recipe, replay, replayed)
        split = replace(split, replay=tuple(range(len(frames), len(frames) + len(replayed))))
        frames, labels = Frames([*frames.parts, *replayed.parts]), Chained([labels, more])
        counts += [replace(count, label=f"{count.label} to replay") for count in of_more]
    species = _species(recipe, origin, frames, split)
    elements = _elements(frames, split.train)
    _refuse_absent(recipe.model.new_elements, elements)
    backbone = _build(recipe, species) if origin is None else origin.start
    require_trainable(backbone)
    if recipe.reads_stress:
        require_stress(backbone)
    say_unused(frames, taken_entries(backbone.conditions))
    graphs = Graphs(backbone, frames, sorted((*split.seen, *split.validation, *split.test)), split.seen)
    remedy = "" if given else 'Or set data.split.duplicates = "group", which draws all frames of one into one set.'
    refuse_shared(graphs.duplicates, split, frames, remedy)
    _refuse_unlabelled(recipe.training, labels, split)
    _refuse_unmeasured(recipe.training, labels, frames, split)
    energies = ElementEnergies(backbone, origin, frames, labels, graphs)
    references, determined = energies.find(recipe.references, split, elements)
    unlabelled = all(labels[i].energy is None for i in split.train)
    if teacher is not None and origin is None and unlabelled and recipe.references.kind is None:
        references, determined = {symbol: teacher.reference_energies.get(symbol, 0.0) for symbol in species}, True
    return Problem(
        recipe=recipe,
        frames=frames,
        labels=labels,
        counts=counts,
        split=split,
        elements=elements,
        backbone=backbone,
        graphs=graphs,
        reference_energies=references,
        references_determined=determined,
        duplicates=groups,
        digest=_digest(frames, labels, given),
        origin=origin,
        teacher=teacher,
    )


def _read_labels(
    recipe: Recipe, data: DataSettings | ReplaySettings, frames: Frames
) -> tuple[Sequence[Labels], list[LabelCount]]:
    """Those that are fitted or watched, under the keys that their table names."""
    fitted = recipe.training.fitted._asdict()
    keys = {"energy": data.energy_key, "forces": data.forces_key}
    if recipe.reads_stress:
        keys["stress"] = data.stress_key
    weighing = {label for label, weight in fitted.items() if weight > 0.0}
    if data is recipe.data:
        labels, counts = read_labels(frames, keys, weighing)
    else:  # what was fitted before need not have all that is fitted now
        named = {label for label in weighing if keys[label] is not None}
        labels, counts = read_labels(frames, keys, named, "data.replay")
        _tell_what_is_not_replayed(weighing, counts, len(frames))
    if recipe.reads_stress:
        _tell_of_molecules(frames, labels)
    return labels, counts


def _tell_what_is_not_replayed(weighing: Collection[str], counts: Sequence[LabelCount], frames: int) -> None:
    """Frames to replay may lack labels; they count for those that they carry.

    Raises:
        TrainingError: none of them carries a label that has weight.
    """
    there = {count.label for count in counts if count.frames}
    missing = [label for label in sorted(weighing) if label not in there]
    if missing and len(missing) == len(weighing):
        raise TrainingError(
            f"None of the {frames} frames of data.replay.files carries {' or '.join(missing)}, so nothing would "
            "be replayed; name the keys of their labels in [data.replay], or leave out that table."
        )
    for label in missing:
        logger.warning(
            "None of the %d frames to replay carries %s: nothing reminds the model of what its parent knew of it.",
            *(frames, label),
        )


def _tell_of_molecules(frames: Frames, labels: Sequence[Labels]) -> None:
    """Say which labels of a stress are not used; `Sample` leaves them out."""
    stressed = (i for i, each in enumerate(labels) if each.stress is not None)
    without = [i for i in stressed if not frames[i].atoms.pbc.all()]
    if without:
        logger.warning(
            "%d frames, the first of them %s, are not periodic in all three directions: they have no volume, and "
            "what they carry as a stress is not used.",
            len(without),
            frames[without[0]],
        )


def _groups(recipe: Recipe, origin: Parent | None, frames: Frames) -> list[tuple[int, ...]]:
    """Duplicates that the split is to keep together: as the model sees structures, if it knew all elements."""
    split = recipe.data.split
    if split is None or split.duplicates != "group":
        return []
    every = range(len(frames))
    if origin is None:
        backbone = _build(recipe, recipe.model.config.get("species") or _elements(frames, every))
    else:
        backbone = origin.start
    return Graphs(backbone, frames, every).duplicates


def _draw(data: DataSettings, frames: int, groups: Sequence[Sequence[int]]) -> Split:
    assert data.split is not None
    with within("data.split"):
        return draw_split(frames, data.split, groups)


def _build(recipe: Recipe, species: Sequence[str]) -> Backbone:
    name, config = recipe.model.backbone, {**recipe.model.config, "species": list(species)}
    assert name is not None
    with within("model"):
        try:
            return build_backbone(name, config, seed=recipe.training.seed, within=trainable(config))
        except HaloclineError:
            raise
        except Exception as error:  # whatever a stranger's constructor raises
            reason = " ".join(str(error).split()) or type(error).__name__
            raise BackboneError(f"The backbone {name!r} cannot be built from model.config: {reason}.") from error


def _refuse_unknown(teacher: Teacher, frames: Frames) -> None:
    """Nobody could say anything of a structure without labels that the teacher does not know."""
    for frame in frames:
        if not teacher.knows(frame.atoms.numbers):
            strange = sorted(set(frame.atoms.get_chemical_symbols()) - set(teacher.potential.species))
            raise TrainingError(
                f"{frame} of data.unlabelled_files contains {', '.join(strange)}, which the teacher "
                f"{teacher.name} does not know; leave it out."
            )


def _refuse_unlabelled(training: TrainingSettings, labels: Sequence[Labels], split: Split) -> None:
    """What weighs in the loss must be on a training frame."""
    for name, weight in training.fitted._asdict().items():
        if weight > 0.0 and not any(getattr(labels[i], name) is not None for i in split.train):
            raise TrainingError(
                f"None of the {len(split.train)} training frames carries {name}; choose another split, or set "
                f"training.{name}_weight to 0."
            )


def _refuse_unmeasured(training: TrainingSettings, labels: Sequence[Labels], frames: Frames, split: Split) -> None:
    """What steers the fit must be on a validation frame, a stress on one that has a volume."""

    def there(i: int, name: str) -> bool:
        found = getattr(labels[i], name) is not None
        return found and (name != "stress" or bool(frames[i].atoms.pbc.all()))

    weights = training.weights(training.epochs)._asdict()
    for key, metric in training.metrics.items():
        label = label_of(metric)
        # Without a label that weighs, the loss of validation would be zero in every epoch.
        wanted = [label] if label else [name for name, weight in weights.items() if weight > 0.0]
        if metric != "loss" and not any(there(i, name) for i in split.validation for name in wanted):
            what = f"carries {label or 'a label that has weight in the end'}"
            raise TrainingError(
                f"{key} is {metric!r}, but none of the {len(split.validation)} validation frames "
                f"{what if label or split.validation else 'is there'}; add some, or choose another metric."
            )


def _species(recipe: Recipe, origin: Parent | None, frames: Frames, split: Split) -> list[str]:
    """The model's elements: its parent's and new ones; else those of the recipe; else of the training frames."""
    given: Sequence[str] | None = recipe.model.config.get("species") if origin is None else origin.start.species
    species = given or _elements(frames, split.seen)
    key = "model.config.species" if origin is None else "model.new_elements"
    for i in sorted((*split.seen, *split.validation, *split.test)):
        strange = sorted({chemical_symbols[z] for z in set(frames.numbers(i).tolist())} - set(species))
        if strange:
            raise TrainingError(
                f"{frames[i]} contains {', '.join(strange)}, but the model is made for {', '.join(species)}: "
                f"{f'add to {key}' if given else 'no training frame contains it'}."
            )
    return list(species)


def _refuse_absent(new: Sequence[str], fitted: Sequence[str]) -> None:
    """What a new element weighs and gives would follow from nothing."""
    if absent := [symbol for symbol in new if symbol not in fitted]:
        raise TrainingError(
            f"model.new_elements names {', '.join(absent)}, but no training frame contains "
            f"{'it' if len(absent) == 1 else 'them'}; leave out what cannot be fitted."
        )


def _elements(frames: Frames, numbers: Iterable[int]) -> list[str]:
    return [chemical_symbols[z] for z in sorted({z for i in numbers for z in frames.numbers(i).tolist()})]


def _digest(frames: Frames, labels: Sequence[Labels], listed: Split | None) -> str:
    """SHA-256 of what the fit sees: structures, labels, and a split that does not follow from the recipe."""
    digest = hashlib.sha256()
    first = 0
    for part in frames.parts:
        if isinstance(part, PackedFrames):  # all of it is structures and labels
            digest.update(part.sha256.encode())
        else:
            for place, frame in enumerate(part):
                _take_in(digest, frame.atoms, labels[first + place])
        first += len(part)
    if listed is not None:
        digest.update(repr(listed).encode())
    return digest.hexdigest()


def _take_in(digest: Any, atoms: Atoms, label: Labels) -> None:
    """Let a digest depend on a structure and its labels."""
    structure = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    for array in (*structure, *(each for each in (label.forces, label.stress) if each is not None)):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr(label.energy).encode())
