"""How equal is equal, and why.

All checks but ``float32`` compute in float64 (ε = 2e-16). Sums over some hundred messages, four layers deep, lose
two to four digits of that. Tolerances are multiplied by a scale that cannot vanish: see `comparison`.
"""

from __future__ import annotations

from typing import Final

#: Energies of the same structure told differently (rotated, permuted, in parts), eV per eV of scale.
#: Measured: 1e-15 to 1e-13.
ENERGY: Final = 1e-10

#: Forces likewise, eV/Å per eV/Å of scale.
FORCE: Final = 1e-10

#: Virials likewise, eV per eV of scale; with volumes of 10 Å³ and more, stresses agree to 1e-12 eV/Å³ or so.
VIRIAL: Final = 1e-10

#: Steps of finite differences: displacements in Å, strains, relative changes of parameters.
#: Truncation falls as h⁴ after one extrapolation and rounding grows as ε/h: both stay below 1e-10 here.
STEP: Final = 1e-3
STRAIN_STEP: Final = 1e-4
PARAMETER_STEP: Final = 1e-4

#: Plain central differences at h = 1e-3 Å miss by h² f'''/6: 1e-5 allows f''' = 60 eV/Å⁴ for each eV/Å of force.
PLAIN_DIFFERENCE: Final = 1e-5

#: After extrapolation, what falls as h² is gone and what does not – a wrong force – remains.
DIFFERENCE: Final = 1e-7

#: Losses by parameters, relative: thousands of parameters move at once, along a direction of that length.
PARAMETER_DIFFERENCE: Final = 1e-6

#: Stress by strain, eV/Å³ per eV/Å³ of scale.
STRESS_DIFFERENCE: Final = 1e-9

#: A pair crosses the cutoff by this much, Å; one-sided limits are extrapolated from one and two such steps.
CROSSING: Final = 1e-5

#: Limits from both sides. Curvature leaves 2 h² f'' behind: 1e-7 for f'' = 500, and a jump of 1e-6 is seen.
JUMP: Final = 1e-6

#: Samples for finite differences keep every pair this far (Å) from the cutoff, where second derivatives may jump.
CLEARANCE: Final = 4e-3

#: Float32 against float64: relative to the largest force, plus a floor (eV/Å); energies relative to their scale.
FLOAT32_FORCE: Final = 1e-5
FLOAT32_FORCE_FLOOR: Final = 1e-6
FLOAT32_ENERGY: Final = 1e-6

#: Single stages against their definition in the same precision, relative to the largest value: the same operations
#: on the same numbers, with sums in another order. Measured: up to 1e-15 and 5e-7. The largest value counts as the
#: floor at least, for values that cancel.
STAGE: Final = 1e-12
FLOAT32_STAGE: Final = 1e-5
STAGE_FLOOR: Final = 1e-3
