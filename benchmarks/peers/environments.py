"""Make an environment for each peer, with the versions that comparisons are made with.

    python -m peers.environments [--folder FOLDER] [--peers mace-torch symmetrix-xl ...] [--python PYTHON]

Each is a venv FOLDER/PEER, by default in Halocline's folder for caches; one that is complete is left as it is. A
peer that cannot be had on this machine is left out, and a line on standard error says why.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from halocline.cache import find_cache


@final
@dataclass(frozen=True, slots=True)
class Environment:
    """What a peer needs.

    Attributes:
        packages: for pip, with versions.
        alone: installed after them and without what they ask for.
        needs_gpu: has nothing to run on a CPU.
    """

    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()
    needs_gpu: bool = False


#: The version of torch that every peer gets, so that none is compared by an older one's speed.
TORCH: Final = "torch==2.13.0"

MACE: Final = ("mace-torch==0.3.16", "e3nn==0.4.4", "matscipy==1.3.1")

#: What SchNetPack imports beside torch.
_OF_SCHNETPACK: Final = (
    "numpy ase h5py pyyaml hydra-core pytorch-lightning torchmetrics fasteners dirsync torch-ema tensorboard "
    "tensorboardX tqdm"
)

ENVIRONMENTS: Final = {
    "mace-torch": Environment((TORCH, *MACE)),
    # With mace-torch beside it, which its converter reads models with.
    "symmetrix-xl": Environment((TORCH, *MACE, "symmetrix-xl==0.1.1")),
    "matgl": Environment((TORCH, "matgl==4.1.2")),
    # It asks for sympy<=1.12 and so for a torch of 2024; inference uses no sympy, and runs on today's torch.
    "schnetpack": Environment(
        (TORCH, "matscipy==1.3.1", *_OF_SCHNETPACK.split()),
        alone=("schnetpack==2.1.1",),
    ),
    "cuequivariance": Environment(
        (TORCH, *MACE, "cuequivariance-torch==0.13.0", "cuequivariance-ops-torch-cu13==0.13.0"),
        needs_gpu=True,
    ),
    "openequivariance": Environment((TORCH, *MACE, "openequivariance==0.7.0"), needs_gpu=True),
}


def main(given: Sequence[str] | None = None) -> int:
    """Make those that are not there; the exit status tells whether all that can be here are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_folder(parser, "--folder")
    parser.add_argument("--peers", nargs="+", choices=ENVIRONMENTS, default=tuple(ENVIRONMENTS))
    parser.add_argument("--python", default=sys.executable, help="interpreter to make them with")
    arguments = parser.parse_args(given)
    failed = False
    for peer in arguments.peers:
        environment, folder = ENVIRONMENTS[peer], arguments.folder / peer
        if environment.needs_gpu and not has_gpu():
            print(f"{peer} is left out: it runs on GPUs only, and this machine has none.", file=sys.stderr)
            continue
        try:
            if not is_complete(folder, environment):
                make(folder, environment, arguments.python)
            print(f"{peer} {interpreter(folder)}", flush=True)
        except subprocess.CalledProcessError as error:
            print(f"{peer} could not be installed: pip left with {error.returncode}.", file=sys.stderr)
            failed = True
    return int(failed)


def add_folder(parser: argparse.ArgumentParser, option: str) -> None:
    """Add the option that names the folder of all environments."""
    cache = find_cache()
    parser.add_argument(
        option,
        type=Path,
        metavar="FOLDER",
        default=cache and cache / "peers" / "environments",
        required=cache is None,
        help="of all environments [%(default)s]",
    )


def make(folder: Path, environment: Environment, python: str) -> None:
    """Install a peer in a venv, in the place of what is there.

    Raises:
        CalledProcessError: its packages cannot be had.
    """
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pip = [str(interpreter(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *environment.packages], check=True)
    if environment.alone:
        subprocess.run([*pip, "--no-deps", *environment.alone], check=True)


def is_complete(folder: Path, environment: Environment) -> bool:
    """Whether a peer is there in the versions that are asked for."""
    asked = [each.split("==") for each in (*environment.packages, *environment.alone) if "==" in each]
    program = "import sys, importlib.metadata as m; [print(m.version(name)) for name in sys.argv[1:]]"
    if not interpreter(folder).exists():
        return False
    told = subprocess.run(
        [interpreter(folder), "-c", program, *(name for name, _ in asked)], capture_output=True, text=True
    )
    found = [version.partition("+")[0] for version in told.stdout.split()]  # without +cpu
    return found == [version for _, version in asked]


def interpreter(folder: Path) -> Path:
    """Of a venv."""
    return folder / "bin" / "python"


def has_gpu() -> bool:
    """Whether NVIDIA's driver sees one."""
    command = shutil.which("nvidia-smi")
    return command is not None and not subprocess.run([command, "-L"], capture_output=True).returncode


if __name__ == "__main__":
    sys.exit(main())
