"""The one context in which Halocline builds, lowers and evaluates, whatever the host program is doing.

Torch carries switches that change what its operations compute, and they reach into every call: inference mode and
``no_grad`` take derivatives away, autocast and hooks on saved tensors round, a default device moves tensors,
transforms, tracers and modes do as they like. They belong to the thread of the host, and are put back as they
were, also after an error. What they leave behind in a tensor stays there, so tensors that were made in inference
mode are copied. Those of the whole process that change numbers are taken away as well: see `neutral_process`.

Two other switches of the process are left alone, because other threads of the host rely on them:
the default dtype, which neither Halocline nor any stage reads, as the conformance suite checks; and the choice of
deterministic algorithms, which asks for no other numbers.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, ClassVar, Final, ParamSpec, TypeVar

import torch
from torch import Tensor, fx, nn
from torch._C._dynamo import eval_frame as _compiler
from torch.overrides import _pop_mode, _push_mode
from torch.utils._python_dispatch import _disable_current_modes

from halocline import forks
from halocline.errors import UsageError
from halocline.neutral_process import neutral_process

P = ParamSpec("P")
R = TypeVar("R")

#: Kinds of device that programs run on, each of which has an autocast of its own.
_AUTOCAST = ("cpu", "cuda")


#: How modules are called while nothing traces them.
_CALL: Final = nn.Module.__call__


class _Thread(threading.local):
    """Of each thread: whether it is in the evaluation context. Modes that it meets there are our own."""

    nested = False


_thread: Final = _Thread()

#: Neither a function nor what it calls is compiled.
_UNCOMPILED: Final = _compiler._FrameExecStrategy(_compiler._FrameAction.SKIP, _compiler._FrameAction.SKIP)


# Looked up once: they are asked at every evaluation.
_dispatch_modes: Final[Callable[[], int]] = torch._C._len_torch_dispatch_stack
_function_modes: Final[Callable[[], int]] = torch._C._len_torch_function_stack
_tracing_state: Final[Callable[[], object]] = torch._C._get_tracing_state
_is_inference: Final = torch.is_inference_mode_enabled
_has_gradients: Final = torch.is_grad_enabled
_rounds: Final[Callable[[str], bool]] = torch.is_autocast_enabled
_transforms: Final[Callable[[], object]] = torch._C._functorch.peek_interpreter_stack
_hooks: Final[Callable[[bool], Any]] = torch._C._autograd._top_saved_tensors_default_hooks


@contextmanager
def evaluation_context() -> Iterator[None]:
    """Within this block, and in this thread, torch computes as it would in a program that has changed nothing.

    Entering it again is nearly free, and needed where the host gets a word in between.

    Raises:
        UsageError: the host is in a symbolic trace of torch.fx, in which nothing can be evaluated.

    Example:
        >>> with torch.inference_mode(), evaluation_context():
        ...     torch.ones(1).is_inference()
        False
    """
    nested = _thread.nested
    leaving = _ways_out(nested)
    _thread.nested = True
    try:
        if not leaving:
            yield
            return
        with ExitStack() as stack:
            for way in leaving:
                stack.enter_context(way)
            yield
    finally:
        _thread.nested = nested


def in_evaluation_context(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function run in the evaluation context whoever calls it."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        nested = _thread.nested
        if _ways_out(nested):
            with evaluation_context():
                return function(*args, **kwargs)
        if nested:
            return function(*args, **kwargs)
        _thread.nested = True  # most often there is nothing else to do, which takes no generator
        try:
            return function(*args, **kwargs)
        finally:
            _thread.nested = False

    # torch.compile leaves the function to Python, with all that it calls, rather than compile the host's
    # evaluations into its own graph. Its decorator for this would import the compiler, for seconds.
    wrapped._torchdynamo_disable = True  # type: ignore[attr-defined]
    _compiler.set_code_exec_strategy(wrapped.__code__, _UNCOMPILED)  # type: ignore[attr-defined]
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


def _ways_out(nested: bool) -> list[AbstractContextManager[Any]]:
    """How to leave each of the host's contexts that is in force; most often there is none.

    Args:
        nested: the evaluation context was entered before, so that modes and tracers may be our own.
    """
    ways: list[AbstractContextManager[Any]] = []
    if not nested:
        if nn.Module.__call__ is not _CALL:
            _refuse_symbolic_tracing()
        if _dispatch_modes():
            ways.append(_disable_current_modes())
    if _tracing_state() is not None:
        ways.append(_no_tracing())
    if _is_inference():
        ways.append(torch.inference_mode(False))
    if not _has_gradients():
        ways.append(torch.enable_grad())
    for kind in _AUTOCAST:
        if _rounds(kind):
            ways.append(torch.autocast(kind, enabled=False))
    if _function_modes():  # a default device is a mode on this stack
        ways.append(_no_function_modes())
        if torch.get_default_device().type != "cpu":
            ways.append(torch.device("cpu"))
    if _transforms() is not None:
        ways.append(_no_transforms())
    if _hooks(True) is not None:
        ways.append(_no_hooks())
    if forks.forked and torch.get_num_threads() > 1:
        ways.append(_one_thread())
    if neutral_process.needed:
        ways.append(neutral_process.held())
    return ways


@contextmanager
def _no_function_modes() -> Iterator[None]:
    modes = [_pop_mode() for _ in range(torch._C._len_torch_function_stack())]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for mode in reversed(modes):
            _push_mode(mode)  # type: ignore[no-untyped-call]


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenMP's threads are not in a fork, and whoever gives them work waits for ever."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _refuse_symbolic_tracing() -> None:
    """``torch.fx`` replaces the call of every module in the process, and would make a node of each of ours.

    Somebody has replaced it.

    Raises:
        UsageError: it was a tracer.
    """
    call: Any = nn.Module.__call__
    from torch.fx.experimental.proxy_tensor import PythonKeyTracer

    tracers = [cell.cell_contents for cell in call.__closure__ or () if isinstance(cell.cell_contents, fx.Tracer)]
    if any(not isinstance(tracer, PythonKeyTracer) for tracer in tracers):  # which only listens to operations
        raise UsageError(
            "A model cannot be evaluated while torch.fx traces modules symbolically; evaluate it before, and let "
            "the traced module use the result."
        )


@contextmanager
def _no_tracing() -> Iterator[None]:
    """Step out of ``torch.jit.trace``."""
    state = torch._C._get_tracing_state()
    leave: Callable[[object], None] = torch._C._set_tracing_state  # type: ignore[attr-defined]
    leave(None)
    try:
        yield
    finally:
        leave(state)


def _no_transforms() -> AbstractContextManager[Any]:
    """Step out of ``torch.func``'s transforms; whoever uses them has loaded this module."""
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

    return temporarily_clear_interpreter_stack()


@contextmanager
def _no_hooks() -> Iterator[None]:
    """Keep tensors for derivatives as they are."""
    hooks = []
    while (pair := _hooks(True)) is not None:
        hooks.append(pair)
        torch._C._autograd._pop_saved_tensors_default_hooks()
    try:
        yield
    finally:
        for pack, unpack in reversed(hooks):
            torch._C._autograd._push_saved_tensors_default_hooks(pack, unpack)
