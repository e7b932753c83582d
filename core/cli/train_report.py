"""What ``halocline train`` shows beside its lines: a bar, logs, and figures at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from halocline.cli.output import progress, say

if TYPE_CHECKING:
    from halocline.evaluation.accuracy import Accuracy
    from halocline.training.run import EpochRecord, TrainingRun


@contextmanager
def watched(
    run: TrainingRun, line: Callable[[EpochRecord], None]
) -> Iterator[tuple[Callable[[EpochRecord], None], Callable[[], None]]]:
    """Show a run on a bar while the block lasts, if standard error is a terminal, and open the logs of its recipe.

    Args:
        run: whose epochs are to come.
        line: says what is known of an epoch.

    Yields:
        What to call after every epoch, and what to call at every step.

    Raises:
        HaloclineError: a log cannot be opened.
    """
    from halocline.training.report import logs

    recipe, done = run.problem.recipe, len(run.history)
    steps = run.trainer.steps_before(recipe.training.epochs) - run.trainer.steps_before(done)
    with logs(recipe, run.folder, done) as opened, progress(steps, "training") as advance:

        def report(record: EpochRecord) -> None:
            line(record)
            numbers = {
                name: value for name, value in asdict(record).items() if name != "epoch" and value is not None
            }
            for log in opened:
                log.record(record.epoch, numbers)

        yield report, advance


def draw(run: TrainingRun, accuracy: Accuracy) -> None:
    """Write the figures of a run that is over, unless its recipe wants none.

    Args:
        run: after its last epoch.
        accuracy: of the model on the test frames; of none, there is no figure of it.

    Raises:
        HaloclineError: a figure cannot be written.
    """
    from halocline.evaluation.plot import plot_parity
    from halocline.training.folder import CURVES_FILE, PARITY_FILE
    from halocline.training.report.plot import plot_learning_curves

    recipe = run.problem.recipe
    if not recipe.log.plots:
        return
    name = str(recipe.card.get("name", run.folder.name))
    plot_learning_curves(run.history, run.folder / CURVES_FILE, title=name)
    written = [CURVES_FILE]
    if accuracy.frames:
        plot_parity(accuracy, run.folder / PARITY_FILE, title=f"{name}: {accuracy.frames} test frames")
        written.append(PARITY_FILE)
    say(f"Drew {' and '.join(str(run.folder / each) for each in written)}.")
