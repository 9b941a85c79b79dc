"""Almost stochastic order: the integral of step functions against a fine grid, and the laws it keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.score import dominance, violation_bound
from ner.score.dominance import _violations

SCORES = st.lists(st.integers(0, 1000).map(lambda tenths: tenths / 10), min_size=1, max_size=7)


def quantile(scores: list[float], share: float) -> float:
    """The smallest score that at least `share` of the scores are no larger than."""
    return next(one for one in sorted(scores) if sum(s <= one for s in scores) >= share * len(scores) - 1e-9)


@given(SCORES, SCORES)
def test_the_violation_ratio_is_the_integral_over_a_fine_grid(
    first: list[float], second: list[float]
) -> None:
    steps = 2 * 3 * 4 * 5 * 7  # every step of either quantile function falls on it
    middles = [(place + 0.5) / steps for place in range(steps)]
    gaps = np.array([quantile(first, share) - quantile(second, share) for share in middles])
    found = _violations(np.array([first]), np.array([second]))[0]
    if not gaps.any():
        assert np.isnan(found)
    else:
        assert found == pytest.approx((gaps[gaps < 0] ** 2).sum() / (gaps**2).sum(), abs=1e-12)


@given(
    st.lists(st.floats(0, 50), min_size=5, max_size=8), st.lists(st.floats(50.5, 100), min_size=5, max_size=8)
)
def test_every_seed_better_than_every_other_leaves_nothing_violated(
    low: list[float], high: list[float]
) -> None:
    assert violation_bound(high, low, seed=1) == 0.0
    assert violation_bound(low, high, seed=1) == 1.0
    assert dominance(low, high, seed=1) == dominance(high, low, seed=1) == 0.0


@given(st.permutations([60.0, 61.5, 63.0, 61.0, 59.0]))
def test_the_order_of_seeds_is_nothing(scores: list[float]) -> None:
    other = [60.5, 58.0, 62.0, 57.0, 61.0]
    found = _violations(np.array([scores]), np.array([other]))
    assert found == _violations(np.array([sorted(scores)]), np.array([other]))


def test_few_scores_say_nothing_and_equal_ones_claim_nothing() -> None:
    assert violation_bound([8.0], [5, 5, 8, 7, 8], seed=1) is None
    assert violation_bound([1.0] * 4, [2.0] * 9, seed=1) is None
    assert violation_bound([7.0] * 5, [7.0] * 5, seed=1) == 1.0


def test_more_comparisons_are_harder_to_win() -> None:
    scores, other = [61.0, 63.0, 62.5, 60.0, 64.0], [60.5, 62.0, 61.0, 59.0, 62.5]
    bounds = [violation_bound(scores, other, seed=3, comparisons=count) for count in (1, 5, 20)]
    assert all(bound is not None for bound in bounds)
    assert bounds == sorted(bounds)  # type: ignore[type-var]
    assert 0 < bounds[0] < bounds[2] <= 1  # type: ignore[operator]
