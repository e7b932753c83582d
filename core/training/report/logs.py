"""Numbers of epochs for TensorBoard and for Weights & Biases, imported only where a recipe asks for them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from halocline.errors import TrainingError, UsageError
from halocline.files import write_atomically

if TYPE_CHECKING:
    from halocline.training.recipe import Recipe

#: In the folder of a run: events of TensorBoard, and by which name Weights & Biases knows the run.
TENSORBOARD_FOLDER: Final = "tensorboard"
WANDB_FILE: Final = "wandb_run.txt"


class Log(Protocol):
    """Takes the numbers of epochs."""

    def record(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Take those of one epoch, counted from 1, by the names of the columns of ``metrics.csv``."""


@contextmanager
def logs(recipe: Recipe, folder: Path, done: int) -> Iterator[list[Log]]:
    """Open what a recipe asks for, and close it at the end of the block, however it ends.

    Args:
        recipe: with the table ``[log]``.
        folder: of the run, which exists.
        done: epochs that the run has behind it; what was told of later ones counts no more.

    Raises:
        UsageError: a package is not installed.
        TrainingError: Weights & Biases cannot begin.
    """
    with ExitStack() as stack:
        opened: list[Log] = []
        if recipe.log.tensorboard:
            opened.append(stack.enter_context(_tensorboard(folder, done)))
        if recipe.log.wandb is not None:
            opened.append(stack.enter_context(_wandb(recipe, folder, resumed=done > 0)))
        yield opened


@contextmanager
def _tensorboard(folder: Path, done: int) -> Iterator[Log]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise UsageError(
            "log.tensorboard needs TensorBoard: pip install halocline[log], or leave it out of the recipe."
        ) from error
    writer = SummaryWriter(str(folder / TENSORBOARD_FOLDER), purge_step=done + 1 if done else None)
    try:
        yield _TensorBoard(writer)
    finally:
        writer.close()


@final
class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def record(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """See `Log.record`."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()


@contextmanager
def _wandb(recipe: Recipe, folder: Path, *, resumed: bool) -> Iterator[Log]:
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise UsageError(
            "log.wandb needs Weights & Biases: pip install wandb, or leave it out of the recipe."
        ) from error
    name = _wandb_name(folder, resumed=resumed)
    try:
        run = wandb.init(
            project=recipe.log.wandb, id=name, resume="allow", config=recipe.as_table(), dir=str(folder)
        )
    except wandb.errors.Error as error:
        raise TrainingError(
            f"Weights & Biases cannot begin: {' '.join(str(error).split())} Log in with wandb login, set "
            "WANDB_MODE=offline, or leave log.wandb out of the recipe."
        ) from error
    with run:  # which tells how the block ended
        yield _Wandb(run)


@final
class _Wandb:
    def __init__(self, run: Any) -> None:
        self._run = run

    def record(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """See `Log.record`."""
        self._run.log(dict(numbers), step=epoch)


def _wandb_name(folder: Path, *, resumed: bool) -> str:
    """By which a run is known there: the same after it was resumed, and another for each that begins."""
    path = folder / WANDB_FILE
    if resumed and path.exists():
        return path.read_text(encoding="utf-8").strip()
    name = secrets.token_hex(8)
    write_atomically(path, name.encode())
    return name
