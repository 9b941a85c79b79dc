"""How far a run is and how fast it goes."""

import time
from typing import final

from extend.pretrain.trainer import StepResult
from extend.types import StepReport


@final
class Clock:
    """Tokens and seconds of the whole run, earlier sittings included. Time is the monotonic clock's."""

    def __init__(self, tokens: int = 0, seconds: float = 0.0) -> None:
        self.tokens = self.lap_tokens = tokens
        self.started = self.lap_started = time.monotonic()
        self.before = seconds

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def lap(self) -> float:
        """Tokens a second since the last lap; 0 after the run went back further than that."""
        now = time.monotonic()
        speed = max(0, self.tokens - self.lap_tokens) / max(1e-9, now - self.lap_started)
        self.lap_tokens, self.lap_started = self.tokens, now
        return speed


def report_of(step: int, steps: int, stage: str, result: StepResult, clock: Clock) -> StepReport:
    """The report of a step just made, of `steps` in all."""
    return StepReport(
        step=step,
        steps=steps,
        stage=stage,
        loss=result.loss,
        mlm_loss=result.mlm_loss,
        nsp_loss=result.nsp_loss,
        learning_rate=result.learning_rate,
        grad_norm=result.grad_norm,
        tokens=clock.tokens,
        tokens_per_second=clock.lap(),
        seconds=clock.seconds,
    )
