"""Kernels on the device: the numbers of the plain stages, and the time that they save."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from ase import Atoms
from matrix.deviation import deviation

import halocline
from gpu.clock import seconds_of
from gpu.parity import WATER
from gpu.report import Record
from halocline.bench.structures import Motion, disordered_box
from halocline.errors import KernelError
from halocline.model.build import build_backbone
from halocline.native.triton import require_triton
from halocline.potential.potential import Potential
from halocline.program import Precision

#: Of each model, the atoms/Å³ of its boxes: liquid water, and silicon.
DENSITIES = {
    WATER: 0.1,
    "schnet, 128 x 6": 0.05,
    "mace, 128, L = 0": 0.05,
    "mace, 128, L = 1": 0.05,
    "m3gnet, 64": 0.05,
}

#: Backend and compression: as it is written, with kernels, and with kernels that run tables.
WAYS = {"plain": ("torch:kernels=off", False), "kernels": ("torch", False), "tables": ("torch", True)}

#: Atoms of the boxes that are compared, and of those that are timed.
COMPARED, TIMED = 300, (1_000, 10_000)


def kernels(device: str, quick: bool) -> Iterator[Record]:
    """Each model, dtype and way: beside plain stages in float64 on the CPU first, then by the clock."""
    yield {"triton": _triton()}
    for name in (WATER,) if quick else DENSITIES:
        model = _model(name)
        ways = [way for way, (_, compress) in WAYS.items() if not compress or _has_tables(name)]
        for way in ways:
            for dtype in Precision:
                yield {"model": name, "way": way, "dtype": dtype.value} | _compared(
                    model, name, way, dtype, device
                )
        for atoms in (100,) if quick else TIMED:
            box = disordered_box(model.species, atoms, DENSITIES[name])
            for dtype in Precision:
                for way in ways:
                    what = {"model": name, "way": way, "dtype": dtype.value, "atoms": atoms}
                    yield what | {"us_per_atom": 1e6 * _seconds(model, way, dtype, device, box) / atoms}


def _triton() -> str:
    """Its version, or why stages stay as they are."""
    try:
        return require_triton()
    except KernelError as error:
        return str(error)


def _has_tables(name: str) -> bool:
    """Whether it can be compressed."""
    return not name.startswith("m3gnet")


def _model(name: str) -> Potential:
    if name == WATER:
        return halocline.load(WATER)
    if name.startswith("schnet"):
        sizes = {"features": 128, "gaussians": 50, "layers": 6}
    elif name.startswith("m3gnet"):
        sizes = {"features": 64, "units": 128}
    else:
        sizes = {"channels": 128, "hidden_degree": int(name[-1]), "average_neighbours": 58.0}
    config = {"species": ["Si"], "cutoff": 6.0} | sizes
    backbone = build_backbone(name.partition(",")[0], config, seed=1)
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})


def _compared(model: Potential, name: str, way: str, dtype: Precision, device: str) -> Record:
    """Tables are compared with the same on the CPU, as they are not the plain model."""
    backend, compress = WAYS[way]
    box = disordered_box(model.species, COMPARED, DENSITIES[name])
    reference = "torch" if compress else "torch:kernels=off"
    expected = model(box, dtype="float64", device="cpu", backend=reference, compress=compress)
    evaluator = model.evaluator(backend, dtype.value, device, "none", "auto", compress=compress)
    try:
        compared = deviation(model.evaluate_with(evaluator, box), expected, dtype.value)
        ran = sorted({each.kernel for each in evaluator.replaced})
        right = compared.ok and any(each.exact for each in evaluator.replaced) is (way != "plain")
    finally:
        evaluator.close()
    return {"kernels": ran, "ok": right} | compared._asdict()


def _seconds(model: Potential, way: str, dtype: Precision, device: str, box: Atoms) -> float:
    """Of a step, in which atoms move as in dynamics."""
    backend, compress = WAYS[way]
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    motion = Motion(box)
    evaluator = model.evaluator(backend, dtype.value, device, "none", "auto", compress=compress)
    try:
        return seconds_of(lambda: model.evaluate_with(evaluator, motion.step()), device)
    finally:
        evaluator.close()
