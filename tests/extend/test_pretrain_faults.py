"""What goes wrong while training, and what is left of it: no bad weight, no lost step, a reason told."""

import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from extend.errors import (
    DataError,
    DivergedError,
    ExtendError,
    OutOfMemoryError,
    TerminatedRun,
    WorkerError,
)
from extend.masking import MaskedBatch
from extend.pretrain import Hooks, LeftOut, Verdict, latest_checkpoint, signals_noted, train
from extend.pretrain.loop import REWIND_STEPS
from extend.pretrain.watchdog import Watchdog
from tests.extend.teams import codes, said, start_process
from tests.extend.training_runs import (
    BATCH,
    STAGES,
    STEPS,
    batches,
    loop,
    run,
    stop_after,
    tiny,
    weights,
    write_text,
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def is_finite(folder: Path) -> bool:
    saved = latest_checkpoint(folder / "checkpoints")
    assert saved is not None
    return all(bool(value.isfinite().all()) for value in (*saved.weights.values(), *saved.moments.values()))


class Poisoned:
    """Batches of which some make the encoder answer what is not a number."""

    def __init__(self, model: PreTrainedModel, text: Path, bad: set[int]) -> None:
        self.source, self.bad, self.step = batches(text), bad, -1
        model.get_submodule("bert").register_forward_hook(self.spoil)

    def __call__(self, step: int, start: int = 0, stop: int | None = None) -> MaskedBatch:
        self.step = step
        return self.source(step, start, stop)

    def spoil(self, _: object, __: object, output: Any) -> Any:
        if self.step in self.bad:
            output["last_hidden_state"] = output.last_hidden_state * math.nan
        return output


def test_single_steps_that_are_not_finite_are_left_out(tmp_path: Path, text: Path) -> None:
    model, found = tiny(), list[LeftOut]()
    hooks = Hooks(on_left_out=found.append)
    poisoned = Poisoned(model, text, {3, 4, 5, 11})
    outcome = train(
        model,
        poisoned,
        loop((STAGES[1],), prefetch=0, save_every=3),
        hooks,
        checkpoints=tmp_path / "checkpoints",
    )
    assert [(one.step, one.why) for one in found] == [(n, "not finite") for n in (4, 5, 6, 12)]
    assert found[0].samples == range(3 * BATCH, 4 * BATCH)
    assert outcome.left_out == 4
    assert outcome.step == 12
    assert all(bool(value.isfinite().all()) for value in weights(model).values())


@pytest.mark.parametrize("bad_steps", [0, 2])
def test_too_many_in_a_row_end_the_run(tmp_path: Path, text: Path, bad_steps: int) -> None:
    model = tiny()
    bad = set(range(6, 6 + bad_steps + 1))
    with pytest.raises(DivergedError, match=f"step {max(bad) + 1}") as told:
        train(
            model,
            Poisoned(model, text, bad),
            loop(prefetch=0, bad_steps=bad_steps),
            Hooks(),
            checkpoints=tmp_path / "checkpoints",
        )
    first = max(bad) * BATCH
    assert f"samples {first} to {first + BATCH - 1}" in told.value.why
    assert "the last checkpoint is step-00000005" in told.value.done
    assert is_finite(tmp_path)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, text: Path) -> None:
    """Even where no loss saw them."""

    def spoil(_: Any) -> None:
        with torch.no_grad():
            model.get_parameter("cls.seq_relationship.bias")[0] = math.inf

    model = tiny()
    with pytest.raises(DivergedError, match="weights that are not finite"):
        train(model, batches(text), loop(), Hooks(spoil), checkpoints=tmp_path / "checkpoints")
    assert not list(tmp_path.glob("checkpoints/step-*"))


class Judge:
    """Judges chosen steps, and remembers which it saw, as a checkpoint must."""

    def __init__(self, verdicts: dict[int, Verdict]) -> None:
        self.verdicts, self.seen = verdicts, list[int]()

    def __call__(self, step: int, loss: float) -> Verdict:
        self.seen.append(step)
        return self.verdicts.get(step, "go")

    def remember(self) -> list[int]:
        return self.seen

    def recall(self, memory: list[int] | None) -> None:
        self.seen = list(memory or [])


def judged(
    folder: Path, text: Path, verdicts: dict[int, Verdict], stop: int | None = None
) -> tuple[PreTrainedModel, Judge, list[LeftOut], list[int]]:
    judge, left, back = Judge(verdicts), list[LeftOut](), list[int]()
    hooks = Hooks(
        should_stop=stop_after(stop) if stop else lambda: None,
        judge=judge,
        remember=judge.remember,
        recall=judge.recall,
        on_left_out=left.append,
        on_rewound=back.append,
    )
    model = tiny()
    settings = loop(may_rewind="rewind" in verdicts.values(), keep=1)
    train(model, batches(text), settings, hooks, checkpoints=folder / "checkpoints")
    return model, judge, left, back


def test_a_step_judged_bad_changes_nothing(tmp_path: Path, text: Path) -> None:
    model, judge, left, _ = judged(tmp_path / "skip", text, {7: "skip", 15: "skip"})
    assert [(one.step, one.why) for one in left] == [(7, "spike"), (15, "spike")]
    assert judge.seen == list(range(1, STEPS + 1))
    for stop in (7, 9):
        with pytest.raises(TerminatedRun):
            judged(tmp_path / f"stopped-{stop}", text, {7: "skip", 15: "skip"}, stop=stop)
        again, judge, _, _ = judged(tmp_path / f"stopped-{stop}", text, {7: "skip", 15: "skip"})
        assert judge.seen == list(range(1, STEPS + 1))
        expected, got = weights(model), weights(again)
        assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_rewound_run_leaves_out_what_led_to_the_spike(tmp_path: Path, text: Path) -> None:
    """From the checkpoint after step 5 again, without steps 6 to 9; stopped anywhere, the same bits."""
    model, judge, left, back = judged(tmp_path / "straight", text, {9: "rewind"})
    assert back == [5]
    assert [(one.step, one.why) for one in left] == [(step, "rewound") for step in range(6, 10)]
    assert judge.seen == [*range(1, 6), *range(10, STEPS + 1)]
    assert REWIND_STEPS > 4
    for stops in ((6, 1), (12,), (14,)):  # before the spike, among the steps left out, after them
        for stop in stops:
            with pytest.raises(TerminatedRun):
                judged(tmp_path / f"stopped-{stops}", text, {9: "rewind"}, stop=stop)
        again, *_ = judged(tmp_path / f"stopped-{stops}", text, {9: "rewind"})
        expected, got = weights(model), weights(again)
        assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_run_may_be_rewound_to_its_start(tmp_path: Path, text: Path) -> None:
    model, _, left, back = judged(tmp_path, text, {2: "rewind"})
    assert back == [0]
    assert [one.step for one in left] == [1, 2]
    assert all(bool(value.isfinite().all()) for value in weights(model).values())


def test_a_spike_that_is_to_stop_the_run_does_so_with_the_state_before_it(tmp_path: Path, text: Path) -> None:
    with pytest.raises(DivergedError, match=r"the loss jumped to .* at step 13"):
        judged(tmp_path / "stop", text, {13: "stop"})
    saved = latest_checkpoint(tmp_path / "stop" / "checkpoints")
    assert saved is not None
    assert saved.step == 12


def test_an_evaluation_may_end_the_run_well(tmp_path: Path, text: Path) -> None:
    def evaluate(step: int, model: PreTrainedModel) -> str | None:
        asked.append(step)
        return "no gain any more" if step == 12 else None

    asked: list[int] = []
    hooks, settings = Hooks(on_evaluate=evaluate), loop(evaluate_every=6)
    for _ in range(2):  # a run that has ended stays ended
        outcome = train(tiny(), batches(text), settings, hooks, checkpoints=tmp_path / "checkpoints")
        assert (outcome.ended, outcome.step) == ("no gain any more", 12)
    assert asked == [0, 6, 8, 12]


def test_an_evaluation_that_fails_costs_no_step(tmp_path: Path, text: Path) -> None:
    """The state is saved first; the evaluation is made up for by the resumed run, whose bits are the same."""

    def fail(step: int, model: PreTrainedModel) -> str | None:
        if step == 12:
            raise DataError("held-out text is gone", name="E-TEST")
        return None

    settings = loop(evaluate_every=6, save_every=1000)
    with pytest.raises(DataError, match="held-out text is gone"):
        run(tmp_path / "failed", text, settings=settings, on_evaluate=fail)
    saved = latest_checkpoint(tmp_path / "failed" / "checkpoints")
    assert saved is not None
    assert saved.step == 12
    asked: list[int] = []
    resumed, _ = run(
        tmp_path / "failed", text, settings=settings, on_evaluate=lambda step, _: asked.append(step)
    )
    assert asked == [12, 18]
    straight, _ = run(tmp_path / "straight", text, settings=loop(save_every=1000))
    expected, got = weights(straight), weights(resumed)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("can't allocate memory: 9 GB"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_want_of_memory_names_the_micro_batch(tmp_path: Path, text: Path, error: Exception) -> None:
    model, settings = tiny(), loop(save_every=2)

    def burst(*_: Any) -> None:
        if len(list(tmp_path.glob("checkpoints/step-*4"))):
            raise error

    model.get_submodule("bert").register_forward_hook(burst)
    with pytest.raises(OutOfMemoryError, match="too little memory for 8 samples at once") as told:
        train(model, batches(text), settings, Hooks(), checkpoints=tmp_path / "checkpoints")
    assert told.value.name == "E-OOM"
    assert "--set pretrain.micro_batch=4" in told.value.next
    assert is_finite(tmp_path)


def test_another_failure_in_a_step_is_not_taken_for_want_of_memory(tmp_path: Path, text: Path) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("shapes do not fit")

    model = tiny()
    model.get_submodule("bert").register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(model, batches(text), loop(), Hooks(), checkpoints=tmp_path / "checkpoints")


def test_a_step_that_hangs_ends_the_process_with_the_stacks_written(tmp_path: Path, text: Path) -> None:
    def work(_: object) -> None:
        model = tiny()
        model.get_submodule("bert").register_forward_hook(lambda *_: time.sleep(60))
        settings = loop(watchdog=1.0, prefetch=0)
        train(model, batches(text), settings, Hooks(), checkpoints=tmp_path / "run" / "checkpoints")

    began = time.monotonic()
    assert codes([start_process(tmp_path, 0, work, {})]) == [WorkerError.exit_code]
    assert time.monotonic() - began < 20
    assert "error[E-WATCHDOG]: no training step for 1 seconds" in said(tmp_path, 0)
    (stacks,) = (tmp_path / "run").glob("extend-stacks-*.log")
    assert "time.sleep(60)" in stacks.read_text()
    assert "thread MainThread" in stacks.read_text()


def test_what_takes_long_on_purpose_is_no_hang(tmp_path: Path) -> None:
    ended: list[ExtendError] = []
    watchdog = Watchdog(0.2, folder=tmp_path, end=ended.append)
    with watchdog.paused():
        time.sleep(0.6)
    assert ended == []
    time.sleep(0.6)
    watchdog.close()
    assert [error.name for error in ended] == ["E-WATCHDOG"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_noted_and_later_ones_change_nothing(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with signals_noted() as noted:
        assert noted() is None
        os.kill(os.getpid(), number)
        assert noted() == number
        os.kill(os.getpid(), signal.SIGTERM)
        assert noted() == number
    assert signal.getsignal(number) is before


def test_a_second_interrupt_stops_at_once_unless_a_save_is_under_way() -> None:
    with signals_noted() as noted:
        os.kill(os.getpid(), signal.SIGINT)
        with noted.shielded():
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_signal_during_a_save_is_ignored(tmp_path: Path, text: Path) -> None:
    @contextmanager
    def saving() -> Iterator[None]:
        with noted.shielded():
            os.kill(os.getpid(), signal.SIGTERM)
            yield
            os.kill(os.getpid(), signal.SIGINT)

    with signals_noted() as noted:
        hooks = Hooks(
            lambda report: os.kill(os.getpid(), signal.SIGTERM) if report.step == 3 else None,
            should_stop=noted,
            saving=saving,
        )
        with pytest.raises(TerminatedRun) as told:
            train(tiny(), batches(text), loop(), hooks, checkpoints=tmp_path / "checkpoints")
    assert told.value.why == "SIGTERM"
    saved = latest_checkpoint(tmp_path / "checkpoints")
    assert saved is not None
    assert saved.step == 3
