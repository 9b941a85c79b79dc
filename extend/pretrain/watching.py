"""When a run should be looked at or ended: a loss jumps, or falls no more, or old text is forgotten.

Decisions only, as pure functions of numbers that were measured elsewhere. Each returns what it saw, or None.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

Sums = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Measured:
    """A mean loss in nats a prediction. `standard_error` is over blocks, None for a single block."""

    loss: float
    standard_error: float | None
    blocks: int
    predictions: int

    @property
    def perplexity(self) -> float:
        """exp(loss), held below what a 64-bit number can say."""
        return math.exp(min(self.loss, 700.0))


@dataclass(frozen=True)
class BlockLosses:
    """Summed losses and numbers of predictions by block: enough to compare two models block by block."""

    sums: Sums
    counts: Counts

    def measured(self) -> Measured | None:
        """The mean over all predictions and its standard error; None when there is no prediction."""
        used = self.counts > 0
        sums, counts = self.sums[used], self.counts[used]
        if not len(sums):
            return None
        loss = float(sums.sum() / counts.sum())
        return Measured(loss, _ratio_error(sums, counts, loss), len(sums), int(counts.sum()))


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Held-out loss of an old language before and now on the same predictions, in nats; `change` is now less
    before, so above 0 is forgotten. `standard_error` is that of the change, over blocks (paired)."""

    before: float
    now: float
    change: float
    standard_error: float | None


def _ratio_error(sums: Sums, counts: Counts, ratio: float) -> float | None:
    """Standard error of sum(sums) / sum(counts) over blocks: the linearised ratio estimator (Cochran 1977,
    Sampling Techniques, equation 6.13 without the finite-population term)."""
    blocks = len(sums)
    if blocks < 2:
        return None
    residuals = sums - ratio * counts
    return float(math.sqrt(blocks / (blocks - 1) * float((residuals**2).sum())) / float(counts.sum()))


def forgetting_between(before: BlockLosses, now: BlockLosses) -> Forgetting | None:
    """What was forgotten between two measurements; None when there is no prediction.

    The error is that of the difference block by block, which is far below the errors of the two losses.
    Raises ValueError when the two did not measure the same predictions.
    """
    if not np.array_equal(before.counts, now.counts):
        raise ValueError("two measurements of different predictions cannot be compared")
    first, second = before.measured(), now.measured()
    difference = BlockLosses(now.sums - before.sums, before.counts).measured()
    if first is None or second is None or difference is None:
        return None
    return Forgetting(first.loss, second.loss, difference.loss, difference.standard_error)


@dataclass(frozen=True, slots=True)
class SpikeRule:
    """A loss is a spike above the mean of the last `window` losses plus `sigmas` standard deviations.

    The rule of OLMo 2 (Team OLMo 2025, arXiv 2501.00656; `SkipStepOptimizer` of OLMo-core, whose defaults
    these are). We differ: a sudden fall is no spike, the gradient norm is clipped and not judged, and nothing
    is judged before `window` losses were seen (there from half of them on). As there, every finite loss
    enters the window, a spike's own too: after four steps a new level, however high, is no spike any more.
    """

    window: int = 128
    sigmas: float = 6.0


@dataclass(frozen=True, slots=True)
class Spike:
    """`loss` at `step` against the mean and the standard deviation of the `seen` losses before it."""

    step: int
    loss: float
    mean: float
    deviation: float
    seen: int

    def told(self) -> str:
        return (
            f"loss {self.loss:.3f} at step {self.step}, where the {self.seen} steps before had "
            f"{self.mean:.3f} with a standard deviation of {self.deviation:.3f}"
        )


def spike_in(losses: Sequence[float], loss: float, *, step: int, rule: SpikeRule) -> Spike | None:
    """Whether `loss` jumps out of the `losses` before it. One that is not finite is another failure."""
    seen = losses[-rule.window :]
    if len(seen) < max(2, rule.window) or not math.isfinite(loss):
        return None
    mean = math.fsum(seen) / len(seen)
    deviation = math.sqrt(math.fsum((one - mean) ** 2 for one in seen) / (len(seen) - 1))
    return Spike(step, loss, mean, deviation, len(seen)) if loss > mean + rule.sigmas * deviation else None


@final
class SpikeWatch:
    """The last losses of a run. `losses` is its whole state: a resumed run gives them back."""

    def __init__(self, losses: Iterable[float] = (), *, rule: SpikeRule | None = None) -> None:
        self.rule = rule or SpikeRule()
        self._losses: deque[float] = deque(losses, maxlen=self.rule.window)

    @property
    def losses(self) -> list[float]:
        return list(self._losses)

    def add(self, step: int, loss: float) -> Spike | None:
        """Judge the loss of `step`, then remember it if it is finite."""
        spike = spike_in(self.losses, loss, step=step, rule=self.rule)
        if math.isfinite(loss):
            self._losses.append(loss)
        return spike


@dataclass(frozen=True, slots=True)
class Plateau:
    """Nothing gained since `best` (its step and loss) in `evaluations` evaluations; the last had `loss`."""

    step: int
    best: float
    evaluations: int
    loss: float

    def told(self) -> str:
        return (
            f"held-out loss no longer falls: {self.best:.4f} at step {self.step}, and in the "
            f"{self.evaluations} evaluations since no gain larger than its standard error "
            f"(last {self.loss:.4f})"
        )


def plateau_in(history: Sequence[tuple[int, Measured]], *, patience: int) -> Plateau | None:
    """Whether the last `patience` evaluations (step, measurement) brought no gain over the best before them.

    A gain is larger than the standard error of the loss that shows it; smaller ones add up, since they are
    reckoned from the best that counted. 0 never ends a run.
    """
    best, since = None, 0
    for step, measured in history:
        error = measured.standard_error or 0.0
        if best is None or best[1].loss - measured.loss > error:
            best, since = (step, measured), 0
        else:
            since += 1
    if best is None or not patience or since < patience:
        return None
    return Plateau(best[0], best[1].loss, since, history[-1][1].loss)


def mean_of(measurements: Sequence[Measured]) -> Measured | None:
    """Several languages' losses as one, each counting alike; errors add as those of independent samples."""
    if not measurements:
        return None
    errors = [measured.standard_error or 0.0 for measured in measurements]
    return Measured(
        math.fsum(measured.loss for measured in measurements) / len(measurements),
        math.sqrt(math.fsum(error**2 for error in errors)) / len(measurements),
        sum(measured.blocks for measured in measurements),
        sum(measured.predictions for measured in measurements),
    )


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The language that lost most, and more than the `limit` (nats)."""

    language: str
    forgetting: Forgetting
    limit: float

    def told(self) -> str:
        seen, error = self.forgetting, self.forgetting.standard_error
        spread = "" if error is None else f" ± {error:.4f}"
        return (
            f"{self.language} is being forgotten: held-out loss {seen.before:.4f} before, {seen.now:.4f} "
            f"now, a loss of {seen.change:.4f}{spread} nats, more than the {self.limit:g} allowed"
        )


def forgotten_in(changes: Mapping[str, Forgetting], *, limit: float | None) -> Forgotten | None:
    """The language that lost most, if it lost more than `limit` nats; None without a limit."""
    if limit is None or not changes:
        return None
    worst = max(changes, key=lambda language: changes[language].change)
    return Forgotten(worst, changes[worst], limit) if changes[worst].change > limit else None
