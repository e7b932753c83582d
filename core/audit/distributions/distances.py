"""How far two distributions are from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy, wasserstein_distance

#: Parts of the range in which either of two distributions has values, for divergences.
PARTS: Final = 50

#: What is added to the count of each part before the divergence of Kullback and Leibler is taken (the prior of
#: Jeffreys): one value in the tail of a sample, where the other has none, would make it infinite.
PRIOR: Final = 0.5


@final
@dataclass(frozen=True, slots=True)
class Distances:
    """How far a distribution p is from one of reference, q. All are zero where the two are the same.

    Attributes:
        kullback_leibler: Σ p ln(p/q), nats; 0 to infinity.
        jensen_shannon: the mean of those of p and q from (p + q)/2, nats; 0 to ln 2.
        kolmogorov_smirnov: the largest difference of cumulative distributions; 0 to 1.
        wasserstein: the area between cumulative distributions, in the unit of the values: how far values must be
            moved on average to make one of the other.
    """

    kullback_leibler: float
    jensen_shannon: float
    kolmogorov_smirnov: float
    wasserstein: float


def distances_between(
    counts: NDArray[np.int64],
    reference: NDArray[np.int64],
    centres: NDArray[np.float64],
    measure: NDArray[np.float64] | None = None,
) -> Distances:
    """Compare two distributions by their counts in the same narrow bins.

    Kolmogorov and Smirnov's statistic and the first Wasserstein distance are those of the bins, which are narrow:
    the former does not see what differs within a bin, the latter is off by less than a bin. For the divergences
    the bins between the least and the largest value of either are put together into `PARTS` of equal width, or as
    many as there are bins.

    Args:
        counts: (B,) with at least one value, as in the reference.
        reference: (B,).
        centres: (B,) of the bins.
        measure: (B,) by which counts are divided before anything is compared, as by the volumes of shells;
            nothing by default.
    """
    volumes = np.ones(len(centres)) if measure is None else measure
    there = np.flatnonzero(counts + reference)
    window = slice(there[0], there[-1] + 1)
    both = [(each[window], volumes[window]) for each in (counts, reference)]
    p, q = (each / volume / (each / volume).sum() for each, volume in both)
    width = len(p)
    starts = np.linspace(0, width, min(PARTS, width), endpoint=False).astype(np.int64)
    sizes = np.diff(starts, append=width)
    prior = np.repeat(PRIOR / sizes, sizes)
    smooth = [np.add.reduceat((each + prior) / volume, starts) for each, volume in both]
    in_parts = np.stack([np.add.reduceat(each, starts) for each in (p, q)])
    mean = in_parts.mean(axis=0)
    return Distances(
        kullback_leibler=float(entropy(*smooth)),
        jensen_shannon=max(0.0, float(np.mean([entropy(each, mean) for each in in_parts]))),
        kolmogorov_smirnov=float(np.abs(np.cumsum(p - q)).max()),
        wasserstein=float(wasserstein_distance(centres[window], centres[window], p, q)),
    )
