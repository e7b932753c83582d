"""Random numbers that follow from a seed, a step and an atom, and from nothing that was drawn before.

Whoever holds an atom draws the same numbers for it, so a trajectory does not depend on how atoms are spread over
ranks, and a restart has no state to restore.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Of Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011), section 3.
_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10

_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)

#: Bits of a float64 in (0, 1) beyond which a word of 64 has more.
_SPARE: Final = np.uint64(11)

#: Steps have 48 bits of a counter; the 16 above number the words that one atom gets at one step.
_STEP_BITS: Final = 48

#: Of the second word of the key of numbers that all ranks draw alike, so that no atom gets the same.
_COMMON: Final = 1


def philox(counters: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """The generator Philox4x32-10.

    Args:
        counters: (4, n), of 32 bits each.
        key: two numbers of 32 bits.

    Returns:
        (4, n), random numbers of 32 bits each.
    """
    first, second, third, fourth = counters
    for number in range(_ROUNDS):
        one, other = (
            np.uint64((word + number * step) & 0xFFFFFFFF) for word, step in zip(key, _WEYL, strict=True)
        )
        left, right = first * _MULTIPLIERS[0], third * _MULTIPLIERS[1]
        first, second = (right >> _HALF) ^ second ^ one, right & _LOW
        third, fourth = (left >> _HALF) ^ fourth ^ other, left & _LOW
    return np.stack([first, second, third, fourth])


def normals(seed: int, step: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Three normal deviates for each atom, by Box and Muller, Ann. Math. Stat. 29, 610 (1958).

    Args:
        seed: of the run, at least 0.
        step: number of the step, from 0 to 2^48.
        ids: (n,) int64, of the atoms; an atom's numbers are the same whichever others are asked for.

    Returns:
        (n, 3) float64, with a mean of 0 and a variance of 1.
    """
    low, high = np.random.SeedSequence(seed).generate_state(2, np.uint32)
    of_atoms = ids.astype(np.uint64)
    words = [_words(of_atoms, step, block, (int(low), int(high))) for block in range(2)]
    radii = np.sqrt(-2.0 * np.log(np.stack([each[0] for each in words])))
    angles = 2.0 * np.pi * np.stack([each[1] for each in words])
    return np.stack([radii[0] * np.cos(angles[0]), radii[0] * np.sin(angles[0]), radii[1] * np.cos(angles[1])], -1)


def common_noise(seed: int, step: int, degrees: float) -> tuple[float, float]:
    """What the whole system draws at a step: a normal deviate, and one of chi-squared.

    Args:
        seed: of the run, at least 0.
        step: number of the step.
        degrees: of freedom of chi-squared, above 0.
    """
    key = np.random.SeedSequence((seed, _COMMON)).generate_state(2, np.uint64)
    rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, step, 0]))
    return float(rng.standard_normal()), float(2.0 * rng.standard_gamma(0.5 * degrees))


def _words(
    ids: NDArray[np.uint64], step: int, block: int, key: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two uniform numbers (n,) between 0 and 1, neither included."""
    at = block << _STEP_BITS | step
    counters = np.empty((4, len(ids)), np.uint64)
    counters[0], counters[1] = ids & _LOW, ids >> _HALF
    counters[2], counters[3] = at & 0xFFFFFFFF, at >> 32
    drawn = philox(counters, key)
    return _uniform(drawn[0], drawn[1]), _uniform(drawn[2], drawn[3])


def _uniform(low: NDArray[np.uint64], high: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The middles of 2^53 equal intervals between 0 and 1, the last of which rounds to 1 and is the one before."""
    places = ((high << _HALF | low) >> _SPARE).astype(np.float64)
    return np.minimum((places + 0.5) * 2.0**-53, 1.0 - 2.0**-53)
