"""The host's side of the runner: a process that can die or hang without taking the host along."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from halocline.backends.ipu import runner
from halocline.errors import HaloclineError

#: Seconds for importing torch and the SDK and for loading the program.
START: Final = 300.0

#: Seconds for one call; the first one compiles.
CALL: Final = 3600.0

#: Seconds for ending by itself.
FAREWELL: Final = 2.0

#: Characters of what the runner printed that an error repeats.
_TAIL: Final = 600


class RunnerError(HaloclineError):
    """The process that runs an IPU program failed, died or hangs."""


@final
class RunnerProcess:
    """A program in a process of its own, until `close`, the end of this object or the end of Python.

    Args:
        program: its file, which is not needed any more once this returns.
        target: ``cpu``, ``ipu`` or ``ipu-model``.
        python: the interpreter.
        training: settings, see `runner.CpuTrainer`; by default the program is evaluated.
        seconds: for one call.

    Attributes:
        versions: of Python, torch and numpy in that process.
        inputs: names of what the program is given, in order.

    Raises:
        RunnerError: it does not start, or cannot load the program.
    """

    def __init__(
        self,
        program: Path,
        target: str,
        python: str,
        *,
        training: Mapping[str, Any] | None = None,
        seconds: float = CALL,
    ) -> None:
        self._seconds = seconds
        # A file, as a pipe that nobody reads would fill up and block.
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        command = [python, str(Path(runner.__file__)), str(program), "--target", target]
        try:
            self._process = subprocess.Popen(
                command if training is None else [*command, "--train", json.dumps(dict(training))],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._printed,
                env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
                start_new_session=True,  # Ctrl-C is for the host, which may want one more result
            )
        except OSError as error:
            self._printed.close()
            raise RunnerError(f"The IPU runner cannot be started with {python!r}: {error}.") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        self.close = weakref.finalize(self, _close, self._process, self._printed, os.getpid())
        ready = self._receive(time.monotonic() + START)[0]
        self.versions: dict[str, str] = ready["versions"]
        self.inputs = tuple(str(each["name"]) for each in ready["inputs"])

    @property
    def pid(self) -> int:
        """The number that the system has given to the runner's process."""
        return self._process.pid

    def call(self, arrays: Iterable[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the program.

        Raises:
            RunnerError: it refuses the arrays, fails, died or does not answer.
        """
        return self._request({"do": "call"}, arrays)[1]

    def step(self, arrays: Iterable[NDArray[Any]], rate: float, decay: float) -> list[NDArray[Any]]:
        """One step of training.

        Args:
            arrays: those of `runner.PackedLoss`, each with all packs of the step behind one another.
            rate: of learning.
            decay: of the average of the weights.

        Returns:
            The loss before the step, and on the CPU the norm of its gradient.

        Raises:
            RunnerError: as for `call`.
        """
        return self._request({"do": "step", "rate": rate, "decay": decay}, arrays)[1]

    def state(self) -> dict[str, NDArray[Any]]:
        """All that training changes: see `runner.CpuTrainer.state`, and `runner.IpuTrainer.state`.

        Raises:
            RunnerError: as for `call`.
        """
        reply, arrays = self._request({"do": "state"}, ())
        return dict(zip(reply["names"], arrays, strict=True))

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to a state, before the first step.

        Raises:
            RunnerError: as for `call`.
        """
        self._request({"do": "load", "names": list(state)}, state.values())

    def _request(
        self, header: dict[str, Any], arrays: Iterable[NDArray[Any]]
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        if not self.close.alive:
            raise RunnerError("The IPU runner has ended; prepare the program again.")
        deadline = time.monotonic() + self._seconds
        message = io.BytesIO()
        runner.write_message(message, header, (np.asarray(array, order="C") for array in arrays))
        self._send(memoryview(message.getbuffer()), deadline)
        reply, results = self._receive(deadline)
        if reply["reply"] == "failed":
            raise RunnerError(f"The IPU runner failed: {reply['error']}")
        return reply, results

    def _send(self, data: memoryview, deadline: float) -> None:
        try:
            while data:
                self._wait([], [self._requests], deadline)
                data = data[os.write(self._requests, data) :]
        except OSError as error:
            raise self._failure("ended") from error

    def _receive(self, deadline: float) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        def read(size: int) -> bytes:
            data = bytearray()
            while len(data) < size:
                self._wait([self._replies], [], deadline)
                part = os.read(self._replies, size - len(data))
                if not part:
                    break
                data += part
            return bytes(data)

        try:
            return runner.read_message(read)
        except (EOFError, OSError) as error:
            raise self._failure("ended") from error
        except (ValueError, KeyError) as error:
            raise self._failure(f"sent what is no reply ({error})") from error

    def _wait(self, read: list[int], write: list[int], deadline: float) -> None:
        ready = select.select(read, write, [], max(0.0, deadline - time.monotonic()))
        if not any(ready):
            raise self._failure("did not answer in time and was stopped")

    def _failure(self, what: str) -> RunnerError:
        """End the process, and tell what it printed last."""
        try:
            status: int | None = self._process.wait(1.0)  # one that dies closes its pipes a little earlier
        except subprocess.TimeoutExpired:
            status = None
        self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, self._printed.tell() - _TAIL))
        printed = self._printed.read().decode(errors="replace").strip()
        self.close()
        by = f" by {signal.Signals(-status).name}" if status is not None and status < 0 else ""
        return RunnerError(
            f"The IPU runner {what}{by}. " + (f"It printed: {printed}" if printed else "It printed nothing.")
        )


def _close(process: subprocess.Popen[bytes], printed: IO[bytes], owner: int) -> None:
    """Let the process end by itself, so that it gives its IPUs back; kill it if it does not."""
    if os.getpid() != owner:
        return  # a fork of the host, whose process this is not
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(FAREWELL)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    printed.close()
