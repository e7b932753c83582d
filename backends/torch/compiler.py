"""What both ways of compiling share: the compiler must be there, sizes stay free, and results stay the same."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.fx.experimental import _config as symbolic_shapes

from halocline.backends.torch.reads import reads_after_writes
from halocline.backends.torch.samples import samples
from halocline.cache import own_cache
from halocline.errors import ArtefactError, UsageError
from halocline.lowering import Program
from halocline.lowering.check import deviation
from halocline.native.compiler import find_compiler
from halocline.ownership import make_own_folder
from halocline.program import Precision

#: Environment variables by which hosts choose where torch keeps kernels; torch itself sets the first one.
KERNELS: Final = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")

#: Largest difference from the graph as lowered, by the largest value: compilers fuse and reorder, no more.
AGREEMENT: Final = {Precision.FLOAT64: 1e-10, Precision.FLOAT32: 1e-5}


def compiler_options() -> dict[str, Any]:
    """What programs are compiled with.

    Kernels ask how many threads there are when they run: what was compiled on one core may run on many, and a host
    that wants one gets one. Nothing is fused past the sums that it reads.
    """
    return {"cpp.dynamic_threads": True, "_pre_fusion_custom_pass": reads_after_writes()}


def require_compiler() -> None:
    """Make sure that there is a C++ compiler.

    Raises:
        UsageError: there is none.
    """
    if find_compiler() is None:
        raise UsageError(
            "Compiling programs needs a C++ compiler, and there is none here: install g++, name yours in the "
            "environment variable CXX, or use compile=none."
        )


def keep_kernels_private() -> None:
    """Have torch keep the kernels that it compiles where only the user can write.

    It runs what it finds there. By itself it would take a folder in the system's place for temporary files, whose
    name anyone can foresee and another user can have made.

    Raises:
        ArtefactError: there is no such folder, or the host's own choice is none.
    """
    try:
        for variable in KERNELS:
            if variable in os.environ:
                make_own_folder(Path(os.environ[variable]), link=True)
        os.environ.setdefault(KERNELS[0], str(own_cache("inductor")))
    except OSError as error:
        raise ArtefactError(
            f"torch cannot keep what it compiles: {error.strerror or error}. HALOCLINE_CACHE_DIR names another "
            f"folder, unless {' or '.join(KERNELS)} does."
        ) from error


@contextmanager
def free_sizes() -> Iterator[None]:
    """Within this, what torch records holds for all sizes: 0 and 1 are like the others, and so are equal ones."""
    with symbolic_shapes.patch(use_duck_shape=False, backed_size_oblivious=True):  # type: ignore[attr-defined]
        yield


@contextmanager
def torch_warns_itself() -> Iterator[None]:
    """Within this, two warnings are not shown by which torch's compiler tells torch to use its newer parts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script_method` is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        yield


def require_agreement(program: Program, run: Callable[..., Sequence[Tensor]], device: str) -> None:
    """Hold a compiled program against the graph that it was made from.

    Raises:
        ArtefactError: it does not run, or its results differ.
    """
    name, largest = program.manifest.backbone, AGREEMENT[program.manifest.precision]
    for case, inputs in samples(program.manifest).items():
        try:
            outputs = run(*(tensor.to(device) for tensor in inputs))
        except RuntimeError as error:
            raise ArtefactError(f"The compiled program of {name!r} does not run on {case}: {error}") from error
        if not all(deviation(*pair) <= largest for pair in zip(outputs, program(*inputs), strict=True)):
            raise ArtefactError(
                f"torch {torch.__version__} compiles the program of {name!r} wrongly: results on {case} differ by "
                f"more than {largest:g} of the largest value. Use compile=none."
            )
