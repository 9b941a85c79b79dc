"""The loop on tiny models: resumed runs end with the same bits, frozen rows stay, damage is found."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from extend import store
from extend.architectures import architecture_of, new_model
from extend.blocks import open_stream
from extend.errors import CheckpointError, InterruptedRun, TerminatedRun, UsageError
from extend.masking import MaskedBatch, MaskingRule
from extend.pretrain import Hooks, Stage, held_out_loss, latest_checkpoint, train
from extend.pretrain.schedule import stage_at
from extend.sentence_pairs import SentencePairs, paired_batch
from tests.extend.training_runs import (
    BATCH,
    FIRST_NEW,
    LENGTH,
    SPECIAL,
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

GOLDEN = Path(__file__).parents[1] / "golden" / "pretrain_tiny_loss.txt"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
@pytest.mark.parametrize("stops", [(3,), (8,), (13,), (2, 5, 4)])
def test_a_run_stopped_anywhere_ends_with_the_same_bits(
    tmp_path: Path, text: Path, kind: str, stops: tuple[int, ...]
) -> None:
    straight, reports = run(tmp_path / "straight", text, kind=kind)
    for stop in stops:
        with pytest.raises(TerminatedRun, match="stopped by a signal"):
            run(tmp_path / "stopped", text, kind=kind, stop=stop)
    resumed, later = run(tmp_path / "stopped", text, kind=kind)
    expected, got = weights(straight), weights(resumed)
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert [report.loss for report in later] == [report.loss for report in reports[-len(later) :]]
    first, second = (latest_checkpoint(tmp_path / name / "checkpoints") for name in ("straight", "stopped"))
    assert first is not None
    assert second is not None
    assert all(torch.equal(first.moments[name], second.moments[name]) for name in first.moments)
    assert first.tokens == second.tokens == STEPS * BATCH * LENGTH


def test_sigint_is_told_apart(tmp_path: Path, text: Path) -> None:
    hooks = Hooks(lambda _: None, should_stop=stop_after(2, 2))
    with pytest.raises(InterruptedRun):
        train(tiny(), batches(text), loop(), hooks, checkpoints=tmp_path)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_new_rows_alone_leave_every_old_bit(tmp_path: Path, text: Path, kind: str) -> None:
    before = weights(tiny(kind))
    model, _ = run(tmp_path, text, kind=kind, settings=loop((STAGES[0],)))
    architecture = architecture_of(model)
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    grown = {named[id(architecture.embedding(model))], named[id(architecture.bias(model))]}
    for name, value in weights(model).items():
        if name in grown:
            assert torch.equal(value[:FIRST_NEW], before[name][:FIRST_NEW]), name
            assert not torch.equal(value[FIRST_NEW:], before[name][FIRST_NEW:]), name
        else:
            assert torch.equal(value, before[name]), name


def test_next_sentence_prediction_trains_its_head(tmp_path: Path, text: Path) -> None:
    pairs = SentencePairs(open_stream(text, "xx"), length=32, seed=1)

    def batch_at(step: int, start: int = 0, stop: int | None = None) -> MaskedBatch:
        samples = np.arange(step * BATCH, (step + 1) * BATCH)[start:stop]
        return paired_batch([pairs], (1.0,), samples, special=SPECIAL, rule=MaskingRule(), seed=1)

    model, reports = tiny(), []
    before = weights(model)["cls.seq_relationship.weight"]
    train(model, batch_at, loop((Stage("all", 4, 1e-3, 1),)), Hooks(reports.append), checkpoints=tmp_path)
    assert not torch.equal(before, weights(model)["cls.seq_relationship.weight"])
    assert all(
        report.nsp_loss is not None
        and report.loss == pytest.approx(report.mlm_loss + report.nsp_loss, abs=1e-5)
        for report in reports
    )


def test_training_lowers_the_held_out_loss(tmp_path: Path, text: Path) -> None:
    stream, rule = open_stream(text, "xx"), MaskingRule()
    before = held_out_loss(tiny(), stream, length=32, special=SPECIAL, rule=rule)
    model, _ = run(tmp_path, text, settings=loop((Stage("all", 60, 3e-3, 5),), save_every=1000))
    after = held_out_loss(model, stream, length=32, special=SPECIAL, rule=rule)
    assert before == pytest.approx(math.log(300), abs=0.3)
    assert after < before - 0.3
    assert held_out_loss(model, stream, length=32, special=SPECIAL, rule=rule, batch_size=3) == pytest.approx(
        after, abs=1e-4
    )


def test_the_golden_curve_has_not_moved(tmp_path: Path, text: Path) -> None:
    """Twenty steps, both stages, on CPU in float32; a refactor must not move it beyond rounding."""
    _, reports = run(tmp_path, text)
    golden = [float(line) for line in GOLDEN.read_text().split()]
    assert [report.loss for report in reports] == pytest.approx(golden, abs=2e-4)


def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path: Path, text: Path) -> None:
    straight, _ = run(tmp_path / "straight", text)
    with pytest.raises(TerminatedRun):
        run(tmp_path / "damaged", text, stop=13)
    newest = max((tmp_path / "damaged" / "checkpoints").iterdir())
    weights_file = newest / "model.safetensors"
    damaged = bytearray(weights_file.read_bytes())
    damaged[-100] ^= 1
    weights_file.write_bytes(damaged)
    resumed, _ = run(tmp_path / "damaged", text)
    assert newest.with_name(f"{newest.name}.bad").is_dir()
    expected, got = weights(straight), weights(resumed)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_only_damaged_checkpoints_are_no_fresh_start(tmp_path: Path, text: Path) -> None:
    with pytest.raises(TerminatedRun):
        run(tmp_path, text, stop=3)
    for state in tmp_path.glob("checkpoints/step-*/state.json"):
        state.write_text("{}")
    with pytest.raises(CheckpointError, match="every checkpoint"):
        run(tmp_path, text)


def test_other_settings_do_not_resume(tmp_path: Path, text: Path) -> None:
    with pytest.raises(TerminatedRun):
        run(tmp_path, text, stop=3)
    with pytest.raises(CheckpointError, match="another configuration") as told:
        run(tmp_path, text, settings=loop(configuration={"a": 2}))
    assert "a: 1 then, 2 now" in told.value.why


def test_newer_schemas_are_refused(tmp_path: Path, text: Path) -> None:
    run(tmp_path, text)
    newest = max((tmp_path / "checkpoints").iterdir())
    state = json.loads((newest / "state.json").read_text())
    (newest / "state.json").write_text(json.dumps({**state, "schema": 99}))
    manifest = json.loads((newest / "MANIFEST.json").read_text())
    manifest["files"] = store.fingerprint(newest)
    (newest / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="newer release"):
        latest_checkpoint(tmp_path / "checkpoints")


def test_old_checkpoints_are_pruned(tmp_path: Path, text: Path) -> None:
    run(tmp_path, text, settings=loop(keep=1))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000020"]


def test_a_finished_run_is_left_alone(tmp_path: Path, text: Path) -> None:
    run(tmp_path, text)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    _, reports = run(tmp_path, text)
    assert reports == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_schedule_rises_and_falls_in_each_stage() -> None:
    stage = Stage("all", 100, 1.0, 10)
    rates = [stage.learning_rate(step) for step in range(100)]
    assert rates.index(max(rates)) == 10
    assert max(rates) == 1.0
    assert all(early < late for early, late in itertools.pairwise(rates[:11]))
    assert all(early > late for early, late in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(1 / 90)
    assert Stage("all", 1, 1.0, 10).learning_rate(0) == 1.0
    assert [stage_at(STAGES, step) for step in (0, 7, 8, 19, 20)] == [(0, 0), (0, 7), (1, 0), (1, 11), (2, 0)]


def test_models_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="attention heads"):
        new_model("modernbert", special=SPECIAL, hidden=32, layers=1, heads=3, intermediate=64, seed=1)
    headless = tiny().get_submodule("bert")
    assert isinstance(headless, PreTrainedModel)
    with pytest.raises(UsageError, match="a BertModel cannot be extended"):
        architecture_of(headless)
