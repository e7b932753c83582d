"""Switches of the whole process that would change numbers or break the recording of programs.

They are taken away while an evaluation runs, although other threads of the host may notice:

* leave to round products of float32 to TF32 or bfloat16, which on an H100 made errors of forces thirty times what
  float32 is allowed; others lose speed for the time of a call, and no digits;
* the detection of anomalies, which looks at values while programs are recorded;
* hooks on all modules that there are. Those on the modules of a backbone are part of it, and stay.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, final

import torch
from torch.nn.modules import module

from halocline.forks import lock

_HOOKS: Final[tuple[dict[int, Any], ...]] = (
    module._global_forward_pre_hooks,
    module._global_forward_hooks,
    module._global_backward_pre_hooks,
    module._global_backward_hooks,
)

# Looked up once: they are asked at every evaluation. torch's own names for the second take ten times as long.
_looks_for_anomalies: Final = torch.is_anomaly_enabled
_products_by: Final[Callable[[str, str], str]] = torch._C._get_fp32_precision_getter

#: Values of the switches of products that allow no rounding.
_EXACT: Final = frozenset(("none", "ieee"))


@final
class _NeutralProcess:
    """Switches of the whole process, neutral for all threads that ask for it.

    The first of them to come takes away what the host allows, and the last to go gives it back.
    """

    def __init__(self) -> None:
        self._lock = lock()
        self._holders: list[int] = []  # threads
        self._give_back: list[Callable[[], None]] = []
        os.register_at_fork(after_in_child=self._forget_other_threads)

    @property
    def needed(self) -> bool:
        """Whether one of them is set now, or is neutral only until another thread goes."""
        if self._holders or _looks_for_anomalies():
            return True
        before, forward, backward_before, backward = _HOOKS
        if before or forward or backward_before or backward:
            return True
        return _products_by("cuda", "matmul") not in _EXACT or _products_by("mkldnn", "matmul") not in _EXACT

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within this block all of them are neutral."""
        thread = threading.get_ident()
        with self._lock:
            if not self._holders:
                self._give_back = [_take_rounding(), _take_anomalies(), _take_hooks()]
            self._holders.append(thread)
        try:
            yield
        finally:
            with self._lock:
                self._holders.remove(thread)
                self._restore()

    def _forget_other_threads(self) -> None:
        """They are not there in a fork, and would never go."""
        self._holders = [thread for thread in self._holders if thread == threading.get_ident()]
        self._restore()

    def _restore(self) -> None:
        """Give back what was taken, unless somebody is left."""
        while self._give_back and not self._holders:
            self._give_back.pop()()


def _take_rounding() -> Callable[[], None]:
    general, allowed = _general(), _allowed()
    torch.set_float32_matmul_precision("highest")

    def give_back() -> None:
        if general is not None:
            torch.set_float32_matmul_precision(general)
        # What the one switch for both does not say.
        for products, before, now in zip(_products(), allowed, _allowed(), strict=True):
            if before != now:
                products.fp32_precision = before

    return give_back


def _take_anomalies() -> Callable[[], None]:
    enabled, looks_for_nan = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    torch.set_anomaly_enabled(False)
    return lambda: torch.set_anomaly_enabled(enabled, looks_for_nan)


def _take_hooks() -> Callable[[], None]:
    taken = [dict(hooks) for hooks in _HOOKS]
    for hooks in _HOOKS:
        hooks.clear()

    def give_back() -> None:
        for hooks, before in zip(_HOOKS, taken, strict=True):
            since = dict(hooks)
            hooks.clear()
            hooks.update(before | since)

    return give_back


def _products() -> tuple[Any, Any]:
    """Torch's switches of products on GPUs and on CPUs."""
    return torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


def _general() -> str | None:
    """Torch's older switch, for both; None where the newer ones contradict it, which torch calls an error."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def _allowed() -> tuple[str, str]:
    gpu, cpu = _products()
    return gpu.fp32_precision, cpu.fp32_precision


neutral_process: Final = _NeutralProcess()
