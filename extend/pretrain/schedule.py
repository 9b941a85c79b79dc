"""Which steps train what, and how fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Trained = Literal["all", "embeddings", "new-rows"]


@dataclass(frozen=True)
class Stage:
    """Consecutive steps that train the same parameters under one schedule.

    `trains` says which parameters; `first_new` is the first added row, where there are any. The learning
    rate rises linearly over `warmup` steps to `rate` and falls linearly towards 0 at the stage's end.
    """

    name: str
    steps: int
    rate: float
    warmup: int
    trains: Trained = "all"
    first_new: int | None = None

    def learning_rate(self, step: int) -> float:
        """Rate of the stage's step number `step`, counted from 0."""
        warmup = min(self.warmup, self.steps - 1)
        if step < warmup:
            return self.rate * (step + 1) / (warmup + 1)
        return self.rate * (self.steps - step) / (self.steps - warmup)


def stage_at(stages: Sequence[Stage], step: int) -> tuple[int, int]:
    """Number of the stage that step `step` (from 0) belongs to, and the step within it."""
    for number, stage in enumerate(stages):
        if step < stage.steps:
            return number, step
        step -= stage.steps
    return len(stages), step
