"""Almost stochastic order of two sets of scores, one a seed: which system is better whatever the seed.

Dror, Shlomov and Reichart 2019 ("Deep Dominance"), after del Barrio, Cuesta-Albertos and Matran 2018.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

FEWEST = 5
"""Scores a side under which nothing is said: with one or three the test is far too sure of itself."""
REPLICATES = 1000
LEVEL = 0.05

Floats = npt.NDArray[np.float64]


def violation_bound(
    better: Sequence[float], worse: Sequence[float], *, seed: int, comparisons: int = 1
) -> float | None:
    """How much of stochastic dominance of `better` over `worse` may be violated: 0 not at all, 1 wholly.

    The upper 95 % bound of the violation ratio, Dror et al.'s epsilon-min: under 0.5 `better` is the better
    one, and the nearer to 0 the surer (Ulmer et al. 2022 advise 0.2). `comparisons` corrects the level for so
    many of them (Bonferroni). None with fewer than `FEWEST` scores on a side; 1 where both are the same.
    """
    if min(len(better), len(worse)) < FEWEST:
        return None
    first, second = (np.asarray(scores, dtype=np.float64) for scores in (better, worse))
    found = float(_violations(first[None], second[None])[0])
    if math.isnan(found):
        return 1.0
    draws = np.random.default_rng(seed)
    again = [one[draws.integers(len(one), size=(REPLICATES, len(one)))] for one in (first, second)]
    drawn = _violations(*again)
    spread = float(np.std(np.where(np.isnan(drawn), 0.5, drawn)))
    bound = found + spread * NormalDist().inv_cdf(1 - LEVEL / comparisons)
    return min(1.0, max(0.0, bound))


def dominance(
    first: Sequence[float], second: Sequence[float], *, seed: int, comparisons: int = 1
) -> float | None:
    """`violation_bound` of the side with the higher mean over the other, to four digits."""
    lower, higher = sorted((first, second), key=lambda scores: sum(scores) / len(scores))
    bound = violation_bound(higher, lower, seed=seed, comparisons=comparisons)
    return None if bound is None else round(bound, 4)


def _violations(first: Floats, second: Floats) -> Floats:
    """The share of the squared distance between quantiles where `first` is the lower, a row each.

    Quantile functions of samples are steps, so that the integral is a sum. NaN where they are the same.
    """
    edges = np.union1d(_grid(first.shape[1], second.shape[1]), _grid(second.shape[1], first.shape[1]))
    widths = np.diff(edges)
    quantiles = [
        np.sort(scores, axis=1)[:, edges[:-1] // other]
        for scores, other in ((first, second.shape[1]), (second, first.shape[1]))
    ]
    gaps = quantiles[0] - quantiles[1]
    squares = gaps**2 * widths
    whole = squares.sum(axis=1)
    with np.errstate(invalid="ignore"):
        shares: Floats = np.where(gaps < 0, squares, 0.0).sum(axis=1) / whole
    return shares


def _grid(count: int, other: int) -> npt.NDArray[np.int64]:
    """Where the quantile function of `count` scores steps, in units of 1 / (count * other)."""
    return np.arange(count + 1, dtype=np.int64) * other
