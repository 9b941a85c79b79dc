"""The training loop: AdamW, warm-up and linear decay in stages, atomic checkpoints, exact resume.

Nothing is drawn from a state that would have to be saved: batches and masks are functions of (seed, step),
and dropout is seeded anew before every step. So a run that was stopped at any step and started again by the
same command ends with the same bits as one that was not (same machine, same library versions).
"""

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from extend.errors import CheckpointError, InterruptedRun, TerminatedRun
from extend.masking import MaskedBatch
from extend.pretrain.checkpoints import SavedState, latest_checkpoint, restore_moments_, save_checkpoint
from extend.pretrain.schedule import Stage, stage_at
from extend.pretrain.trainer import StageTrainer, StepResult
from extend.types import StepReport


@dataclass(frozen=True)
class LoopSettings:
    """How to train. `configuration` is what a checkpoint must agree with to be resumed."""

    stages: tuple[Stage, ...]
    seed: int
    configuration: Mapping[str, Any]
    weight_decay: float = 0.01
    clip: float = 1.0
    save_every: int = 1000
    keep: int = 2
    log_every: int = 20
    evaluate_every: int = 0
    dtype: torch.dtype | None = None

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)


@dataclass(frozen=True)
class Hooks:
    """What the loop tells and asks.

    `on_step` gets a report every `log_every` steps and at the last; `on_evaluate` the step count and the
    model every `evaluate_every` steps; `should_stop` is asked after every step:
    the number of a signal that came, or None.
    """

    on_step: Callable[[StepReport], None]
    on_evaluate: Callable[[int, PreTrainedModel], None] | None = None
    should_stop: Callable[[], int | None] = lambda: None


def train(
    model: PreTrainedModel,
    batch_at: Callable[[int], MaskedBatch],
    settings: LoopSettings,
    hooks: Hooks,
    *,
    checkpoints: Path,
) -> int:
    """Train `model` in place up to the last step, resuming from the newest sound checkpoint.

    `batch_at(step)` is the batch of global step `step` (from 0), a pure function. Returns the step it
    resumed from, 0 for a fresh start.

    Raises:
        CheckpointError: a checkpoint of another configuration, or only damaged ones.
        DivergedError: the loss or the gradient is not finite; nothing was updated or written.
        TerminatedRun, InterruptedRun: a signal came; the state was saved and the same command goes on.
    """
    saved = latest_checkpoint(checkpoints)
    if saved:
        _check_same(saved, settings)
        _load_weights_(model, saved.weights)
    clock = _Clock(saved.tokens if saved else 0, saved.seconds if saved else 0.0)
    sitting = _Sitting(settings, hooks, clock, checkpoints)
    step = resumed_from = saved.step if saved else 0
    while step < settings.steps:
        number, within = stage_at(settings.stages, step)
        trainer = _trainer(model, settings, settings.stages[number])
        if saved and within:
            restore_moments_(trainer.optimizer, trainer.trained, saved.moments, step=within)
        for place in range(within, trainer.stage.steps):
            result = trainer.step(batch_at(step), place, step=step)
            step += 1
            clock.tokens += result.tokens
            sitting.after_step(step, trainer, result)
        trainer.objective.finish_()
        saved = None
    return resumed_from


class _Clock:
    """Tokens and seconds of the whole run, earlier sittings included."""

    def __init__(self, tokens: int, seconds: float) -> None:
        self.tokens = self.lap_tokens = tokens
        self.started = self.lap_started = time.monotonic()
        self.before = seconds

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def lap(self) -> float:
        """Tokens a second since the last lap."""
        now = time.monotonic()
        speed = (self.tokens - self.lap_tokens) / max(1e-9, now - self.lap_started)
        self.lap_tokens, self.lap_started = self.tokens, now
        return speed


def _trainer(model: PreTrainedModel, settings: LoopSettings, stage: Stage) -> StageTrainer:
    return StageTrainer(
        model,
        stage,
        seed=settings.seed,
        weight_decay=settings.weight_decay,
        clip=settings.clip,
        dtype=settings.dtype,
    )


@dataclass(frozen=True)
class _Sitting:
    """One process's share of a run: what every step needs beside the arithmetic."""

    settings: LoopSettings
    hooks: Hooks
    clock: _Clock
    checkpoints: Path

    def after_step(self, step: int, trainer: StageTrainer, result: StepResult) -> None:
        settings, hooks, done = self.settings, self.hooks, step == self.settings.steps
        if step % settings.log_every == 0 or done:
            hooks.on_step(_report(step, settings.steps, trainer.stage.name, result, self.clock))
        stopping = None if done else hooks.should_stop()
        if step % settings.save_every == 0 or done or stopping:
            self.save(step, trainer)
        if stopping:
            interrupted = stopping == signal.SIGINT
            raise (InterruptedRun if interrupted else TerminatedRun)(
                f"stopped by a signal after step {step} of {settings.steps}",
                name="E-INTERRUPTED" if interrupted else "E-TERMINATED",
                done=f"the state was saved in {self.checkpoints}",
                next="run the same command to go on",
            )
        due = settings.evaluate_every and step % settings.evaluate_every == 0 and not done
        if hooks.on_evaluate and due:
            trainer.objective.finish_()
            hooks.on_evaluate(step, trainer.objective.model)

    def save(self, step: int, trainer: StageTrainer) -> None:
        trainer.objective.finish_()
        save_checkpoint(
            self.checkpoints,
            state={
                "step": step,
                "tokens": self.clock.tokens,
                "seconds": round(self.clock.seconds, 3),
                "stage": trainer.stage.name,
                "configuration": dict(self.settings.configuration),
            },
            model=trainer.objective.model,
            optimizer=trainer.optimizer,
            trained=trainer.trained,
            keep=self.settings.keep,
        )


def _report(step: int, steps: int, stage: str, result: StepResult, clock: _Clock) -> StepReport:
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


def _check_same(saved: SavedState, settings: LoopSettings) -> None:
    theirs, ours = saved.configuration, settings.configuration
    different = [key for key in sorted(theirs.keys() | ours.keys()) if theirs.get(key) != ours.get(key)]
    if different:
        shown = "; ".join(f"{key}: {theirs.get(key)} then, {ours.get(key)} now" for key in different[:3])
        raise CheckpointError(
            f"{saved.directory} belongs to another configuration",
            name="E-RUN-MISMATCH",
            why=shown,
            done="nothing was changed",
            next="give the old settings, or another --run DIR",
        )


@torch.no_grad()
def _load_weights_(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    odd = parameters.keys() ^ weights.keys()
    odd |= {
        name for name in parameters.keys() & weights.keys() if parameters[name].shape != weights[name].shape
    }
    if odd:
        raise CheckpointError(
            f"a checkpoint does not fit the model: {', '.join(sorted(odd)[:5])}",
            name="E-RUN-MISMATCH",
            next="give another --run DIR",
        )
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
