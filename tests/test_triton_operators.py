"""Operators for GPUs, run by Triton's interpreter on the CPU; how block sizes are chosen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_fused_convolution import Wave, blocks, called, convolved

from halocline.errors import KernelError
from halocline.native.triton import require_triton
from halocline.plugins.fused import operators
from halocline.plugins.fused.softplus import shifted_softplus
from halocline.plugins.kernels.convolution import Exact, FromTable
from halocline.plugins.kernels.schnet import FusedSchNet
from halocline.plugins.kernels.tables import tabulate

FOLDER = Path(__file__).parent

#: Files of tests that the interpreter takes tens of seconds for.
SLOW = {
    name: [pytest.mark.slow, pytest.mark.exhaustive] for name in ("mace_models", "m3gnet_models", "nequip_models")
}


def triton_version():
    """Its first two numbers; none if it is not installed."""
    try:
        return tuple(map(int, require_triton().split(".")[:2]))
    except KernelError:
        return ()


needs_triton = pytest.mark.skipif(
    not triton_version(), reason="Triton is not installed: pip install 'halocline[triton]'"
)


@pytest.mark.skipif(
    triton_version() < (3, 7), reason="Triton's interpreter needs Triton 3.7: before, it fails with NumPy 2.4"
)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.name, marks=SLOW.get(path.stem, ()))
        for path in sorted((FOLDER / "interpreted").glob("*.py"))
        if path.stem != "on_cpu"
    ],
)
def test_interpreted(name):
    """A process of its own, since Triton asks for the interpreter when it is imported."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n0",
        str(FOLDER / "interpreted" / name),
    ]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("kind", ["exact", "table", "softplus"])
def test_kernels_compile_for_a_gpu(kind, dtype):
    """Triton's interpreter takes some things that its compiler does not."""
    from gpu_code import compiled, launches_of

    with called() as seen:
        if kind == "softplus":
            x = torch.ones(64, dtype=dtype, requires_grad=True)
            torch.autograd.grad(shifted_softplus(x).sum(), x)
        else:
            function = Exact(Wave(64)) if kind == "exact" else FromTable(tabulate(Wave(64)))
            convolved(function, blocks()["part"], dtype, 64)
    launches = [launch for operator, arguments in seen.values() for launch in launches_of(operator, arguments)]
    assert len(launches) >= 2
    for launch in launches:
        assert compiled(*launch)["cubin"]


class Clock:
    """Candidates take what they are said to take, or fail."""

    def __init__(self, takes):
        self.takes, self.asked = takes, []

    def run(self, blocks):
        self.asked.append(blocks["EDGES"])
        if isinstance(self.takes[blocks["EDGES"]], Exception):
            raise self.takes[blocks["EDGES"]]

    def seconds(self, call):
        call()
        return self.takes[self.asked[-1]]


KEY = {"blocks": "kernel", "device": "GPU 9.0", "about": "float32, 128"}


@needs_triton
def test_the_fastest_blocks_are_kept_for_the_next_process(monkeypatch, tmp_path):
    from halocline.plugins.triton_operators.blocks import kept

    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path))
    candidates = [{"EDGES": edges, "num_warps": 4} for edges in (8, 16, 32)]
    clock = Clock({8: 3.0, 16: 1.0, 32: 2.0})
    assert kept(KEY, candidates, clock.run, clock.seconds) == candidates[1]
    assert clock.asked == [8, 16, 32]
    later = Clock({8: 1.0, 16: 2.0, 32: 3.0})
    assert kept(KEY, candidates, later.run, later.seconds) == candidates[1]
    assert not later.asked
    assert kept(KEY | {"device": "other"}, candidates, later.run, later.seconds) == candidates[0]


@needs_triton
def test_launches_that_are_too_small_choose_nothing(monkeypatch, tmp_path):
    from halocline.plugins.triton_operators import blocks

    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path))
    candidates = [{"EDGES": edges, "num_warps": 4} for edges in (8, 16)]
    clock = Clock({8: 2.0, 16: 1.0})
    monkeypatch.setattr(blocks, "_chosen", {})
    monkeypatch.setattr(blocks, "_device_name", str)
    monkeypatch.setattr(blocks, "seconds_on_gpu", clock.seconds)

    def chosen(device, work):
        kernel = SimpleNamespace(fn=test_launches_that_are_too_small_choose_nothing)
        return blocks.blocks_for(kernel, ("float32", 128), candidates, torch.device(device), work, clock.run)

    assert chosen("cuda:0", blocks.ENOUGH - 1) == candidates[0]
    assert chosen("cpu", blocks.ENOUGH) == candidates[0]
    assert not clock.asked
    assert chosen("cuda:0", blocks.ENOUGH) == candidates[1]
    assert chosen("cuda:0", 1) == candidates[1]
    assert clock.asked == [8, 16]


@needs_triton
def test_blocks_that_a_device_cannot_run_are_not_chosen():
    from halocline.plugins.triton_operators.blocks import fastest

    candidates = [{"EDGES": edges, "num_warps": 4} for edges in (8, 16, 32)]
    clock = Clock({8: RuntimeError("out of registers"), 16: 2.0, 32: 2.0})
    assert fastest(candidates, clock.run, clock.seconds) == candidates[1]
    with pytest.raises(KernelError, match="no block sizes: out of registers"):
        fastest(candidates[:1], clock.run, clock.seconds)
    full = Clock({8: torch.OutOfMemoryError("CUDA out of memory"), 16: 1.0})
    with pytest.raises(torch.OutOfMemoryError):
        fastest(candidates, full.run, full.seconds)


@needs_triton
def test_where_nothing_can_be_kept_blocks_are_chosen_all_the_same(monkeypatch, tmp_path, caplog):
    from halocline.plugins.triton_operators.blocks import kept

    (tmp_path / "file").touch()
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "file"))
    clock = Clock({8: 1.0})
    assert kept(KEY, [{"EDGES": 8}], clock.run, clock.seconds) == {"EDGES": 8}
    assert "chosen anew in every process" in caplog.text


def test_without_triton_there_are_no_kernels_for_gpus(monkeypatch):
    def missing():
        raise KernelError("Triton is not installed")

    monkeypatch.setattr(operators, "require_triton", missing)
    with pytest.raises(KernelError, match="Triton"):
        FusedSchNet().replace(torch.nn.Identity(), None, None, "cuda")
    # An operator that is called all the same is its definition.
    on_gpu = operators._on_gpu("softplus:shifted_softplus", lambda x: x + 1.0)
    assert on_gpu(torch.zeros(1)) == 1.0
