"""The settings of a process that importing a plugin must leave alone."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True, slots=True)
class Switch:
    """One process-wide setting.

    Attributes:
        label: how messages name it.
        module: handed to the functions; it must be loaded for the setting to exist.
        read: what it is.
        write: puts it back; raises OSError or ValueError where that cannot be done.
        differs: whether the second value that was read counts as a change of the first.
        fresh: what it is right after the module was imported, where a plugin may be the first to import it.
        usual: libraries of good repute change it when they are imported; it is put back without a remark.
    """

    label: str
    module: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]
    differs: Callable[[Any, Any], bool] = operator.ne
    fresh: Callable[[Any], Any] | None = None
    usual: bool = False


def _of_functions(
    label: str, module: str, getter: str, setter: str, fresh: Callable[[Any], Any] | None = None
) -> Switch:
    """A setting with a function that reads it and one that writes it."""
    return Switch(label, module, lambda m: getattr(m, getter)(), lambda m, v: getattr(m, setter)(v), fresh=fresh)


def _of_attribute(label: str, module: str, name: str) -> Switch:
    """A setting that is a plain attribute."""
    return Switch(label, module, operator.attrgetter(name), lambda m, v: setattr(m, name, v))


def _of_list(label: str, module: str, name: str) -> Switch:
    """A setting that is a list, which keeps its identity."""

    def write(owner: Any, before: list[Any]) -> None:
        getattr(owner, name)[:] = before

    return Switch(label, module, lambda m: list(getattr(m, name)), write)


def _read_folder(os: Any) -> str:
    try:
        return str(os.getcwd())
    except FileNotFoundError:  # somebody has removed it
        return ""


def _read_umask(os: Any) -> int:
    mask: int = os.umask(0o077)  # there is no other way to read it
    os.umask(mask)
    return mask


def _read_handlers(signal: Any) -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _write_handlers(signal: Any, before: dict[int, Any]) -> None:
    for number, handler in before.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _read_limits(resource: Any) -> dict[int, tuple[int, int]]:
    names = ("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_STACK")
    return {getattr(resource, name): resource.getrlimit(getattr(resource, name)) for name in names}


def _write_limits(resource: Any, before: dict[int, tuple[int, int]]) -> None:
    for what, limits in before.items():
        resource.setrlimit(what, limits)


def _write_filters(warnings: Any, before: list[Any]) -> None:
    warnings.resetwarnings()  # tells the interpreter that the list has changed
    warnings.filters.extend(before)


def _lost_modules(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Modules may come, but not go, nor be exchanged."""
    return any(after.get(name, before) is not module for name, module in before.items())


def _other_names(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return before.keys() != after.keys() or any(after[name] is not value for name, value in before.items())


def _write_names(module: Any, before: dict[str, Any]) -> None:
    for name in vars(module).keys() - before.keys():
        delattr(module, name)
    vars(module).update(before)


def _read_logging(logging: Any) -> tuple[Any, ...]:
    return logging.root.level, logging.root.manager.disable, tuple(logging.root.handlers)


def _write_logging(logging: Any, before: tuple[Any, ...]) -> None:
    level, disabled, handlers = before
    logging.root.setLevel(level)
    logging.disable(disabled)
    logging.root.handlers[:] = handlers


def _read_numpy(numpy: Any) -> tuple[Any, ...]:
    algorithm, keys, *rest = numpy.random.get_state()
    return (algorithm, tuple(keys.tolist()), *rest)


def _write_device(torch: Any, before: Any) -> None:
    torch.set_default_device(None if before.type == "cpu" else before)


SWITCHES = (
    Switch("the working folder", "os", _read_folder, lambda m, v: m.chdir(v)),
    Switch("the umask", "os", _read_umask, lambda m, v: m.umask(v)),
    Switch("signal handlers", "signal", _read_handlers, _write_handlers),
    Switch(
        "blocked signals",
        "signal",
        lambda m: m.pthread_sigmask(m.SIG_BLOCK, ()),
        lambda m, v: m.pthread_sigmask(m.SIG_SETMASK, v),
    ),
    Switch(
        "the alarm clock",
        "signal",
        lambda m: m.getitimer(m.ITIMER_REAL)[0] > 0,
        lambda m, v: m.setitimer(m.ITIMER_REAL, 0.0),
        differs=lambda before, after: after and not before,
    ),
    Switch("limits of resources", "resource", _read_limits, _write_limits),
    _of_list("the search path", "sys", "path"),
    _of_list("sys.argv", "sys", "argv"),
    _of_functions("the recursion limit", "sys", "getrecursionlimit", "setrecursionlimit"),
    _of_functions("the switch interval", "sys", "getswitchinterval", "setswitchinterval"),
    _of_functions("the number of digits", "sys", "get_int_max_str_digits", "set_int_max_str_digits"),
    _of_functions("the trace function", "sys", "gettrace", "settrace"),
    _of_functions("the profile function", "sys", "getprofile", "setprofile"),
    _of_attribute("the hook for errors", "sys", "excepthook"),
    _of_attribute("the hook for displayed values", "sys", "displayhook"),
    _of_attribute("the hook for errors of threads", "threading", "excepthook"),
    Switch(
        "loaded modules",
        "sys",
        lambda m: dict(m.modules),
        lambda m, v: m.modules.update(v),
        differs=_lost_modules,
    ),
    Switch("builtins", "builtins", lambda m: dict(vars(m)), _write_names, differs=_other_names),
    Switch(
        "garbage collection",
        "gc",
        lambda m: m.isenabled(),
        lambda m, v: m.enable() if v else m.disable(),
        fresh=lambda m: True,
    ),
    Switch("warning filters", "warnings", lambda m: list(m.filters), _write_filters, usual=True),
    _of_attribute("the display of warnings", "warnings", "showwarning"),
    Switch("the locale", "locale", lambda m: m.setlocale(m.LC_ALL), lambda m, v: m.setlocale(m.LC_ALL, v)),
    Switch("logging", "logging", _read_logging, _write_logging),
    _of_functions("the timeout of sockets", "socket", "getdefaulttimeout", "setdefaulttimeout", lambda m: None),
    _of_functions("the state of random", "random", "getstate", "setstate"),
    Switch("the state of numpy.random", "numpy", _read_numpy, lambda m, v: m.random.set_state(v)),
    Switch("NumPy's treatment of errors", "numpy", lambda m: m.geterr(), lambda m, v: m.seterr(**v)),
    Switch(
        "the state of torch's generator",
        "torch",
        lambda m: m.get_rng_state().tolist(),
        lambda m, v: m.set_rng_state(m.tensor(v, dtype=m.uint8, device="cpu")),
    ),
    _of_functions("torch's default dtype", "torch", "get_default_dtype", "set_default_dtype", lambda m: m.float32),
    Switch(
        "torch's default device",
        "torch",
        lambda m: m.get_default_device(),
        _write_device,
        fresh=lambda m: m.device("cpu"),
    ),
    _of_functions("torch's grad mode", "torch", "is_grad_enabled", "set_grad_enabled", lambda m: True),
    _of_functions(
        "torch's precision of matrix products",
        "torch",
        "get_float32_matmul_precision",
        "set_float32_matmul_precision",
        lambda m: "highest",
    ),
    _of_functions(
        "torch's deterministic algorithms",
        "torch",
        "are_deterministic_algorithms_enabled",
        "use_deterministic_algorithms",
        lambda m: False,
    ),
    _of_functions("torch's number of threads", "torch", "get_num_threads", "set_num_threads"),
)
