"""The table ``[data.replay]``: frames that the parent was fitted to, against forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from halocline.training.recipe.rules import is_name, require
from halocline.typed_table import settle_fields


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """Labelled structures of the parent's kind, of which every epoch sees some beside the training frames.

    Attributes:
        files: in eV and Å, unless their format says otherwise.
        frames: how many of theirs each epoch sees: others every time, until all have been seen.
        energy_key: name of the energy, as in ``[data]``.
        forces_key: name of the forces, as in ``[data]``.
        stress_key: name of the stress, as in ``[data]``.
    """

    files: tuple[str, ...]
    frames: int
    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None

    def __post_init__(self) -> None:
        settle_fields(self, "data.replay")
        require(bool(self.files), "data.replay.files", "a list of one file or more", list(self.files))
        for i, file in enumerate(self.files):
            require(is_name(file), f"data.replay.files[{i}]", "the path of a file", file)
        require(self.frames >= 1, "data.replay.frames", "at least 1", self.frames)
        for name in ("energy_key", "forces_key", "stress_key"):
            key = getattr(self, name)
            require(key is None or is_name(key), f"data.replay.{name}", "the name of a label", key)
