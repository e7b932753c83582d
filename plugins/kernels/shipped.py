"""Compile what a wheel carries for machines without a compiler; ``hatch_build.py`` calls this as a program.

    python -m halocline.plugins.kernels.shipped FOLDER [NAME ...]

Sources that are the same for all models, and those that are generated for the commonest layers of MACE.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from halocline.doctor.native import load_lanes
from halocline.errors import UsageError
from halocline.graph.compiled import load_steps
from halocline.native.libraries import Asked, recorded
from halocline.native.prebuilt import prebuild
from halocline.plugins import fused
from halocline.plugins.equivariance import natural_irreps
from halocline.plugins.fused import contraction
from halocline.plugins.fused.density import FusedDensity
from halocline.plugins.fused.operators import SUFFIX, compiled
from halocline.plugins.fused.polynomials import Shape
from halocline.plugins.fused.product import FusedProduct

#: Of layers of MACE: channels, degree of harmonics, order of the contraction, degrees of hidden features.
CHANNELS: Final = 128
MAX_DEGREE: Final = 3
ORDER: Final = 3
HIDDEN_DEGREES: Final = (0, 1)

#: Functions that messages of first layers come down to: of tables, and the hidden units of networks.
TABULATED_FUNCTIONS: Final = (16, 32, 48, 64)
HIDDEN_UNITS: Final = 64


def asked_libraries() -> list[Asked]:
    """Everything that is shipped, as `halocline.native.library` is asked for it; nothing is compiled."""
    with recorded() as asked:
        load_lanes()
        load_steps()
        for path in sorted(Path(fused.__file__).parent.glob("*.cpp")):
            compiled(path.stem)
        between = natural_irreps(MAX_DEGREE)
        for dtype, degree in itertools.product(SUFFIX, HIDDEN_DEGREES):
            contraction.compiled(Shape(MAX_DEGREE, degree, ORDER), dtype)
            product = FusedProduct(natural_irreps(degree), between, between, CHANNELS)
            for tabulated in (False, True):
                product.prepare(dtype, tabulated=tabulated)
        for dtype in SUFFIX:
            FusedDensity(MAX_DEGREE, HIDDEN_UNITS).prepare(dtype, tabulated=False)
            for functions in TABULATED_FUNCTIONS:
                FusedDensity(MAX_DEGREE, functions).prepare(dtype, tabulated=True)
    return asked


def main(arguments: Sequence[str]) -> int:
    """Compile into a folder what has one of the names, or everything.

    Raises:
        HaloclineError: a name is none, or there is no compiler that compiles for these processors.
    """
    folder, *names = arguments
    asked = asked_libraries()
    unknown = set(names) - {each.name for each in asked}
    if unknown:
        raise UsageError(f"Nothing that is shipped is called {', '.join(sorted(unknown))}.")
    chosen = [each for each in asked if not names or each.name in names]
    print(f"{prebuild(chosen, Path(folder))} libraries compiled.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
