"""What a training run is given, what it tells and asks, where it stands, and how it ended."""

import contextlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from extend.masking import MaskedBatch
from extend.pretrain.checkpoints import SavedState
from extend.pretrain.resuming import Resumption
from extend.pretrain.schedule import Stage
from extend.pretrain.trainer import StepOptions, StepResult
from extend.types import StepReport

Verdict = Literal["go", "skip", "rewind", "stop"]
BatchAt = Callable[[int, int, int], MaskedBatch]
"""`batch_at(step, start, stop)`: samples start to stop of the batch of global step `step`, both from 0."""


@dataclass(frozen=True)
class LoopSettings:
    """How to train. `configuration` is what a checkpoint must agree with to be resumed, `data` too; a setting
    that an older checkpoint lacks counts as its entry in `defaults`."""

    stages: tuple[Stage, ...]
    seed: int
    batch_size: int
    configuration: Mapping[str, Any]
    weight_decay: float = 0.01
    clip: float = 1.0
    dtype: torch.dtype | None = None
    options: StepOptions = field(default_factory=StepOptions)
    data: Mapping[str, str] = field(default_factory=dict)
    accept_data_change: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    save_every: int = 1000
    keep: int = 2
    log_every: int = 20
    evaluate_every: int = 0
    bad_steps: int = 3
    may_rewind: bool = False
    watchdog: float = 0.0
    prefetch: int = 2

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def is_due(self, step: int) -> bool:
        """Whether the model is evaluated after `step` steps, before the next."""
        if not self.evaluate_every or step >= self.steps:
            return False
        ends = itertools.accumulate((stage.steps for stage in self.stages), initial=0)
        return step % self.evaluate_every == 0 or step in ends

    def samples_of(self, step: int) -> range:
        """The global numbers of the samples of step `step` (from 0)."""
        return range(step * self.batch_size, (step + 1) * self.batch_size)


@dataclass(frozen=True)
class LeftOut:
    """A step that changed nothing: its number (from 1), why, and what its batch gave."""

    step: int
    why: Literal["not finite", "spike", "rewound"]
    samples: range
    result: StepResult | None


def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class Hooks:
    """What the loop tells and asks. With several processes all call `should_stop` and `judge`, which has to
    answer all alike, the first alone the others.

    `on_step` gets a report every `log_every` steps and at the last. `on_evaluate` gets the steps done and the
    model, before the first step, every `evaluate_every` steps and at the end of a stage; a reason that it
    returns ends the run, well. `should_stop` is asked after every step: the number of a signal that came, or
    None. `judge` sees the loss of a step (counted from 1) before its update: "skip" leaves the step out,
    "rewind" goes back to the last checkpoint and leaves out the step and those just before it, "stop" saves
    and raises. `on_left_out` hears of every step left out, `on_resumed` of the step that training goes on
    from, `on_rewound` of the step that the run went back to.
    What `remember` returns (of JSON) is saved in every checkpoint, and `recall` gets it back. `saving` is
    entered around every save.
    """

    on_step: Callable[[StepReport], None] = _nothing
    on_evaluate: Callable[[int, PreTrainedModel], str | None] | None = None
    should_stop: Callable[[], int | None] = _nothing
    judge: Callable[[int, float], Verdict] | None = None
    on_left_out: Callable[[LeftOut], None] = _nothing
    on_resumed: Callable[[int], None] = _nothing
    on_rewound: Callable[[int], None] = _nothing
    remember: Callable[[], Any] = _nothing
    recall: Callable[[Any], None] = _nothing
    saving: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended: the step it resumed from (0: a fresh start), the steps done, the reason
    an evaluation gave to stop there (None: all steps are done), the steps left out over the whole run, and
    what resuming has to say."""

    resumed_from: int
    step: int
    ended: str | None
    left_out: int
    resumption: Resumption


@dataclass
class Position:
    """Where the run is: steps done, updates made in the present stage, what was decided on the way."""

    step: int = 0
    updates: int = 0
    tokens: int = 0
    bad: int = 0
    skipped: int = 0
    evaluated: int = -1
    ended: str | None = None
    left_out: frozenset[int] = frozenset()
    saved: SavedState | None = None

    @classmethod
    def of(cls, saved: SavedState | None) -> "Position":
        if saved is None:
            return cls()
        state = saved.state
        return cls(
            step=saved.step,
            updates=state.get("updates", -1),
            tokens=saved.tokens,
            bad=state.get("bad", 0),
            skipped=state.get("skipped", 0),
            evaluated=state.get("evaluated", saved.step),
            ended=state.get("ended"),
            left_out=frozenset(state.get("left_out", ())),
            saved=saved,
        )

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "updates": self.updates,
            "tokens": self.tokens,
            "bad": self.bad,
            "skipped": self.skipped,
            "evaluated": self.evaluated,
            "ended": self.ended,
            "left_out": sorted(self.left_out),
        }
