"""The training loop: AdamW, warm-up and linear decay in stages, atomic checkpoints, exact resume.

Nothing is drawn from a state that would have to be saved: batches and masks are functions of (seed, step),
and dropout is seeded anew before every part of a step. So a run that was stopped at any step and started
again by the same command ends with the same bits as one that was not (same machine, same number of
processes, same library versions). Steps that were left out and what was decided about them is in the
checkpoint, and so is what the hooks remember.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

import torch
from transformers import PreTrainedModel

from extend import store
from extend.errors import DivergedError
from extend.masking import MaskedBatch
from extend.pretrain.checkpoints import SavedState, latest_checkpoint, restore_moments_, save_checkpoint
from extend.pretrain.clock import Clock, report_of
from extend.pretrain.nouns import BatchAt, Hooks, LeftOut, LoopSettings, Outcome, Position, Verdict
from extend.pretrain.prefetch import Prefetcher
from extend.pretrain.resuming import Resumption, check_same, put_back_
from extend.pretrain.schedule import Stage, stage_at
from extend.pretrain.signals import stopped_by
from extend.pretrain.team import Team, check_agreement
from extend.pretrain.trainer import StageTrainer, StepResult, pinned
from extend.pretrain.watchdog import Watchdog

REWIND_STEPS = 32
"""Steps left out when a run is rewound: the one that was judged and those just before it.

Chowdhery et al. 2022 (PaLM, arXiv 2204.02311), section 5.1, went back some 100 steps and left out some
hundreds of batches, those seen before and during the spike.
"""


def train(
    model: PreTrainedModel,
    batch_at: BatchAt,
    settings: LoopSettings,
    hooks: Hooks,
    *,
    checkpoints: Path,
    team: Team | None = None,
) -> Outcome:
    """Train `model`, which lies on the team's device, in place up to the last step, resuming from the newest
    sound checkpoint. A run that is complete already is left as it is.

    Raises:
        CheckpointError: a checkpoint of another configuration or other data, or only damaged ones.
        DivergedError: `bad_steps` in a row and one more were not finite, or a spike was to stop the run;
            nothing bad was updated or written.
        TerminatedRun, InterruptedRun: a signal came; the state was saved and the same command goes on.
        OutOfMemoryError: too little memory for `micro_batch`. WorkerError: another process died, or no step
            was made for `watchdog` seconds.
    """
    team = team or Team(device=next(model.parameters()).device)
    watchdog = Watchdog(settings.watchdog, folder=checkpoints.parent)
    prefetch = Prefetcher(
        _share(batch_at, settings, team),
        stop=settings.steps,
        ahead=settings.prefetch,
        patience=settings.watchdog / 2 or None,
        on_silence=watchdog.write_stacks,
    )
    try:
        return _Training(model, prefetch, settings, hooks, checkpoints, team, watchdog).run()
    finally:
        watchdog.close()
        prefetch.close()


def _share(batch_at: BatchAt, settings: LoopSettings, team: Team) -> Callable[[int], MaskedBatch]:
    start, stop = team.share_of(settings.batch_size)
    if team.device.type != "cuda":
        return lambda step: batch_at(step, start, stop)
    return lambda step: pinned(batch_at(step, start, stop))


@final
@dataclass
class _Training:
    """One process's part of a run, from where the newest checkpoint left it."""

    model: PreTrainedModel
    batches: Prefetcher[MaskedBatch]
    settings: LoopSettings
    hooks: Hooks
    checkpoints: Path
    team: Team
    watchdog: Watchdog
    resumption: Resumption = field(default_factory=Resumption)
    clock: Clock = field(default_factory=Clock)

    def run(self) -> Outcome:
        position = self._resumed()
        resumed_from = position.step
        while position.step < self.settings.steps and position.ended is None:
            position = self._stage(position)
        return Outcome(resumed_from, position.step, position.ended, position.skipped, self.resumption)

    def _resumed(self) -> Position:
        saved = self._latest()
        if saved:
            self.resumption = check_same(
                saved,
                self.settings.configuration,
                self.settings.data,
                accept_data_change=self.settings.accept_data_change,
                defaults=self.settings.defaults,
            )
            put_back_(self.model, saved.weights)
        self.hooks.recall(saved.state.get("memory") if saved else None)
        self.clock = Clock(saved.tokens if saved else 0, saved.seconds if saved else 0.0)
        position = Position.of(saved)
        check_agreement(self.team, {"step": position.step, "weights": _checksum(self.model, self.team)})
        if self.team.leads and position.step < self.settings.steps and position.ended is None:
            self.hooks.on_resumed(position.step)
        return position

    def _latest(self) -> SavedState | None:
        """The newest checkpoint; the first process looks first, and sets damaged ones aside for all."""
        return self.team.leading_first(lambda: latest_checkpoint(self.checkpoints))

    def _stage(self, position: Position) -> Position:
        """Train to the end of the position's stage, or until the run ends or goes back."""
        number, within = stage_at(self.settings.stages, position.step)
        stage = self.settings.stages[number]
        trainer = self._trainer(stage)
        self._begin(position, trainer, within)
        for place in range(within, stage.steps):
            if position.ended is not None:
                break
            rewound = self._step(position, trainer, place)
            if rewound is not None:
                return rewound
            self._after(position, trainer, last=place + 1 == stage.steps)
        trainer.objective.finish_()
        position.updates = 0
        return position

    def _trainer(self, stage: Stage) -> StageTrainer:
        settings = self.settings
        return StageTrainer(
            self.model,
            stage,
            seed=settings.seed,
            weight_decay=settings.weight_decay,
            clip=settings.clip,
            dtype=settings.dtype,
            options=settings.options,
            team=self.team,
        )

    def _begin(self, position: Position, trainer: StageTrainer, within: int) -> None:
        saved, position.saved = position.saved, None
        if not within:
            position.updates = 0
        elif saved:
            position.updates = within if position.updates < 0 else position.updates
            restore_moments_(trainer.optimizer, trainer.trained, saved.moments, step=position.updates)
        if (
            self.hooks.on_evaluate
            and self.settings.is_due(position.step)
            and position.evaluated != position.step
        ):
            self._evaluate(position, trainer)
        first = self.settings.may_rewind and saved is None and position.step == 0
        if first or position.ended is not None:
            self._save(position, trainer)

    def _step(self, position: Position, trainer: StageTrainer, place: int) -> Position | None:
        """Make one step. Returns the position to go on from when the run is rewound."""
        step = position.step
        self.watchdog.beat()
        if step in position.left_out:
            self._leave_out(position, LeftOut(step + 1, "rewound", self.settings.samples_of(step), None))
            return None
        result = trainer.measure(self.batches(step), place, step=step)
        position.bad = 0 if result.is_finite else position.bad + 1
        verdict = self._verdict(step, result, position)
        if verdict == "rewind":
            return self._rewound(position)
        if verdict == "stop":
            self._save(position, trainer)
            raise self._diverged(f"the loss jumped to {result.loss:.4g} at step {step + 1}", step)
        if verdict == "skip":
            why: Literal["spike", "not finite"] = "spike" if result.is_finite else "not finite"
            self._leave_out(position, LeftOut(step + 1, why, self.settings.samples_of(step), result))
            return None
        trainer.update(result)
        position.step, position.updates = step + 1, position.updates + 1
        self.clock.tokens = position.tokens = position.tokens + result.tokens
        due = position.step % self.settings.log_every == 0 or position.step == self.settings.steps
        if due and self.team.leads:
            report = report_of(position.step, self.settings.steps, trainer.stage.name, result, self.clock)
            self.hooks.on_step(report)
        return None

    def _verdict(self, step: int, result: StepResult, position: Position) -> Verdict:
        if not result.is_finite:
            if position.bad > self.settings.bad_steps:
                what = f"loss {result.loss}, gradient norm {result.grad_norm} at step {step + 1}"
                raise self._diverged(what, step)
            return "skip"
        return self.hooks.judge(step + 1, result.loss) if self.hooks.judge else "go"

    def _leave_out(self, position: Position, left_out: LeftOut) -> None:
        position.step += 1
        position.skipped += 1
        if self.team.leads:
            self.hooks.on_left_out(left_out)

    def _rewound(self, position: Position) -> Position:
        """The last scheduled checkpoint's position, the step that was judged and those before it left out.

        A checkpoint that a signal left since then is none to go back to, for a run without the signal has
        none there.
        """
        judged = position.step
        later = [path for number, path in self._saved() if number > self._scheduled(judged)]
        self.team.once(lambda: store.remove_directories(later))
        saved = self._latest()
        assert saved is not None, "one is saved before the first step"
        first = max(saved.step, judged + 1 - REWIND_STEPS)
        put_back_(self.model, saved.weights)
        self.hooks.recall(saved.state.get("memory"))
        if self.team.leads:
            self.hooks.on_rewound(saved.step)
        back = Position.of(saved)
        back.left_out |= position.left_out | frozenset(range(first, judged + 1))
        self.clock.tokens = back.tokens
        return back

    def _scheduled(self, step: int) -> int:
        """The last step, up to `step`, after which every run with these settings saves."""
        return step - step % self.settings.save_every

    def _saved(self) -> list[tuple[int, Path]]:
        """Numbers and folders of the checkpoints there are, in order."""
        found = sorted(self.checkpoints.glob("step-*[0-9]"))
        return [(int(path.name.partition("-")[2]), path) for path in found]

    def _diverged(self, what: str, step: int) -> DivergedError:
        samples = self.settings.samples_of(step)
        saved = self._saved()
        kept = f"the last checkpoint is {saved[-1][1].name}" if saved else "there is no checkpoint yet"
        return DivergedError(
            f"training diverged: {what}",
            name="E-DIVERGED",
            why=f"samples {samples.start} to {samples.stop - 1}",
            done=f"the step was not applied; {kept}",
            next="lower the learning rate, or set pretrain.precision = 'fp32'",
        )

    def _after(self, position: Position, trainer: StageTrainer, *, last: bool) -> None:
        """What is due after a step: an evaluation, a save, the end that a signal asks for."""
        step, done = position.step, position.step == self.settings.steps
        signal_number = self.team.largest(self.hooks.should_stop() or 0)
        if done:
            signal_number = 0
        if (
            not signal_number
            and not done
            and not last
            and self.hooks.on_evaluate
            and self.settings.is_due(step)
        ):
            self._evaluate(position, trainer)
        ended = position.ended is not None
        if step % self.settings.save_every == 0 or done or ended or signal_number:
            self._save(position, trainer)
        if signal_number:
            raise stopped_by(
                signal_number,
                what=f"after step {step} of {self.settings.steps}",
                done=f"the state was saved in {self.checkpoints}",
            )

    def _evaluate(self, position: Position, trainer: StageTrainer) -> None:
        """Measure, the others waiting. When that fails the state is saved before the failure is told."""
        assert self.hooks.on_evaluate
        evaluate = self.hooks.on_evaluate
        trainer.objective.finish_()
        with self.watchdog.paused():
            try:
                position.ended = self.team.once(lambda: evaluate(position.step, self.model))
            except Exception:
                if self.team.leads:
                    self._write(position, trainer)
                raise
        position.evaluated = position.step
        self.model.train()

    def _save(self, position: Position, trainer: StageTrainer) -> None:
        """Save, the others waiting; a second signal does not break it off."""
        trainer.objective.finish_()
        with self.watchdog.paused(), self.hooks.saving():
            self.team.once(lambda: self._write(position, trainer))

    def _write(self, position: Position, trainer: StageTrainer) -> None:
        norms = torch._foreach_norm([parameter.detach() for parameter in self.model.parameters()])
        if not bool(torch.stack([norm.float() for norm in norms]).isfinite().all()):
            raise self._diverged("weights that are not finite", position.step)
        save_checkpoint(
            self.checkpoints,
            state={
                **position.state(),
                "seconds": round(self.clock.seconds, 3),
                "stage": trainer.stage.name,
                "configuration": dict(self.settings.configuration),
                "data": dict(self.settings.data),
                "data_changes": list(self.resumption.data_changes),
                "processes": self.team.size,
                "memory": self.hooks.remember(),
            },
            model=self.model,
            optimizer=trainer.optimizer,
            trained=trainer.trained,
            keep=max(self.settings.keep, self._needed(position.step)),
        )

    def _needed(self, step: int) -> int:
        """How many of the newest checkpoints hold the one that a run may be rewound to, with this one."""
        if not self.settings.may_rewind:
            return 1
        scheduled = self._scheduled(step)
        return 1 + sum(scheduled <= number < step for number, _ in self._saved())


@torch.no_grad()
def _checksum(model: PreTrainedModel, team: Team) -> int:
    """A sum over the bits of all weights, the same on every kind of machine; 0 for a process alone."""
    if team.size == 1:
        return 0
    parts = [parameter.float().view(torch.int32).sum(dtype=torch.int64) for parameter in model.parameters()]
    return int(torch.stack(parts).sum())
