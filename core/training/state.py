"""The state of a run between two epochs: safetensors, with everything else as JSON in its header."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import safetensors
import safetensors.torch
from torch import Tensor

from halocline.digests import tensors_digest
from halocline.errors import TrainingError
from halocline.files import newest, previous_path, write_keeping_previous

FORMAT = "halocline-training"
FORMAT_VERSION = 2
#: In the folder of a run.
STATE_FILE = "state.safetensors"


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingState:
    """What the next epoch depends on. The order of data follows from seed and epoch, so there is no random state.

    Attributes:
        epoch: epochs done.
        tensors: weights, averaged weights, those of the best epoch if it is kept, and Adam's moments, by name.
        recipe: of the run, as JSON values.
        data: SHA-256 of structures and labels.
        threads: of torch, on which the last bits of sums depend.
        history: one record for each epoch done.
        ranks: among which the steps were shared; the last bits depend on them, too.
        parent: SHA-256 of the model that the run started from; empty if from new weights.
        teacher: SHA-256 of the model that it learns from; empty without one.
    """

    epoch: int
    tensors: dict[str, Tensor]
    recipe: dict[str, Any]
    data: str
    threads: int
    history: list[dict[str, Any]]
    ranks: int = 1
    parent: str = ""
    teacher: str = ""


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with a prefix, under what follows it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save_state(path: Path, state: TrainingState) -> None:
    """Write the state atomically; the one before it is kept, see `halocline.files`.

    Raises:
        TrainingError: the disk is full or the folder cannot be written. The old state is intact.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    facts = {
        "epoch": state.epoch,
        "recipe": state.recipe,
        "data": state.data,
        "threads": state.threads,
        "history": state.history,
        "ranks": state.ranks,
        "parent": state.parent,
        "teacher": state.teacher,
    }
    text = json.dumps(facts, sort_keys=True)
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "facts": text,
        "sha256": tensors_digest(tensors.items(), text),
    }
    try:
        write_keeping_previous(path, safetensors.torch.save(tensors, metadata))
    except OSError as error:
        raise TrainingError(
            f"Cannot write {path}: {error.strerror or error}. The state before it is kept."
        ) from error


def load_state(path: Path) -> TrainingState:
    """Read a state, or the one before if the newest is missing, as after a crash between two renames.

    Raises:
        TrainingError: there is none, it is damaged, or it has another version.
    """
    found = newest(path)
    if found is None:
        raise TrainingError(
            f"There is no training state {path} to resume from; leave out --resume to start a run."
        )
    return _read(found)


def _read(path: Path) -> TrainingState:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise TrainingError(f"{path} is no training state of Halocline.")
        if metadata.get("format_version") != str(FORMAT_VERSION):
            raise TrainingError(
                f"The training state {path} has format version {metadata.get('format_version')}, this release "
                f"reads {FORMAT_VERSION}; resume with the release that wrote it."
            )
        if metadata.get("sha256") != tensors_digest(tensors.items(), metadata["facts"]):
            raise ValueError("its checksum does not match")
        return TrainingState(tensors=tensors, **json.loads(metadata["facts"]))
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise TrainingError(
            f"The training state {path} is damaged ({error}). Move {previous_path(path).name} to its place to "
            "resume from the epoch before."
        ) from error
