"""A fit to a packed file takes memory that hardly grows with the number of its frames."""

import subprocess
import sys

import numpy as np
import pytest

from halocline.structures.packed import PackedWriter, Row

pytest.importorskip("pyarrow", reason="packed files are read by pyarrow, of the extra `data`")

RECIPE = """
[data]
train_files = ["frames.arrow"]

[model]
backbone = "schnet"
[model.config]
features = 4
gaussians = 4
layers = 1
cutoff = 3.0

[training]
epochs = 1
batch_size = 500
forces_weight = 0.0

[log]
plots = false
"""

#: Trains in a process of its own; prints its high-water mark in bytes.
TRAINING = """
import torch
torch.set_num_threads(1)
from halocline.bench.memory import peak_memory
from halocline.cli.main import main
assert main(["train", "recipe.toml", "-o", "run", "--device", "cpu"]) == 0
print(peak_memory("cpu"))
"""

FEW, MANY = 1_000, 20_000

#: Bytes of a frame that may stay beside its row, whose pages count as memory where they were read: what tells
#: duplicates, its number in the split, its place in an epoch. 450 were measured with 100,000 frames; where frames
#: are kept with their graphs it is 3200, measured with 20,000.
LEFT = 800


def pack(path, count):
    """Bent molecules, no two alike, with energies."""
    random = np.random.default_rng(0)
    writer = PackedWriter(path, {})
    shape, numbers = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), np.array([8, 1, 1])
    for _ in range(count):
        positions = shape + random.normal(scale=0.1, size=(3, 3))
        writer.add(Row(numbers, positions, None, (False,) * 3, float(np.sin(positions).sum()), None, None, {}))
    writer.close()


def peak(folder, count):
    """Of a fit to so many frames, and the size of their file, in bytes."""
    folder.mkdir()
    pack(folder / "frames.arrow", count)
    (folder / "recipe.toml").write_text(RECIPE)
    command = [sys.executable, "-c", TRAINING]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=3600)
    return int(done.stdout.split()[-1]), (folder / "frames.arrow").stat().st_size


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(3600)  # more than a minute of a processor that has nothing else to do
def test_memory_does_not_grow_with_frames_and_graphs(tmp_path):
    few, _ = peak(tmp_path / "few", FEW)
    many, size = peak(tmp_path / "many", MANY)
    assert many - few <= size + LEFT * MANY
