"""The one context in which Halocline builds, lowers and evaluates, whatever the host program is doing.

Torch carries switches that change what its operations compute, and they reach into every call: inference mode and
``no_grad`` take derivatives away, autocast and hooks on saved tensors round, a default device moves tensors,
transforms and function modes do as they like. They belong to the thread of the host, and are put back as they
were, also after an error. What they leave behind in a tensor stays there, so tensors that were made in inference
mode are copied. Leave to round products of float32 to TF32 or bfloat16 belongs to the whole process, and yet is
taken away while an evaluation runs: on an H100 it made errors of forces thirty times what float32 is allowed.

Two other switches of the process are left alone, because other threads of the host rely on them:
the default dtype, which neither Halocline nor any stage reads, as the conformance suite checks; and the choice of
deterministic algorithms, which asks for no other numbers.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, ClassVar, Final, ParamSpec, TypeVar, final

import torch
from torch import Tensor
from torch.overrides import _pop_mode, _push_mode

P = ParamSpec("P")
R = TypeVar("R")

#: Kinds of device that programs run on, each of which has an autocast of its own.
_AUTOCAST = ("cpu", "cuda")


@final
class _ExactProducts:
    """Products of float32 matrices computed in float32, by all threads that ask for it.

    The first of them to come takes away what the host allows, and the last to go gives it back.
    """

    def __init__(self) -> None:
        self._lock, self._holders = threading.Lock(), 0
        self._general: str | None = None
        self._allowed = ("", "")

    @property
    def needed(self) -> bool:
        """Whether products may be rounded now, or are exact only until another thread goes."""
        # torch's own names for this take ten times as long, and it is asked at every evaluation.
        get = torch._C._get_fp32_precision_getter
        return bool(self._holders) or get("cuda", "matmul") not in _EXACT or get("mkldnn", "matmul") not in _EXACT

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within this block no product is rounded."""
        with self._lock:
            if not self._holders:
                self._general, self._allowed = _general(), _allowed()
                torch.set_float32_matmul_precision("highest")
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    if self._general is not None:
                        torch.set_float32_matmul_precision(self._general)
                    # What the one switch for both does not say.
                    for products, before, now in zip(_products(), self._allowed, _allowed(), strict=True):
                        if before != now:
                            products.fp32_precision = before


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


#: Values of those switches that allow no rounding.
_EXACT: Final = frozenset(("none", "ieee"))

_exact_products: Final = _ExactProducts()


@contextmanager
def evaluation_context() -> Iterator[None]:
    """Within this block, and in this thread, torch computes as it would in a program that has changed nothing.

    Entering it again is nearly free, and needed where the host gets a word in between.

    Example:
        >>> with torch.inference_mode(), evaluation_context():
        ...     torch.ones(1).is_inference()
        False
    """
    leaving = _ways_out()
    if not leaving:
        yield
        return
    with ExitStack() as stack:
        for way in leaving:
            stack.enter_context(way)
        yield


def in_evaluation_context(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function run in the evaluation context whoever calls it."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with evaluation_context():
            return function(*args, **kwargs)

    return wrapped


class InContext:
    """Base of interfaces: some methods of every subclass run in the evaluation context whoever calls them.

    Attributes:
        in_context: names of the methods.
    """

    in_context: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Wrap the methods that a subclass defines itself; those that it inherits are wrapped already."""
        super().__init_subclass__(**options)
        for name in cls.in_context:
            if name in vars(cls):
                setattr(cls, name, in_evaluation_context(vars(cls)[name]))


def usable(tensor: Tensor) -> Tensor:
    """The tensor, or a copy if it was made in inference mode: autograd takes no such tensor, here or elsewhere."""
    return tensor.clone() if tensor.is_inference() else tensor


def _ways_out() -> list[AbstractContextManager[Any]]:
    """How to leave each of the host's contexts that is in force; most often there is none."""
    ways: list[AbstractContextManager[Any]] = []
    if torch.is_inference_mode_enabled():
        ways.append(torch.inference_mode(False))
    if not torch.is_grad_enabled():
        ways.append(torch.enable_grad())
    ways += [torch.autocast(kind, enabled=False) for kind in _AUTOCAST if torch.is_autocast_enabled(kind)]
    if torch._C._len_torch_function_stack():  # a default device is a mode on this stack
        ways.append(_no_function_modes())
        if torch.get_default_device().type != "cpu":
            ways.append(torch.device("cpu"))
    if torch._C._functorch.peek_interpreter_stack() is not None:
        ways.append(_no_transforms())
    if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
        ways.append(_no_hooks())
    if _exact_products.needed:
        ways.append(_exact_products.held())
    return ways


@contextmanager
def _no_function_modes() -> Iterator[None]:
    modes = [_pop_mode() for _ in range(torch._C._len_torch_function_stack())]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for mode in reversed(modes):
            _push_mode(mode)  # type: ignore[no-untyped-call]


def _no_transforms() -> AbstractContextManager[Any]:
    """Step out of ``torch.func``'s transforms; whoever uses them has loaded this module."""
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

    return temporarily_clear_interpreter_stack()


@contextmanager
def _no_hooks() -> Iterator[None]:
    """Keep tensors for derivatives as they are."""
    hooks = []
    while (pair := torch._C._autograd._top_saved_tensors_default_hooks(True)) is not None:
        hooks.append(pair)
        torch._C._autograd._pop_saved_tensors_default_hooks()
    try:
        yield
    finally:
        for pack, unpack in reversed(hooks):
            torch._C._autograd._push_saved_tensors_default_hooks(pack, unpack)
