"""What keeps the old languages, in whole runs: resumed bit for bit, and doing what it says."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from extend import recipe
from extend.config import load_settings
from extend.errors import TerminatedRun
from extend.hub import load_pretraining_model
from extend.languages import resolve
from extend.types import Progress
from tests.extend.cli_processes import files
from tests.extend.cli_runs import make_inputs

STEPS = 6
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "distilled": {"distil_weight": 50.0},
    "pulled": {"l2_to_base": 30.0},
    "lora": {"adapt": "lora", "train": "new-rows", "lora_rank": 2, "lora_alpha": 4.0},
}


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs and a run that was only grown."""
    folder = tmp_path_factory.mktemp("keeping")
    make_inputs(folder)
    recipe.grow(opened(folder, folder / "grown", {}))
    return folder


def opened(folder: Path, directory: Path, more: dict[str, Any]) -> recipe.Run:
    chosen = {
        "steps": STEPS,
        "new_rows_steps": 2,
        "length": 16,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "warmup_steps": 1,
        "save_every": 3,
        "log_every": 1,
        "precision": "fp32",
        "replay": {"en": [str(folder / "en.txt")]},
        "replay_share": 0.5,
        **more,
    }
    settings = load_settings(
        None,
        {
            "lang": "ka",
            "base": str(folder / "base"),
            "corpus": [str(folder / "ka.txt")],
            "vocab.size": 40,
            "vocab.held_out_lines": 40,
            **{f"pretrain.{key}": value for key, value in chosen.items()},
        },
    )
    return recipe.open_run(settings, directory, resolve("ka"))


@pytest.fixture(scope="module")
def trained(grown: Path) -> Callable[[str], recipe.Run]:
    """The run of each way, trained once without a stop."""

    def run(way: str) -> recipe.Run:
        one = opened(grown, grown / way, WAYS[way])
        if not one.directory.is_dir():
            shutil.copytree(grown / "grown", one.directory)
            recipe.pretrain(one)
        return one

    return run


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def distance(run: recipe.Run) -> float:
    """How far old weights went from the grown model."""
    before, after = weights(run.grown), weights(run.model)
    name = "bert.encoder.layer.0.output.dense.weight"
    return float((after[name] - before[name]).norm())


@pytest.mark.parametrize("way", ["distilled", "pulled", "lora"])
def test_a_run_that_was_stopped_ends_with_the_same_bits(grown: Path, trained, tmp_path: Path, way):
    whole = trained(way)
    shutil.copytree(grown / "grown", tmp_path / "run")
    run, told = opened(grown, tmp_path / "run", WAYS[way]), []

    def stop(progress: Progress) -> None:
        if progress.stage == "pretrain" and progress.done == 4 and not told:
            told.append(progress)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TerminatedRun):
        recipe.pretrain(run, stop)
    assert recipe.pretrain(run)["resumed_from"] == 4
    assert files(run.model) == files(whole.model)
    if way == "lora":
        assert files(run.directory / "adapter") == files(whole.directory / "adapter")


def test_each_way_trains_other_weights_and_holds_the_old_ones_back(trained):
    assert len({weights_of.read_bytes() for weights_of in _models(trained)}) == len(WAYS)
    plain = distance(trained("plain"))
    assert distance(trained("pulled")) < 0.9 * plain


def _models(trained: Callable[[str], recipe.Run]) -> list[Path]:
    return [trained(way).model / "model.safetensors" for way in WAYS]


def test_distilling_keeps_the_answers_on_replayed_text(trained):
    """KL divergence to the grown model, over old pieces, on English pieces that neither run was asked for."""
    ids = torch.randint(5, 40, (8, 12), generator=torch.Generator().manual_seed(1))
    ids[:, 3] = 4
    answers = {}
    for name, folder in (
        ("before", trained("plain").grown),
        ("plain", trained("plain").model),
        ("distilled", trained("distilled").model),
    ):
        with torch.no_grad():
            output = load_pretraining_model(folder)(input_ids=ids)
        answers[name] = output.prediction_logits[:, 3, :60].log_softmax(-1)
    lost = {
        name: float(
            torch.nn.functional.kl_div(
                answers[name], answers["before"], log_target=True, reduction="batchmean"
            )
        )
        for name in ("plain", "distilled")
    }
    assert lost["distilled"] < 0.8 * lost["plain"]


def test_an_adapter_is_published_beside_the_model_that_it_makes(trained):
    peft = pytest.importorskip("peft")
    run = trained("lora")
    adapter = run.directory / "adapter"
    assert {path.name for path in adapter.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "base",
    }
    before, base = weights(run.grown), weights(adapter / "base")
    added = int(load_pretraining_model(run.model).config.vocab_size) - _base_size(run)
    for name, tensor in base.items():
        known = (
            slice(0, -added) if len(tensor) == len(before[name]) == _base_size(run) + added else slice(None)
        )
        assert torch.equal(tensor[known], before[name][known]), name
    ids = torch.randint(5, 40, (4, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        merged = load_pretraining_model(run.model)(input_ids=ids).prediction_logits
        apart = _with_adapter(peft, adapter)(input_ids=ids).prediction_logits
        off = load_pretraining_model(adapter / "base")(input_ids=ids).prediction_logits
    torch.testing.assert_close(merged, apart, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(merged, off, atol=1e-3)


def _base_size(run: recipe.Run) -> int:
    return int(load_pretraining_model(Path(run.settings.base)).config.vocab_size)


def _with_adapter(peft: Any, adapter: Path) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks a deprecated question
        return peft.PeftModel.from_pretrained(load_pretraining_model(adapter / "base"), adapter).eval()
