"""This end of a contender's process; `steps/serve.py` is the other."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self, final

from halocline.errors import HaloclineError
from peers.contender import Contender
from peers.models import STEPS

#: Seconds within which each answer must come: loading may compile.
LIMIT: Final = 900.0

#: Variables by which libraries are told how many threads to use.
THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

#: Whose turn is over must not keep a core busy while another's step is timed: threads wait passively.
PASSIVE: Final = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


class ContenderError(HaloclineError):
    """A contender cannot go on; says why."""


@final
class Worker:
    """A contender in a process of its own, with a model loaded.

    Args:
        contender: to be run.
        model: file that it loads.
        threads: that it may use.
        device: ``cpu`` or ``cuda``.

    Attributes:
        resident: bytes that it held when it had loaded its model.
        loading: seconds that this took, its imports left aside.
    """

    def __init__(self, contender: Contender, model: Path, threads: int, device: str) -> None:
        self.contender = contender
        self.resident, self.loading = 0, 0.0
        answers, theirs = os.pipe()
        asked = {"model": str(model), "threads": threads, "device": device, "options": dict(contender.options)}
        self._answers = os.fdopen(answers)
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__
        try:
            self._process = subprocess.Popen(
                [contender.python, str(STEPS / contender.script), json.dumps(asked | {"answers": theirs})],
                stdin=subprocess.PIPE,
                stdout=self._said,
                stderr=subprocess.STDOUT,
                text=True,
                env=self._environment(threads),
                pass_fds=(theirs,),
            )
        finally:
            os.close(theirs)

    def _environment(self, threads: int) -> dict[str, str]:
        inherited = dict(os.environ)
        if not self.contender.is_ours:  # whose modules are not those of a peer's environment
            inherited.pop("PYTHONPATH", None)
        return inherited | PASSIVE | dict.fromkeys(THREADS, str(threads)) | dict(self.contender.environment)

    def wait(self) -> None:
        """Until it has loaded its model.

        Raises:
            ContenderError: it could not.
        """
        answer = self._answer()
        self.resident, self.loading = answer["resident"], answer["loading"]

    def ask(self, **question: Any) -> dict[str, Any]:
        """Have it do something.

        Raises:
            ContenderError: it ended instead.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # there is no answer either
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        patience = threading.Timer(LIMIT, self._process.kill)
        patience.start()
        line = self._answers.readline()
        late = not patience.is_alive()
        patience.cancel()
        if late:
            raise ContenderError(f"It gave no answer within {LIMIT:g} s.")
        if not line.endswith("\n"):
            status = self._process.wait()
            self._said.seek(0)
            lines = [said for said in self._said.read().splitlines() if said.strip()] or ["it said nothing"]
            raise ContenderError(f"It left with status {status}: {lines[-1].strip()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        self._said.close()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # by what was not read any more
            self._process.stdin.close()
