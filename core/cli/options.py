"""Options shared by the commands that evaluate a model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import halocline
from halocline.plugin import registry

if TYPE_CHECKING:
    from halocline.model.potential import Potential

_EVALUATION = ("backend", "dtype", "device", "partition", "halo")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add what to evaluate with, and where and how."""
    group = parser.add_argument_group("model")
    group.add_argument("-m", "--model", help="name in a zoo, or path of a checkpoint [the zoo's default]")
    group.add_argument("--prune", type=int, metavar="K", help="keep the first K message-passing layers [all]")
    group = parser.add_argument_group("evaluation")
    group.add_argument("--backend", default="torch", metavar="SPEC", help="name[:key=value,…] [%(default)s]")
    group.add_argument("--dtype", default="float32", choices=("float32", "float64"), help="[%(default)s]")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... [%(default)s]")
    group.add_argument("--partition", default="none", metavar="SPEC", help="name[:parts] [%(default)s]")
    group.add_argument(
        "--halo", default="auto", choices=("auto", "recompute", "exchange"), help="halo rule [%(default)s]"
    )


def load_potential(arguments: argparse.Namespace) -> Potential:
    """Load the model that the options name, pruned if they say so.

    Raises:
        HaloclineError: It cannot be found, read or pruned.
    """
    name = arguments.model or registry().load("zoo", "zoo")().default
    return halocline.load(name, prune=arguments.prune)


def evaluation_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of a potential's call and of its ``calculator``."""
    return {name: getattr(arguments, name) for name in _EVALUATION}
