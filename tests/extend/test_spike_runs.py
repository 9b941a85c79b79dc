"""A loss that really jumps, in a real loop: what each setting does, and the same after a resume."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from extend.config import PretrainSettings
from extend.errors import DivergedError, TerminatedRun
from extend.masking import IGNORED, MaskedBatch
from extend.pretrain import Hooks, Outcome, Stage, train
from extend.pretrain.nouns import BatchAt
from extend.recipe.metrics import Metrics
from extend.recipe.run import silent
from extend.recipe.spikes import Spikes
from tests.extend.training_runs import BATCH, SPECIAL, batches, loop, stop_after, tiny, weights, write_text

STEPS, BAD = 136, 131


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def poisoned(batch_at: BatchAt) -> BatchAt:
    """The same batches, but that step BAD (from 0) asks for the rarest piece everywhere."""

    def batch(step: int, start: int = 0, stop: int | None = None) -> MaskedBatch:
        made = batch_at(step, start, stop)
        if step != BAD:
            return made
        wrong = torch.full_like(made.targets, SPECIAL.vocab_size - 1)
        targets = torch.where(made.targets == IGNORED, made.targets, wrong)
        return MaskedBatch(made.input_ids, made.positions, targets)

    return batch


def trained(
    folder: Path, text: Path, on_spike: str, *, stop: int | None = None, bad: bool = True
) -> tuple[dict[str, Tensor], Outcome]:
    settings = PretrainSettings(batch_size=BATCH, on_spike=on_spike)  # type: ignore[arg-type]
    metrics = Metrics(folder, silent)
    spikes = Spikes(settings, metrics)

    def rewound(step: int) -> None:
        metrics.rewind(step)
        spikes.rewound(step)

    hooks = Hooks(
        on_step=metrics.step,
        should_stop=stop_after(stop) if stop else lambda: None,
        judge=spikes.judge,
        on_left_out=spikes.left_out,
        on_resumed=metrics.cut,
        on_rewound=rewound,
        remember=spikes.remember,
        recall=spikes.recall,
    )
    model = tiny()
    given = loop((Stage("all", STEPS, 3e-3, 5),), save_every=50, may_rewind=on_spike == "rewind")
    source = poisoned(batches(text)) if bad else batches(text)
    outcome = train(model, source, given, hooks, checkpoints=folder / "checkpoints")
    return weights(model), outcome


def logged(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_without_a_jump_has_no_event(tmp_path: Path, text: Path) -> None:
    trained(tmp_path, text, "skip", bad=False)
    assert logged(tmp_path, "events.jsonl") == []


@pytest.mark.parametrize("on_spike", ["warn", "skip", "rewind"])
def test_a_jump_is_found_and_a_resumed_run_does_the_same(tmp_path: Path, text: Path, on_spike: str) -> None:
    straight, outcome = trained(tmp_path / "straight", text, on_spike)
    for stop in (60, 65):
        with pytest.raises(TerminatedRun):
            trained(tmp_path / "stopped", text, on_spike, stop=stop)
    resumed, again = trained(tmp_path / "stopped", text, on_spike)
    assert same(straight, resumed)
    assert again.left_out == outcome.left_out
    spikes = [event for event in logged(tmp_path / "straight", "events.jsonl") if event["event"] == "spike"]
    assert [event["at"] for event in spikes] == [BAD + 1]
    assert spikes[0]["samples"] == [BAD * BATCH, (BAD + 1) * BATCH - 1]
    steps = [line["step"] for line in logged(tmp_path / "stopped", "metrics.jsonl")]
    assert steps == sorted(set(steps))
    if on_spike != "rewind":  # the second sitting saved at other steps, so it goes back to another one
        assert logged(tmp_path / "stopped", "events.jsonl") == logged(tmp_path / "straight", "events.jsonl")


def test_skipping_leaves_out_the_step_and_warning_does_not(tmp_path: Path, text: Path) -> None:
    warned, first = trained(tmp_path / "warn", text, "warn")
    skipped, second = trained(tmp_path / "skip", text, "skip")
    assert (first.left_out, second.left_out) == (0, 1)
    assert not same(warned, skipped)
    assert BAD + 1 not in [line["step"] for line in logged(tmp_path / "skip", "metrics.jsonl")]


def test_stopping_names_the_step(tmp_path: Path, text: Path) -> None:
    with pytest.raises(DivergedError, match=f"step {BAD + 1}"):
        trained(tmp_path, text, "stop")
    (event,) = logged(tmp_path, "events.jsonl")
    assert (event["at"], event["action"]) == (BAD + 1, "stop")
