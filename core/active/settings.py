"""The table ``[active]`` of a recipe: how frames are chosen from a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from halocline.errors import UsageError
from halocline.training.recipe.rules import is_name, require
from halocline.typed_table import settle_fields

#: What the score of a frame is made of: errors of the model, or how far the members of a committee are apart.
Criterion = Literal["errors", "spread"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveSettings:
    """How a training set grows.

    Attributes:
        pool_files: frames to choose from; by default those of ``data.files`` that the split uses for nothing.
        labelled: whether they have labels; if not, the loop stops in each iteration for those that it has chosen.
        iterations: in each of which a model is fitted and frames are chosen with it.
        examine: frames of the pool that are scored in an iteration, drawn at random.
        criterion: of which the score is made, ``errors`` or ``spread``.
        energy_weight: share of the energy in the score, between 0 and 1; the rest is that of the forces.
        atoms_per_molecule: by which energies are divided: 1 gives energies per atom, 3 per molecule of water.
        quantile: of the cutoff, see `halocline.active.score.cutoff_of`.
        cutoff: the least score of a frame that is added; by default from the scores of the validation frames.
        largest_fraction: of the examined frames that are added at most.
        members: models that are fitted in each iteration, with different seeds.
        later_epochs: of the iterations after the first, by default those of ``[training]``.
        end_epochs: of the fit to all that was chosen, by default those of ``[training]``.
        seed: of the draws.
    """

    pool_files: tuple[str, ...] = ()
    labelled: bool = True
    iterations: int
    examine: int
    criterion: Criterion = "errors"
    energy_weight: float = 0.05
    atoms_per_molecule: int = 1
    quantile: float = 0.15
    cutoff: float | None = None
    largest_fraction: float = 1.0
    members: int = 1
    later_epochs: int | None = None
    end_epochs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        settle_fields(self, "active")
        for i, file in enumerate(self.pool_files):
            require(is_name(file), f"active.pool_files[{i}]", "the path of a file", file)
        for name in ("iterations", "examine", "atoms_per_molecule", "members", "later_epochs", "end_epochs"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"active.{name}", "at least 1", value)
        require(self.seed >= 0, "active.seed", "at least 0", self.seed)
        require(0.0 <= self.energy_weight <= 1.0, "active.energy_weight", "between 0 and 1", self.energy_weight)
        for name in ("quantile", "largest_fraction"):
            value = getattr(self, name)
            require(0.0 < value <= 1.0, f"active.{name}", "above 0 and at most 1", value)
        least = self.cutoff
        require(least is None or 0.0 <= least < float("inf"), "active.cutoff", "finite and at least 0", least)
        if self.criterion == "spread" and self.members < 2:
            raise UsageError('active.criterion = "spread" needs a committee: let active.members be at least 2.')
        if self.criterion == "errors" and not self.labelled:
            raise UsageError(
                "Without labels there are no errors to choose by: with active.labelled = false, set "
                'active.criterion = "spread" and let active.members be at least 2.'
            )
