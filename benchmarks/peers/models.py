"""Models that are compared, and the same weights in the format of everybody who runs them."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

import halocline
from halocline.errors import HaloclineError
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.load import build_potential
from halocline.potential.potential import Potential
from halocline.zoo.foreign import read_mace, read_matgl

STEPS: Final = Path(__file__).with_name("steps")

#: Å, of all models with weights from a seed.
CUTOFF: Final = 6.0

#: Of SchNet: Gaussians enter its filters with weights of this standard deviation and leave them doubled, so that
#: filters are no smoother than trained ones; sums over neighbours are divided by about their number, so that
#: energies have a usual size.
GAUSSIANS, SPREAD, NEIGHBOURS = 50, 0.3, 50.0


@final
@dataclass(frozen=True, slots=True)
class Model:
    """A model that somebody else can run as well.

    Attributes:
        backbone: ``schnet``, ``mace`` or ``m3gnet``.
        peers: environments in which it runs, the one that its weights come from first.
        structures: that it is timed on.
        radial: its messages are weighed by functions of distances, which tables can take the place of.
        sizes: what tells it from others of its backbone.
    """

    backbone: str
    peers: tuple[str, ...]
    structures: tuple[str, ...]
    sizes: Mapping[str, int]
    radial: bool = True


_MACE_PEERS: Final = ("mace-torch", "symmetrix-xl", "cuequivariance", "openequivariance")
_ALL: Final = ("silicon", "four-species", "diamond", "copper", "water")

MODELS: Final = {
    "schnet": Model("schnet", ("schnetpack",), _ALL, {"features": 128, "layers": 6}),
    "mace-L0": Model("mace", _MACE_PEERS, _ALL, {"channels": 128, "degree": 0, "layers": 2}),
    "mace-L1": Model("mace", _MACE_PEERS, _ALL, {"channels": 128, "degree": 1, "layers": 2}),
    "m3gnet": Model("m3gnet", ("matgl",), ("magnesia", "silicon", "diamond", "copper", "water"), {}, radial=False),
}


class MissingError(HaloclineError):
    """A file of a model cannot be made here; says why."""


@final
class Files:
    """Files of models, made when they are asked for and kept in a folder.

    A model with weights from a seed knows the elements of its structure and no others: what more would cost those
    who multiply by one-hot vectors of elements is not measured.

    Args:
        folder: to keep them in.
        interpreters: of peers, by name.
        published: the folder of a potential of MatGL; None where there is none.
    """

    def __init__(self, folder: Path, interpreters: Mapping[str, str], published: Path | None) -> None:
        self._folder, self._interpreters, self._published = folder, interpreters, published

    def path(self, model: str, elements: tuple[int, ...], who: str) -> Path:
        """The file, or folder, that a contender loads.

        Args:
            model: its name.
            elements: atomic numbers.
            who: a peer, or ``halocline``.

        Raises:
            MissingError: it cannot be made.
        """
        made = MODELS[model]
        if made.backbone == "m3gnet":
            if self._published is None:
                raise MissingError("no --m3gnet names the folder of a potential of MatGL")
            if who == "matgl":
                return self._published
            return self._kept(self._published.name, (), "safetensors", self._from_matgl)
        if made.backbone == "schnet":
            suffix, make = ("npz", self._for_schnetpack) if who == "schnetpack" else ("safetensors", self._schnet)
        elif who == "symmetrix-xl":
            suffix, make = "json", self._for_symmetrix
        else:
            suffix, make = ("safetensors", self._from_mace) if who == "halocline" else ("model", self._mace)
        return self._kept(model, elements, suffix, make)

    def _kept(
        self,
        model: str,
        elements: tuple[int, ...],
        suffix: str,
        make: Callable[[str, tuple[int, ...], Path], None],
    ) -> Path:
        path = self._folder / f"{'-'.join([model, *(chemical_symbols[z] for z in elements)])}.{suffix}"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_name("partial-" + path.name)
            make(model, elements, partial)
            partial.replace(path)
        return path

    def _schnet(self, model: str, elements: tuple[int, ...], path: Path) -> None:
        schnet(MODELS[model].sizes, elements).save(path)

    def _for_schnetpack(self, model: str, elements: tuple[int, ...], path: Path) -> None:
        ours = halocline.load(self.path(model, elements, "halocline")).backbone
        arrays = {name: tensor.numpy() for name, tensor in ours.state_dict().items()}
        np.savez(path, config=json.dumps(ours.config), **arrays)

    def _mace(self, model: str, elements: tuple[int, ...], path: Path) -> None:
        asked = dict(MODELS[model].sizes) | {"file": str(path), "elements": elements, "cutoff": CUTOFF}
        self._run("mace-torch", str(STEPS / "make_mace.py"), json.dumps(asked))

    def _from_mace(self, model: str, elements: tuple[int, ...], path: Path) -> None:
        foreign = read_mace(self.path(model, elements, "mace-torch"))
        _converted(foreign.dialect, foreign.config, foreign.tensors).save(path)

    def _for_symmetrix(self, model: str, elements: tuple[int, ...], path: Path) -> None:
        theirs = self.path(model, elements, "mace-torch")
        program = "from symmetrix.cli.extract_mace import main; main()"
        self._run("symmetrix-xl", "-c", program, "--model", str(theirs), "--output", str(path))

    def _from_matgl(self, model: str, elements: tuple[int, ...], path: Path) -> None:
        assert self._published is not None
        foreign = read_matgl(self._published)
        _converted("matgl", foreign.config, foreign.tensors).save(path)

    def _run(self, peer: str, *arguments: str) -> None:
        """Run a peer's interpreter.

        Raises:
            MissingError: there is none, or it fails.
        """
        if peer not in self._interpreters:
            raise MissingError(f"{peer}, which the weights come from, has no environment")
        command = [self._interpreters[peer], *arguments]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            last = (ended.stderr.strip() or "nothing was printed").splitlines()[-1]
            raise MissingError(f"{peer} could not make the model's file: {last}")


def schnet(sizes: Mapping[str, int], elements: tuple[int, ...]) -> Potential:
    """Make one of these sizes with weights from a seed."""
    species = [chemical_symbols[z] for z in elements]
    backbone = build_backbone(
        "schnet", dict(sizes) | {"species": species, "gaussians": GAUSSIANS, "cutoff": CUTOFF}
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weights in backbone.named_parameters():
            if name.endswith("filters.hidden.weight"):
                weights.normal_(std=SPREAD, generator=generator)
            elif name.endswith("filters.out.weight"):
                weights.mul_(2.0)
            elif name.endswith("receiver.weight"):
                weights.div_(NEIGHBOURS)
            weights.copy_(weights.float())  # so that everybody has the same
    return Potential(backbone, dict.fromkeys(species, 0.0), {"name": "schnet"})


def _converted(dialect: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> Potential:
    return build_potential(registry().load("converter", dialect)(config, tensors))


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder, names included."""
    found = hashlib.sha256()
    for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if each.is_file():
            found.update(each.name.encode() + each.read_bytes())
    return found.hexdigest()
