"""A checkpoint comes back as it was saved, from the same bytes every time."""

import dataclasses
import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from halocline.checkpoint import Checkpoint, load_checkpoint, read_header, save_checkpoint
from halocline.errors import CheckpointError

#: Written once by format version 1; it must stay readable, and the same contents must give it again.
VERSION_1 = Path(__file__).parent / "checkpoints" / "version-1.safetensors"

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


def example() -> Checkpoint:
    return Checkpoint(
        backbone="schnet",
        config={"cutoff": 5.0, "layers": 3, "species": ["H", "O"], "tiny": 1e-300, "none": None, "on": True},
        tensors={
            "embed.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7,
            "scale": torch.tensor(-0.0, dtype=torch.float64),
            "index": torch.tensor([3, 1, 2]),
        },
        reference_energies={"H": -13.587222780835477, "O": 0.0},
        card={
            "name": "example",
            "summary": 'Å, "quotes", \\ and \n \x1f 水',
            "licence": {"code": "Apache-2.0", "weights": "CC0-1.0"},
            "citation": ["one", "two"],
            "errors": {"force MAE, meV/Å": 1.5},
            "recipe": {"epochs": 3, "file": None},
        },
    )


def assert_same(left: Checkpoint, right: Checkpoint) -> None:
    plain = [
        {f.name: getattr(c, f.name) for f in dataclasses.fields(c) if f.name != "tensors"} for c in (left, right)
    ]
    assert plain[0] == plain[1]
    assert left.tensors.keys() == right.tensors.keys()
    for name, tensor in left.tensors.items():
        assert tensor.dtype == right.tensors[name].dtype
        assert tensor.shape == right.tensors[name].shape
        assert bits(tensor) == bits(right.tensors[name])


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8).numpy().tobytes()


def test_contents_return(tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", example())
    assert_same(load_checkpoint(tmp_path / "a.safetensors"), example())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)], ids=str)
def test_every_dtype_and_shape_returns(tmp_path, dtype, shape):
    values = np.random.default_rng(1).integers(0, 2, shape)
    checkpoint = dataclasses.replace(example(), tensors={"t": torch.as_tensor(values).to(dtype)})
    save_checkpoint(tmp_path / "a.safetensors", checkpoint)
    assert_same(load_checkpoint(tmp_path / "a.safetensors"), checkpoint)


def test_a_model_without_weights_returns(tmp_path):
    checkpoint = dataclasses.replace(example(), tensors={})
    save_checkpoint(tmp_path / "a.safetensors", checkpoint)
    assert_same(load_checkpoint(tmp_path / "a.safetensors"), checkpoint)


def test_views_shared_and_tracked_tensors_are_saved_by_value(tmp_path):
    base = torch.arange(12.0).reshape(3, 4).requires_grad_()
    views = {"transposed": base.T, "again": base, "row": base[1], "expanded": base[0].expand(5, 4)}
    save_checkpoint(tmp_path / "a.safetensors", dataclasses.replace(example(), tensors=views))
    loaded = load_checkpoint(tmp_path / "a.safetensors").tensors
    assert all(torch.equal(loaded[name], view) for name, view in views.items())


def test_tuples_become_lists(tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", dataclasses.replace(example(), config={"species": ("H", "O")}))
    assert load_checkpoint(tmp_path / "a.safetensors").config == {"species": ["H", "O"]}


def test_the_order_of_keys_does_not_matter(tmp_path):
    checkpoint = example()
    turned = dataclasses.replace(
        checkpoint,
        config=dict(reversed(checkpoint.config.items())),
        tensors=dict(reversed(checkpoint.tensors.items())),
    )
    for name, each in (("a", checkpoint), ("b", turned)):
        save_checkpoint(tmp_path / name, each)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_version_1_is_still_read_and_still_written(tmp_path):
    """Fails when the format changes without a new version, or when the bytes depend on a hash seed."""
    assert_same(load_checkpoint(VERSION_1), example())
    save_checkpoint(tmp_path / "now.safetensors", example())
    assert (tmp_path / "now.safetensors").read_bytes() == VERSION_1.read_bytes()


def test_other_programs_read_it():
    from safetensors import safe_open

    with safe_open(VERSION_1, framework="np") as file:
        assert set(file.keys()) == set(example().tensors)
        assert np.array_equal(file.get_tensor("index"), [3, 1, 2])


def test_the_header_says_everything_but_the_weights():
    header = read_header(VERSION_1)
    checkpoint = example()
    assert (header.backbone, header.config, header.card) == (
        checkpoint.backbone,
        checkpoint.config,
        checkpoint.card,
    )
    assert header.reference_energies == checkpoint.reference_energies
    assert {name: entry.shape for name, entry in header.tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()
    }
    assert header.size == VERSION_1.stat().st_size


def test_reading_a_header_imports_neither_torch_nor_numpy():
    program = (
        "import sys; from halocline.checkpoint import read_header; read_header(sys.argv[1]);"
        "assert not {'torch', 'numpy', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(VERSION_1)], check=True, timeout=60)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tensors": {"w": torch.tensor([1.0, float("nan")])}}, "'w'"),
        ({"tensors": {"w": torch.tensor([float("-inf")])}}, "'w'"),
        ({"tensors": {"../w": torch.zeros(1)}}, "'../w'"),
        ({"tensors": {"w": torch.zeros(1, dtype=torch.complex64)}}, "complex64"),
        ({"config": {"cutoff": float("nan")}}, "JSON"),
        ({"config": {1: "a"}}, "key 1"),
        ({"config": {"f": print}}, "JSON"),
        ({"card": {"license": {}}}, "'licence'"),
        ({"card": {"citation": "one"}}, "'citation'"),
        ({"reference_energies": {"H": float("inf")}}, "JSON"),
        ({"reference_energies": {"hydrogen": 0.0}}, "'hydrogen'"),
        ({"backbone": ""}, "backbone"),
        ({"card": {"notes": "x" * 2**20}}, "limit"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path, change, named):
    with pytest.raises(CheckpointError, match=named):
        save_checkpoint(tmp_path / "a.safetensors", dataclasses.replace(example(), **change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_leaves_no_litter(tmp_path, monkeypatch, fails):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, example())
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if fails == "fsync" else (Path, "replace")), full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(path, dataclasses.replace(example(), backbone="other"))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        save_checkpoint(tmp_path / "no" / "a.safetensors", example())
