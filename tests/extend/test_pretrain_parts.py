"""A step in parts, its dropout, its reading ahead: what may change and what may not."""

import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from extend.architectures import architecture_of
from extend.errors import DataError, WorkerError
from extend.pretrain import Stage, StageTrainer, StepOptions, deterministic_kernels, set_dropout_
from extend.pretrain.devices import is_reproducible
from extend.pretrain.prefetch import Prefetcher
from tests.extend.training_runs import BATCH, STAGES, batches, loop, run, tiny, weights, write_text
from tests.models import EVERY_ARCHITECTURE, tiny_model


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def trainer(model: PreTrainedModel, stage: Stage = STAGES[1], **options: object) -> StageTrainer:
    made = StepOptions(**options)  # type: ignore[arg-type]
    return StageTrainer(model, stage, seed=1, weight_decay=0.01, clip=1.0, dtype=None, options=made)


def without_dropout(kind: str = "bert") -> PreTrainedModel:
    model = tiny(kind)
    set_dropout_(model, 0.0)
    return model


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
@pytest.mark.parametrize("micro_batch", [1, 2, 3, 4, 8, 100])
def test_parts_of_a_batch_give_the_loss_and_gradient_of_the_whole(
    text: Path, stage: Stage, micro_batch: int
) -> None:
    batch = batches(text)(0)
    whole, parts = (trainer(without_dropout(), stage, micro_batch=size) for size in (None, micro_batch))
    expected, got = (one.measure(batch, 0, step=0) for one in (whole, parts))
    assert got.loss == pytest.approx(expected.loss, rel=1e-6)
    assert got.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
    assert got.tokens == expected.tokens
    for name, parameter in whole.trained.items():
        theirs = parts.trained[name].grad
        if parameter.grad is not None:
            torch.testing.assert_close(theirs, parameter.grad, atol=1e-6, rtol=1e-4)


def test_a_run_in_parts_resumes_to_the_same_bits(tmp_path: Path, text: Path) -> None:
    settings = loop(options=StepOptions(micro_batch=3))
    straight, _ = run(tmp_path / "straight", text, settings=settings)
    with pytest.raises(Exception, match="stopped by a signal"):
        run(tmp_path / "stopped", text, settings=settings, stop=11)
    resumed, _ = run(tmp_path / "stopped", text, settings=settings)
    expected, got = weights(straight), weights(resumed)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_dropout_is_drawn_anew_for_every_part_and_step_and_again_for_the_same(text: Path) -> None:
    batch, one = batches(text)(0), trainer(tiny(), micro_batch=4)
    first = one.measure(batch, 0, step=0).loss
    assert one.measure(batch, 0, step=0).loss == first
    assert one.measure(batch, 0, step=1).loss != first
    seeds = [one._dropout_seeds(step, 4) for step in range(3)]
    assert len({seed for row in seeds for seed in row}) == 12


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_dropout_can_be_set_whatever_the_architecture(architecture: str) -> None:
    """At 0 training answers as evaluation does; above 0 hidden states and attention both drop."""
    ids = torch.arange(20).reshape(2, 10) + 5

    def hidden(model: PreTrainedModel) -> torch.Tensor:
        torch.manual_seed(3)
        parts = architecture_of(model)
        embedded = nn.functional.embedding(ids, parts.embedding(model))
        return parts.encode(model, embedded, attention_mask=torch.ones_like(ids)).detach()

    model = tiny_model(architecture)
    expected = hidden(model)
    written = model.config.to_dict()
    set_dropout_(model, 0.0)
    assert torch.equal(hidden(model.train()), hidden(model.eval()))
    set_dropout_(model, 0.3)
    assert not torch.allclose(hidden(model.train()), expected, atol=1e-3)
    for module in model.modules():  # what is left is attention's own
        if isinstance(module, nn.Dropout) and not _is_of_attention(model, module):
            module.p = 0.0
    assert not torch.allclose(hidden(model.train()), expected, atol=1e-3)
    assert model.config.to_dict() == written


def _is_of_attention(model: PreTrainedModel, wanted: nn.Module) -> bool:
    names = [name for name, module in model.named_modules() if module is wanted]
    return any("attention" in name.lower() and "output" not in name for name in names)


@pytest.mark.slow
def test_a_compiled_step_gives_the_same_numbers(text: Path) -> None:
    batch = batches(text)(0)
    plain, compiled = (trainer(without_dropout(), compiled=wanted) for wanted in (False, True))
    for step in range(2):
        expected, got = (one.step(batch, step, step=step) for one in (plain, compiled))
        assert got.loss == pytest.approx(expected.loss, rel=1e-5)
        assert got.grad_norm == pytest.approx(expected.grad_norm, rel=1e-4)
    assert type(plain._losses) is not type(compiled._losses)


def test_only_kernels_that_repeat_themselves_on_request() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic_kernels(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
    with deterministic_kernels(False):
        assert torch.are_deterministic_algorithms_enabled() is before
    assert torch.are_deterministic_algorithms_enabled() is before
    assert is_reproducible(torch.device("cpu"), deterministic=False)
    assert not is_reproducible(torch.device("cuda"), deterministic=False)
    assert is_reproducible(torch.device("cuda"), deterministic=True)


def test_deterministic_kernels_train(tmp_path: Path, text: Path) -> None:
    with deterministic_kernels(True):
        _, reports = run(tmp_path / "wanted", text)
    _, expected = run(tmp_path / "plain", text)
    assert [report.loss for report in reports] == [report.loss for report in expected]


def test_batches_are_read_ahead_in_order_and_after_a_jump() -> None:
    made: list[int] = []
    read = Prefetcher(lambda step: (made.append(step), step * 10)[1], stop=7, ahead=2)
    assert [read(step) for step in range(4)] == [0, 10, 20, 30]
    _until(lambda: 5 in made)
    assert [read(step) for step in (1, 2, 3, 4, 5, 6)] == [10, 20, 30, 40, 50, 60]
    assert max(made) == 6
    read.close()
    _until(lambda: not any(thread.name == "extend-prefetch" for thread in threading.enumerate()))


def _until(holds: object) -> None:
    until = time.monotonic() + 10
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_a_batch_that_fails_does_so_at_its_own_step(ahead: int) -> None:
    def make(step: int) -> int:
        if step == 2:
            raise DataError("shard 5 is damaged", name="E-DATA-DAMAGED")
        return step

    read = Prefetcher(make, stop=5, ahead=ahead)
    assert [read(0), read(1)] == [0, 1]
    with pytest.raises(DataError, match="shard 5"):
        read(2)
    assert read(3) == 3
    read.close()


def test_a_reader_that_hangs_is_told() -> None:
    held, looked = threading.Event(), threading.Event()

    def make(step: int) -> int:
        held.wait(20 if step == 1 else 0)
        return step

    read = Prefetcher(make, stop=5, ahead=1, patience=0.3, on_silence=looked.set)
    assert read(0) == 0
    with pytest.raises(WorkerError, match="no batch for step 2 came within") as told:
        read(1)
    held.set()
    read.close()
    assert looked.is_set()
    assert told.value.name == "E-WATCHDOG"


def test_what_a_prefetching_run_reads(tmp_path: Path, text: Path) -> None:
    """Reading ahead or not, the run ends with the same bits."""
    ahead, _ = run(tmp_path / "ahead", text, settings=loop(prefetch=3))
    not_ahead, _ = run(tmp_path / "not", text, settings=loop(prefetch=0))
    expected, got = weights(not_ahead), weights(ahead)
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert BATCH == 8
