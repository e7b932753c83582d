"""The axes of the matrix, and which of its cells can be run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import product
from typing import Any, Final, NamedTuple

import torch

from halocline.model.build import build_backbone
from halocline.model.pruner import pruned
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.program import Precision
from halocline.spec import Spec
from halocline.testing.hosts import BUNDLES, HOSTS, Host

#: Models beside every backbone's example: what changes its promises or its programs.
VARIANTS: Final[dict[str, tuple[str, dict[str, Any], int | None]]] = {
    "schnet, one layer left": ("schnet", {}, 1),
    "schnet, nearest neighbours": ("schnet", {"neighbours": "nearest", "nearest_count": 6}, None),
}

#: Where an example says no more here than something smaller does, whose programs compile in two thirds of the
#: time. Degree 1 needs every operation that higher degrees need; those are held to the definition elsewhere.
SMALLER: Final[dict[str, dict[str, Any]]] = {"mace": {"max_degree": 1}}

#: Every way to run a model that comes in the box.
BACKENDS: Final = (
    "torch",
    "onnx:threads=1",
    "onnx:threads=2",
    "ddp:ranks=2",
    "ddp:ranks=2,inner=onnx:threads=1",
    "torch:compile=inductor",
    "torch:compile=aot",
    "ipu:target=cpu",
)

#: How a structure is evaluated, as options of a call; those of `TOGETHER` are evaluated as a list.
DIVISIONS: Final[dict[str, dict[str, str]]] = {
    "whole": {},
    "parts": {"partition": "rcb:3", "halo": "recompute"},
    "exchange": {"partition": "rcb:3", "halo": "exchange"},
    "together": {},
}
TOGETHER: Final = "together"

#: The host that has done nothing, and those that have done several things at once.
QUIET: Final = "nothing"
BUNDLED: Final = {f"bundle {number}": names for number, names in enumerate(BUNDLES, start=1)}

#: Backends that are called in every host by itself; the others compile anew for some, or start processes.
CHEAP: Final = ("torch", "torch:compile=aot", "onnx:threads=1")

#: Hosts that there are on machines with a GPU only.
ON_GPU: Final[dict[str, Host]] = {
    "autocast on the GPU to bfloat16": partial(torch.autocast, "cuda", torch.bfloat16),
    "autocast on the GPU to float16": partial(torch.autocast, "cuda", torch.float16),
    "with torch.device('cuda')": partial(torch.device, "cuda"),
}

#: Backends that run whole programs only, not their stages one by one.
WHOLE_PROGRAMS: Final = ("torch:compile=inductor", "torch:compile=aot", "ipu:target=cpu")


class Cell(NamedTuple):
    """One value of each axis."""

    model: str
    backend: str
    dtype: str
    division: str
    host: str


def models() -> tuple[str, ...]:
    """Every backbone that is installed, and variants; what was there first stays first."""
    built = [name for name in registry().names("backbone") if name not in _BOX]
    return (*_BOX, *VARIANTS, *sorted(built))


#: Backbones that come first, the quickest before all: what any model may cover is covered with it.
_BOX: Final = ("lennard-jones", "schnet", "m3gnet")


@cache
def potential(model: str) -> Potential:
    """A model, whose weights follow from a seed."""
    name, changes, layers = VARIANTS.get(model, (model, SMALLER.get(model, {}), None))
    config = registry().load("backbone", name).example_config() | changes
    backbone = build_backbone(name, config, seed=1)
    if layers is not None:
        backbone = pruned(backbone, layers)
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})


def hosts(backend: str) -> tuple[str, ...]:
    """What the host has done: nothing, several things at once, and where calls are cheap each thing alone."""
    return (QUIET, *(HOSTS if backend in CHEAP else ()), *BUNDLED)


def product_of(models: Sequence[str], backends: Sequence[str] = BACKENDS) -> Iterator[Cell]:
    """Every cell, those of one model, backend and dtype after one another; the quickest backends come first."""
    for backend, model, dtype, division in product(backends, models, tuple(Precision), DIVISIONS):
        yield from (Cell(model, backend, dtype.value, division, host) for host in hosts(backend))


def bundled(models: Sequence[str]) -> Iterator[Cell]:
    """Cells that can be run, hosts in bundles only: every host is in one of them."""
    for cell in product_of(models):
        if cell.host in (QUIET, *BUNDLED) and not why_not(cell):
            yield cell


def why_not(cell: Cell) -> str:
    """Why a cell cannot be run anywhere, in what its backend and its model say of themselves; empty if it can."""
    spec = Spec.parse(cell.backend)
    if spec.name in registry().names("executor"):
        executor = registry().load("executor", spec.name)
        if cell.dtype not in executor.capabilities.precisions:
            return f"{spec.name} has no {cell.dtype}"
    if cell.division == "exchange" and cell.backend in WHOLE_PROGRAMS:
        return f"{cell.backend} runs whole programs only"
    return potential(cell.model).backbone.exchange_refusal if cell.division == "exchange" else ""
