"""Packages: programs compiled ahead of time by AOTInductor, with their manifest inside."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from halocline.artefacts import cached
from halocline.backends.torch.compiler import (
    compiler_options,
    free_sizes,
    keep_kernels_private,
    require_agreement,
    require_compiler,
    torch_warns_itself,
)
from halocline.backends.torch.graph import compilable
from halocline.backends.torch.samples import samples
from halocline.durations import announced
from halocline.errors import ArtefactError
from halocline.lowering import Manifest, Program
from halocline.lowering.keys import machine_key, program_key
from halocline.program import FrozenModel
from halocline.program.operators import version_of

SUFFIX: Final = ".pt2"

#: Names in the metadata of a package.
MANIFEST: Final = "halocline.manifest"
MACHINE: Final = "halocline.machine"

#: Of `machine_key`, what the code in a package depends on; the rest matters only to how it is made.
_BINDING = ("torch", "platform", "cpu")


@final
@dataclass(frozen=True, slots=True)
class Package:
    """A package that was loaded.

    Attributes:
        manifest: of the program.
        run: takes the inputs of the manifest and returns its outputs.
    """

    manifest: Manifest
    run: Callable[..., Sequence[Tensor]]


def cached_package(frozen: FrozenModel, program: Program, device: str) -> Package:
    """Load the package of a program from the cache, where it is built if need be; raises as `build_package` does.

    Args:
        frozen: the model that it was lowered from.
        program: on the CPU; every package is held against it, whether it was just built or found.
        device: where its inputs will be.
    """
    key = {**program_key(frozen, program), **machine_key(), "device": torch.device(device).type}

    def load(data: bytes) -> Package:
        package = open_package(io.BytesIO(data), device)
        require_agreement(program, package.run, device)
        return package

    return cached(
        key,
        SUFFIX,
        lambda path: build_package(program, device, path),
        load,
        f"the program of {program.manifest.backbone!r}",
    )


def build_package(program: Program, device: str, path: Path, told: Mapping[str, str] | None = None) -> None:
    """Compile a program and write its package, which is yet to be held against the program.

    Args:
        program: on the CPU.
        device: where its inputs will be.
        path: of the package.
        told: further metadata.

    Raises:
        UsageError: there is no C++ compiler.
        ArtefactError: torch cannot compile the program, or cannot keep kernels.
    """
    from torch._inductor import aoti_compile_and_package

    require_compiler()
    keep_kernels_private()
    manifest = program.manifest
    metadata = {MANIFEST: json.dumps(manifest.to_json()), MACHINE: json.dumps(machine_key() | {"device": device})}
    metadata |= told or {}
    recorded, *_ = samples(manifest).values()
    free = tuple(
        {place: torch.export.Dim.DYNAMIC for place, size in enumerate(value.shape) if isinstance(size, str)}
        for value in manifest.inputs
    )
    what = f"Compiling {manifest.backbone!r} with AOTInductor ({manifest.kind}, {manifest.precision}, {device})"
    with announced(what), free_sizes(), torch_warns_itself():
        try:
            exported = torch.export.export(
                compilable(program, device),
                tuple(tensor.to(device) for tensor in recorded),
                dynamic_shapes=free,
            )
            aoti_compile_and_package(
                exported,
                package_path=str(path),
                inductor_configs=compiler_options() | {"aot_inductor.metadata": metadata},
            )
        except RuntimeError as error:
            raise ArtefactError(
                f"torch {torch.__version__} cannot compile the program of {manifest.backbone!r}: {error}"
            ) from error


def open_package(package: Path | io.BytesIO, device: str) -> Package:
    """Load a package after checking that it was made for this machine.

    Args:
        package: the file, or its bytes: those that were verified are then those that are run.
        device: where its inputs will be.

    Raises:
        ArtefactError: it is damaged, no package of Halocline, or was made for another machine or version.
        LoweringError: its manifest cannot be read by this version.
    """
    from torch._inductor import aoti_load_package

    name = str(package) if isinstance(package, Path) else "The compiled program"
    metadata = _read_metadata(package, name)
    _require_this_machine(name, json.loads(metadata[MACHINE]), device)
    manifest = Manifest.from_json(json.loads(metadata[MANIFEST]))
    _require_operators(name, manifest)
    if not isinstance(package, Path):
        package.seek(0)
    place = torch.device(device)
    index = (place.index or 0) if place.type == "cuda" else -1
    try:
        return Package(manifest, aoti_load_package(package, device_index=index))
    except RuntimeError as error:
        raise ArtefactError(f"{name} cannot be loaded: {error}") from error


def _read_metadata(package: Path | io.BytesIO, name: str) -> dict[str, Any]:
    """Read what a package says of itself, before any of its code is loaded."""
    try:
        with zipfile.ZipFile(package) as archive:
            members = [each for each in archive.namelist() if re.search(r"/aotinductor/.*_metadata\.json$", each)]
            tables = [json.loads(archive.read(each)) for each in members]
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise ArtefactError(f"{name} is no package that can be read: {error}.") from error
    ours = [table for table in tables if MANIFEST in table and MACHINE in table]
    if not ours:
        raise ArtefactError(f"{name} is no package of Halocline; make one with: halocline export --backend aot")
    table: dict[str, Any] = ours[0]
    return table


def _require_operators(package: str, manifest: Manifest) -> None:
    """The custom operators that a package calls are those of this process."""
    for what, version in manifest.versions.items():
        kind, _, operator = what.partition(" ")
        if kind == "operator" and version_of(operator) != int(version):
            raise ArtefactError(
                f"{package} calls version {version} of the operator {operator}, and here is version "
                f"{version_of(operator)}; install the plugin that it was made with."
            )


def _require_this_machine(package: str, made_for: dict[str, str], device: str) -> None:
    """Compare what the code in a package depends on with what is here."""
    here = machine_key() | {"device": device}
    binding = _BINDING + (("gpu",) if torch.device(device).type == "cuda" else ())
    if torch.device(made_for["device"]).type != torch.device(device).type:
        raise ArtefactError(f"{package} was compiled for {made_for['device']}, not for {device}; export it again.")
    for name in binding:
        if made_for[name] != here[name]:
            raise ArtefactError(
                f"{package} was compiled for {name} {made_for[name]}, and here is {name} {here[name]}; "
                "export the model again on this machine."
            )
