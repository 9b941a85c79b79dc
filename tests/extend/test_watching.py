"""Decisions on made curves: spikes, plateaus, forgetting, and the errors of means they stand on."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.pretrain.watching import (
    BlockLosses,
    Forgetting,
    Measured,
    SpikeRule,
    SpikeWatch,
    forgetting_between,
    forgotten_in,
    mean_of,
    plateau_in,
    spike_in,
)


def falling(steps: int, *, seed: int = 0, noise: float = 0.05) -> list[float]:
    """A loss curve: a fast fall, a slow one, and noise."""
    draw = np.random.default_rng(seed)
    return [3 + 4 * math.exp(-step / 60) + noise * float(draw.standard_normal()) for step in range(steps)]


def spikes_of(losses: list[float], **rule: float) -> list[int]:
    watch = SpikeWatch(rule=SpikeRule(**rule) if rule else None)  # type: ignore[arg-type]
    return [step for step, loss in enumerate(losses, 1) if watch.add(step, loss)]


@pytest.mark.parametrize("seed", range(20))
def test_a_falling_curve_with_noise_has_no_spike(seed: int) -> None:
    assert spikes_of(falling(1000, seed=seed)) == []


def test_a_jump_is_a_spike_once_and_says_what_it_was_measured_by() -> None:
    losses = falling(500)
    losses[399] += 2.0
    watch = SpikeWatch()
    found = [spike for step, loss in enumerate(losses, 1) if (spike := watch.add(step, loss))]
    (spike,) = found
    before = losses[271:399]
    assert (spike.step, spike.loss, spike.seen) == (400, losses[399], 128)
    assert spike.mean == pytest.approx(statistics.fmean(before))
    assert spike.deviation == pytest.approx(statistics.stdev(before))
    assert "step 400" in spike.told()
    assert f"{spike.mean:.3f}" in spike.told()


def test_nothing_is_judged_before_the_window_is_full() -> None:
    assert spikes_of([1.0, 1.1] * 63 + [1.0, 50.0]) == []  # 127 seen
    assert spikes_of([1.0, 1.1] * 64 + [50.0]) == [129]


@pytest.mark.parametrize("height", [2.0, 3.0, 100.0])
def test_a_fall_is_no_spike_and_a_lasting_new_level_is_one_for_four_steps_at_most(height: float) -> None:
    level = falling(300)[150:]
    assert spikes_of([*level, 0.01]) == []
    found = spikes_of([*level, *(loss + height for loss in level)])
    assert found == [len(level) + 1 + number for number in range(len(found))]
    assert 1 <= len(found) <= 4


def test_the_bound_is_six_deviations_above_the_mean() -> None:
    before = [1.0, 3.0] * 64
    bound = statistics.fmean(before) + 6 * statistics.stdev(before)
    assert spike_in(before, bound - 1e-9, step=129, rule=SpikeRule()) is None
    assert spike_in(before, bound + 1e-9, step=129, rule=SpikeRule()) is not None


def test_what_is_not_finite_is_no_spike_and_leaves_the_window_alone() -> None:
    watch = SpikeWatch([1.0, 1.1] * 64)
    before = watch.losses
    assert watch.add(129, math.nan) is None
    assert watch.add(130, math.inf) is None
    assert watch.losses == before


def test_a_resumed_watch_judges_as_if_it_had_never_stopped() -> None:
    losses = falling(400)
    losses[300] += 2.0
    straight, first = SpikeWatch(), SpikeWatch()
    whole = [straight.add(step, loss) for step, loss in enumerate(losses, 1)]
    head = [first.add(step, loss) for step, loss in enumerate(losses[:250], 1)]
    second = SpikeWatch(first.losses)
    tail = [second.add(step, loss) for step, loss in enumerate(losses[250:], 251)]
    assert head + tail == whole
    assert second.losses == straight.losses


def at(*losses: float, error: float = 0.02) -> list[tuple[int, Measured]]:
    return [(100 * number, Measured(loss, error, 10, 100)) for number, loss in enumerate(losses)]


def test_a_plateau_is_so_many_evaluations_without_gain() -> None:
    history = at(5.0, 4.0, 3.99, 4.01, 3.985)
    assert plateau_in(history, patience=4) is None
    plateau = plateau_in(history, patience=3)
    assert plateau is not None
    assert (plateau.step, plateau.best, plateau.evaluations, plateau.loss) == (100, 4.0, 3, 3.985)
    assert "step 100" in plateau.told()


def test_a_slow_gain_adds_up_and_is_no_plateau() -> None:
    slow = [4.0 - 0.011 * number for number in range(40)]
    assert plateau_in(at(*slow), patience=3) is None
    assert plateau_in(at(*slow, error=1.0), patience=3) is not None


def test_patience_of_nothing_never_ends_a_run() -> None:
    assert plateau_in(at(*[4.0] * 50), patience=0) is None
    assert plateau_in([], patience=3) is None


def blocks(sums: list[float], counts: list[int]) -> BlockLosses:
    return BlockLosses(np.array(sums), np.array(counts, dtype=np.int64))


def test_the_mean_is_over_predictions_and_its_error_over_blocks() -> None:
    measured = blocks([6.0, 9.0, 0.0, 12.0], [2, 3, 0, 4]).measured()
    assert measured == Measured(3.0, 0.0, 3, 9)
    assert blocks([0.0], [0]).measured() is None
    single = blocks([6.0], [2]).measured()
    assert single is not None
    assert single.standard_error is None
    assert single.perplexity == pytest.approx(math.exp(3.0))


def test_with_equal_counts_the_error_is_that_of_a_mean() -> None:
    means = [2.0, 2.5, 3.5, 1.0, 2.2]
    measured = blocks([4 * mean for mean in means], [4] * 5).measured()
    assert measured is not None
    assert measured.standard_error == pytest.approx(statistics.stdev(means) / math.sqrt(5))


def test_the_error_says_how_far_the_mean_strays() -> None:
    """Over many draws of unequal blocks the truth is within two errors of the loss 95 times of 100."""
    draw, inside = np.random.default_rng(3), 0
    for _ in range(400):
        counts = draw.integers(5, 30, size=120)
        level = 3.0 + draw.standard_normal(120) * 0.4
        sums = np.array(
            [draw.normal(mean, 1.5, size=count).sum() for mean, count in zip(level, counts, strict=True)]
        )
        measured = BlockLosses(sums, counts).measured()
        assert measured is not None
        assert measured.standard_error is not None
        inside += abs(measured.loss - 3.0) < 1.96 * measured.standard_error
    assert 0.91 <= inside / 400 <= 0.985


def test_forgetting_is_paired_so_its_error_is_far_below_those_of_the_losses() -> None:
    draw = np.random.default_rng(0)
    counts = draw.integers(10, 20, size=200)
    sums = counts * draw.normal(3.0, 1.0, size=200)
    before = BlockLosses(sums, counts)
    now = BlockLosses(sums + counts * draw.normal(0.1, 0.05, size=200), counts)
    change = forgetting_between(before, now)
    first = before.measured()
    assert change is not None
    assert first is not None
    assert change.change == pytest.approx(change.now - change.before)
    assert change.change == pytest.approx(0.1, abs=0.02)
    assert change.standard_error is not None
    assert first.standard_error is not None
    assert change.standard_error < first.standard_error / 10


def test_different_predictions_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different predictions"):
        forgetting_between(blocks([1.0], [2]), blocks([1.0], [3]))
    assert forgetting_between(blocks([0.0], [0]), blocks([0.0], [0])) is None


def test_the_language_that_lost_most_ends_the_run_when_it_lost_too_much() -> None:
    changes = {
        "en": Forgetting(3.0, 3.2, 0.2, 0.01),
        "ka": Forgetting(2.0, 2.6, 0.6, None),
        "ru": Forgetting(2.0, 1.9, -0.1, 0.01),
    }
    assert forgotten_in(changes, limit=None) is None
    assert forgotten_in(changes, limit=0.6) is None
    assert forgotten_in({}, limit=0.1) is None
    found = forgotten_in(changes, limit=0.1)
    assert found is not None
    assert (found.language, found.limit) == ("ka", 0.1)
    assert "2.0000 before, 2.6000 now" in found.told()


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 1)), min_size=1, max_size=6))
def test_languages_count_alike_and_their_errors_add_in_squares(pairs: list[tuple[float, float]]) -> None:
    mean = mean_of([Measured(loss, error, 3, 7) for loss, error in pairs])
    assert mean is not None
    assert mean.loss == pytest.approx(statistics.fmean(loss for loss, _ in pairs))
    assert mean.standard_error == pytest.approx(math.hypot(*(error for _, error in pairs)) / len(pairs))
    assert mean.predictions == 7 * len(pairs)
    assert mean_of([]) is None
