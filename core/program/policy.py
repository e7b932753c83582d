"""Precision policies: which region of a model computes in which dtype, and how rows are added up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final, Self, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from halocline.aggregation import EdgeBlock, RadialFunction
from halocline.aggregation.sums import PLAIN, CompensatedSums, RowSums, WideSums
from halocline.errors import UsageError, unknown_name
from halocline.model.backbone import Backbone
from halocline.model.stage import Stage
from halocline.model.work import Work
from halocline.program.capabilities import Precision
from halocline.spec import Spec

#: What a region may compute in.
DTYPES: Final[dict[str, torch.dtype]] = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

#: Not a region: how messages, and gradients of what neighbours read, are added up.
SUMS: Final = "sums"
COMPENSATED: Final = "compensated"

#: Modules that hold weights of the module around them and are never called.
_CONTAINERS: Final = (nn.ParameterList, nn.ParameterDict)

#: Not a module: edge vectors are rounded to this dtype before any stage sees them.
VECTORS: Final = "vectors"


@final
@dataclass(frozen=True, slots=True)
class PrecisionPolicy:
    """In what a model computes, region by region.

    Attributes:
        program: dtype of everything that no region says otherwise of; of vectors, energies and gradients too.
        regions: name of a region → name of a dtype. A region is a stage, such as ``layers.0``, or all of a kind,
            ``layers``; a module in one, such as ``layers.0.product``, where ``*`` stands for any one name; a kind
            of `Work`, such as ``radial``, which is all maps with weights that stages do that work with; or
            `VECTORS`. Of two that hold a module the one with more names counts.
        sums: ``float64``, ``float32``, `COMPENSATED`; or empty, which is the dtype of the program.
    """

    program: Precision
    regions: Mapping[str, str]
    sums: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``float32``, ``float32:sums=float64`` or ``float32:radial=bfloat16,layers.0=float64``.

        Raises:
            UsageError: the text does not follow the grammar, or a dtype is not known.
        """
        spec = Spec.parse(text)
        if spec.name not in tuple(Precision):
            raise UsageError(
                f"A program computes in float32 or float64, not in {spec.name!r}; regions may, such as "
                "float32:layers=bfloat16."
            )
        regions = dict(spec.options)
        sums = regions.pop(SUMS, "")
        kinds = ("float32", "float64", COMPENSATED)
        if sums and sums not in kinds:
            raise unknown_name("kind of sums", sums, kinds)
        for name in regions.values():
            if name not in DTYPES:
                raise unknown_name("dtype", name, DTYPES)
        return cls(Precision(spec.name), regions, sums)

    def __str__(self) -> str:
        """What `parse` reads."""
        options = {**self.regions, **({SUMS: self.sums} if self.sums else {})}
        return ":".join([self.program.value, *([",".join(map("=".join, options.items()))] if options else [])])

    def suits(self, backbone: Backbone) -> bool:
        """Whether the backbone has all regions."""
        return all(any(_modules_of(region, backbone)) for region in self.regions if region != VECTORS)

    def dtypes(self, backbone: Backbone) -> dict[str, dict[str, torch.dtype]]:
        """Stage → path of a module in it, outer ones first → what that computes in. The stage itself is ``""``.

        Raises:
            UsageError: the backbone has no such region.
        """
        chosen: dict[tuple[str, str], tuple[int, torch.dtype]] = {}
        for region, name in self.regions.items():
            found = [] if region == VECTORS else list(_modules_of(region, backbone))
            if not found and region != VECTORS:
                known = {VECTORS, SUMS, *_known_regions(backbone)}
                raise unknown_name(f"region of {backbone.name!r}", region, known)
            for names, stage, path in found:
                if names >= chosen.get((stage, path), (0,))[0]:
                    chosen[stage, path] = names, DTYPES[name]
        return {
            stage: {
                path: chosen.get((stage, path), (0, self.program.torch))[1] for path, _ in module.named_modules()
            }
            for stage, module in backbone.stages()
        }

    def apply(self, backbone: Backbone) -> None:
        """Cast the weights of a backbone, and have its modules cast what they are given.

        No module is put in the place of another: hooks cast at the borders of regions, and derivatives go through
        these casts.

        Args:
            backbone: in float64; it is changed.

        Raises:
            UsageError: it has no such region.
        """
        weights = self._weights(backbone)
        for module in backbone.modules():
            _cast_weights(module, weights.get(module, self.program.torch))
        for name, paths in self.dtypes(backbone).items():
            stage = dict(backbone.stages())[name]
            self._guard_stage(stage, paths[""])
            for path, inside in paths.items():
                outside = paths[path.rpartition(".")[0]]
                if inside != outside:
                    _cast_around(stage.get_submodule(path), inside, outside)

    def _weights(self, backbone: Backbone) -> dict[nn.Module, torch.dtype]:
        """What the own weights of each module of a stage are cast to."""
        stages = dict(backbone.stages())
        return {
            stages[name].get_submodule(path): dtype
            for name, paths in self.dtypes(backbone).items()
            for path, dtype in paths.items()
        }

    def _guard_stage(self, stage: Stage, inside: torch.dtype) -> None:
        """Have a stage cast state and vectors, and add up as it is told."""
        outside = self.program.torch
        rounded = DTYPES[self.regions[VECTORS]] if VECTORS in self.regions else inside
        sums = self._sums(inside)

        def enter(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            state, *blocks = arguments
            return _cast(state, inside), *(_block(block, rounded, inside, sums) for block in blocks)

        if sums is not PLAIN or {inside, rounded} != {outside}:
            stage.register_forward_pre_hook(enter)
        if inside != outside:
            stage.register_forward_hook(lambda _, __, state: _cast(state, outside))

    def _sums(self, inside: torch.dtype) -> RowSums:
        """How a stage adds up that computes in this dtype."""
        if self.sums == COMPENSATED:
            return CompensatedSums()
        dtype = DTYPES[self.sums or self.program.value]
        return PLAIN if dtype == inside else WideSums(dtype)


def _known_regions(backbone: Backbone) -> Iterator[str]:
    """Names to choose from; modules have more."""
    for stage, module in backbone.stages():
        yield stage
        yield stage.partition(".")[0]
        yield from (work.value for work in Work if any(_maps(module, work)))


def _modules_of(region: str, backbone: Backbone) -> Iterator[tuple[int, str, str]]:
    """The modules of a region: how many names chose them, their stage, and their path in it."""
    pattern = region.split(".")
    for stage, module in backbone.stages():
        maps = list(_maps(module, Work(region))) if region in tuple(Work) else []
        for path, _ in module.named_modules():
            names = [*stage.split("."), *(path.split(".") if path else [])]
            if len(names) >= len(pattern) and all(map(fnmatchcase, names, pattern)):
                yield len(pattern), stage, path
            elif any(path == each or path.startswith(f"{each}.") for each in maps):
                yield len(names), stage, path


def _maps(stage: Stage, work: Work) -> Iterator[str]:
    """Paths of the modules with weights of their own that a stage does some work with; of the innermost such ones.

    Functions of the distance itself have none: in half precision nothing would be left of them.
    """
    for path, module in stage.named_modules():
        own = [module, *(child for child in module.children() if isinstance(child, _CONTAINERS))]
        if isinstance(module, _CONTAINERS) or not any(
            True for each in own for _ in each.parameters(recurse=False)
        ):
            continue
        if _work_of(stage, path) == work:
            yield path


def _work_of(stage: Stage, path: str) -> Work | None:
    """What a module is for: what the stage says of it, or of the nearest module around it."""
    while path:
        if path in stage.profiled_as:
            return stage.profiled_as[path]
        if isinstance(stage.get_submodule(path), RadialFunction):
            return Work.RADIAL
        path = path.rpartition(".")[0]
    return stage.profiled_as.get("forward")


def _cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    cast = partial(_cast, dtype=dtype)
    module._apply(cast, recurse=False)  # type: ignore[no-untyped-call]  # which `to` calls, with all modules below


def _cast_around(module: nn.Module, inside: torch.dtype, outside: torch.dtype) -> None:
    module.register_forward_pre_hook(lambda _, values: _cast(values, inside))
    module.register_forward_hook(lambda _, __, values: _cast(values, outside))


def _block(block: EdgeBlock, rounded: torch.dtype, inside: torch.dtype, sums: RowSums) -> EdgeBlock:
    mask = None if block.mask is None else block.mask.to(inside)
    return replace(block, vectors=block.vectors.to(rounded).to(inside), mask=mask, sums=sums)


def _cast(values: Any, dtype: torch.dtype) -> Any:
    """All floats in another dtype, within tuples, lists and mappings too."""
    return tree_map_only(Tensor, lambda each: each.to(dtype) if each.is_floating_point() else each, values)
