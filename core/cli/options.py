"""Options shared by the commands that evaluate a model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import halocline
from halocline.errors import StructureError, UnknownElementError, UsageError
from halocline.plugin import Kind, registry

if TYPE_CHECKING:
    from halocline.potential.potential import Potential
    from halocline.program.replacement import Replacement

_EVALUATION = ("backend", "dtype", "device", "partition", "halo", "memory", "compress")


def add_model_options(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add what to evaluate with, and where and how.

    Args:
        parser: of the command.
        several: whether it takes committees and sums of models.
    """
    group = parser.add_argument_group("model")
    if several:
        _add_models(group)
    else:
        add_model_choice(group)
    group.add_argument(
        "--head", metavar="NAME", help="of a model with several heads or fidelities [what structures state]"
    )
    add_evaluation_options(parser)


def add_evaluation_options(parser: argparse.ArgumentParser) -> None:
    """Add where and how to evaluate; see `evaluation_options`."""
    group = parser.add_argument_group("evaluation")
    backends = spec_help("executor", "evaluator")
    group.add_argument("--backend", default="torch", metavar="SPEC", help=f"{backends} [%(default)s]")
    add_dtype(group)
    add_device(group)
    group.add_argument("--partition", default="none", metavar="SPEC", help="name[:parts] [%(default)s]")
    group.add_argument(
        "--halo", default="auto", choices=("auto", "recompute", "exchange"), help="halo rule [%(default)s]"
    )
    group.add_argument(
        "--memory", metavar="SIZE", help="choose the parts so that 8GiB, say, are enough [no bound]"
    )
    add_compress(group)


def add_compress(group: Any) -> None:
    """Add whether tables may take the place of radial functions."""
    group.add_argument(
        "--compress", action="store_true", help="radial functions from tables: faster, and as good as float32"
    )


def say_replaced(replaced: Sequence[Replacement]) -> None:
    """Say which stages of the model tables have taken the place of, and what runs them.

    Exact kernels alone differ by rounding, nothing to tell at every call: ``halocline doctor`` lists them.
    """
    from halocline.cli.output import say
    from halocline.program.replacement import told

    if not all(each.exact for each in replaced):
        for sentence in told(replaced):
            say(f"halocline: {sentence}")


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add the format of structure files, for those whose names and content do not tell."""
    parser.add_argument("--format", metavar="NAME", help="ASE's name of the files' format, such as lammps-data")


def add_model_choice(group: Any) -> None:
    """Add the model, and how much of it."""
    group.add_argument(
        "-m", "--model", action=_Once, help="name in a zoo, or path of a checkpoint [the zoo's default]"
    )
    add_prune(group)


def _add_models(group: Any) -> None:
    """Add the model or the members of a committee, and what is added to them."""
    group.add_argument(
        "-m",
        "--model",
        action="append",
        help="name in a zoo, or path of a checkpoint; several, each with its -m, are a committee, whose mean "
        "counts and whose spread is told [the zoo's default]",
    )
    group.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="MODEL",
        help="add the energies and forces of another model, such as a dispersion correction",
    )
    add_prune(group)


class _Once(argparse.Action):
    """An option that would lose its first value if it were given a second time."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """See `argparse.Action`."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} names one model; committees are for run, eval, md, relax and audit.")
        setattr(namespace, self.dest, values)


def add_prune(group: Any) -> None:
    """Add how much of the model to keep."""
    group.add_argument(
        "--prune",
        metavar="K|SPEC",
        help=f"keep the first K message-passing layers, or {spec_help('pruner')}; several joined by + [all]",
    )


def add_dtype(group: Any) -> None:
    """Add the precision of the network."""
    group.add_argument("--dtype", default="float32", choices=("float32", "float64"), help="[%(default)s]")


def add_device(group: Any) -> None:
    """Add ``--device``: on what the model runs."""
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... [%(default)s]")


def spec_help(*kinds: Kind) -> str:
    """Explain an option that takes the name of a component with options; every installed one is named."""
    names = ", ".join(name for kind in kinds for name in registry().names(kind)) or "none is installed"
    return f"name[:key=value,…] of {names}"


def load_potential(arguments: argparse.Namespace) -> Potential:
    """Load what the options name: a model, a committee, or the sum of either and others; the former pruned.

    Raises:
        HaloclineError: One cannot be found, read or pruned, or they cannot be combined.
    """
    members, added = _model_names(arguments)
    potentials = [halocline.load(name, prune=arguments.prune) for name in members]
    potential = potentials[0] if len(potentials) == 1 else halocline.committee_of(*potentials)
    return halocline.sum_of(potential, *map(halocline.load, added)) if added else potential


def model_name(arguments: argparse.Namespace) -> str:
    """What the options name, or the zoo's default: ``a``, ``committee of a, b`` or ``a + c``.

    Raises:
        UsageError: a model is named twice.
    """
    members, added = _model_names(arguments)
    name = members[0] if len(members) == 1 else f"committee of {', '.join(members)}"
    return " + ".join((name, *added))


def member_names(arguments: argparse.Namespace) -> list[str]:
    """What the options name as members of a committee; empty if they name a single model.

    Raises:
        UsageError: a model is named twice.
    """
    members, _ = _model_names(arguments)
    return members if len(members) > 1 else []


def _model_names(arguments: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The model or the members of a committee, and what is added.

    Raises:
        UsageError: one model is named twice, as members differ.
    """
    named = arguments.model or _default_zoo().default
    members = [named] if isinstance(named, str) else list(named)
    for name in members:
        if members.count(name) > 1:
            raise UsageError(f"{name} is named twice; the members of a committee are different models.")
    return members, list(getattr(arguments, "add", ()))


@contextmanager
def default_explained(arguments: argparse.Namespace) -> Iterator[None]:
    """Within the block, have errors about unknown elements say that the zoo's default was taken, and what to take.

    Raises:
        UnknownElementError: as the block does, with that explanation.
    """
    try:
        yield
    except UnknownElementError as error:
        if arguments.model:
            raise
        raise UnknownElementError(f"{error} {_about_default()}") from error


@contextmanager
def located(where: str) -> Iterator[None]:
    """Say of which structure an error in the block speaks.

    Args:
        where: it comes from, such as a file and the number of a frame.

    Raises:
        StructureError: as the block does, and of the same kind.
    """
    try:
        yield
    except StructureError as error:
        raise type(error)(f"{where}: {error}") from error


def _about_default() -> str:
    zoo = _default_zoo()
    text = f"No model was named with -m, so the default was taken, {zoo.default}: {zoo.entry(zoo.default).summary}"
    if zoo.universal:
        error = zoo.entry(zoo.universal).audit.elements_volume_error
        text += (
            f" For anything else: halocline zoo pull {zoo.universal}, and then -m {zoo.universal}: of the audited "
            f"universal models it is nearest to PBE, with a median error of {error:.1f} % of the volumes of 71 "
            "elemental crystals."
        )
    return text


def _default_zoo() -> Any:
    return registry().load("zoo", registry().default("zoo").qualified_name)()


def evaluation_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of a potential's call and of its ``calculator``."""
    return {name: getattr(arguments, name) for name in _EVALUATION}
