"""Settings of `extend pretrain` as the whole command carries them out: what moves, what is kept and told."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

from extend import recipe
from extend.config import load_settings
from extend.errors import CheckpointError, UsageError
from extend.languages import resolve
from extend.recipe.training import stages_of
from tests.extend.cli_runs import make_inputs

SMALL: dict[str, Any] = {
    "lang": "ka",
    "vocab.size": 60,
    "vocab.held_out_lines": 40,
    "pretrain.steps": 6,
    "pretrain.length": 16,
    "pretrain.batch_size": 4,
    "pretrain.warmup_steps": 1,
    "pretrain.learning_rate": 1e-3,
    "pretrain.save_every": 2,
    "pretrain.log_every": 1,
    "pretrain.processes": 1,
    "pretrain.precision": "fp32",
}
TABLES = ("word_embeddings", "decoder", "predictions.bias")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inputs")
    make_inputs(directory)
    recipe.grow(opened(directory, directory / "grown"))
    return directory


def opened(inputs: Path, directory: Path, **overrides: Any) -> recipe.Run:
    files = {"base": str(inputs / "base"), "corpus": [str(inputs / "ka.txt")]}
    changed = {f"pretrain.{key}": value for key, value in overrides.items()}
    return recipe.open_run(load_settings(None, {**SMALL, **files, **changed}), directory, resolve("ka"))


def pretrained(inputs: Path, directory: Path, **overrides: Any) -> tuple[recipe.Run, dict[str, Any]]:
    shutil.copytree(inputs / "grown", directory)
    run = opened(inputs, directory, **overrides)
    return run, recipe.pretrain(run)


def moved(run: recipe.Run) -> dict[str, torch.Tensor]:
    """Which entries of which weights training changed, by name; those it left alone are not named."""
    before, after = (load_file(folder / "model.safetensors") for folder in (run.grown, run.model))
    assert before.keys() == after.keys()
    found = {name: before[name] != after[name] for name in before}
    return {name: changed for name, changed in found.items() if changed.any()}


def old_rows(run: recipe.Run) -> int:
    added = json.loads((run.grown / "report.json").read_text())["added"]
    return int(json.loads((run.grown / "config.json").read_text())["vocab_size"]) - int(added)


def test_by_default_everything_is_trained(inputs: Path, tmp_path: Path) -> None:
    run, report = pretrained(inputs, tmp_path / "run")
    assert any("attention" in name for name in moved(run))
    assert report["ended"] is None
    assert AutoModelForMaskedLM.from_pretrained(run.model).config.vocab_size > old_rows(run)


def test_new_rows_alone(inputs: Path, tmp_path: Path) -> None:
    run, _ = pretrained(inputs, tmp_path / "run", train="new-rows")
    changed = moved(run)
    assert changed
    assert all(any(table in name for table in TABLES) for name in changed)
    assert not any(rows[: old_rows(run)].any() for rows in changed.values())


def test_embeddings_alone(inputs: Path, tmp_path: Path) -> None:
    run, _ = pretrained(inputs, tmp_path / "run", train="embeddings")
    changed = moved(run)
    assert all(any(table in name for table in TABLES) for name in changed)
    assert any(rows[: old_rows(run)].any() for rows in changed.values())


def test_the_softmax_over_what_occurs_leaves_the_rest(inputs: Path, tmp_path: Path) -> None:
    run, _ = pretrained(inputs, tmp_path / "run", softmax="active", train="embeddings")
    full, _ = pretrained(inputs, tmp_path / "full", train="embeddings")
    table = "bert.embeddings.word_embeddings.weight"
    some, every = (int(moved(one)[table].any(dim=1).sum()) for one in (run, full))
    assert some < every == len(moved(full)[table])


@pytest.mark.parametrize("way", ["distil_weight", "l2_to_base"])
def test_what_keeps_the_base_makes_a_difference(inputs: Path, tmp_path: Path, way: str) -> None:
    replay = {"replay": {"en": [str(inputs / "en.txt")]}, "replay_share": 0.5}
    plain, _ = pretrained(inputs, tmp_path / "plain", **replay)
    kept, _ = pretrained(inputs, tmp_path / "kept", **replay, **{way: 50.0})
    distances = []
    for run in (plain, kept):
        before, after = (load_file(folder / "model.safetensors") for folder in (run.grown, run.model))
        names = [name for name in before if "attention" in name]
        distances.append(sum(float((before[name] - after[name]).square().sum()) for name in names))
    assert distances[0] != distances[1]
    if way == "l2_to_base":
        assert distances[1] < distances[0]


def test_packed_documents_and_parts(inputs: Path, tmp_path: Path) -> None:
    _, report = pretrained(inputs, tmp_path / "run", packing="documents", micro_batch=3)
    assert report["steps"] == 6
    assert report["micro_batch"] == 3


def test_adapters_are_merged_and_published_apart(inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    run, _ = pretrained(
        inputs, tmp_path / "run", train="new-rows", adapt="lora", lora_rank=2, new_rows_steps=2
    )
    changed = moved(run)
    assert any("attention" in name and name.endswith("weight") for name in changed)
    table = changed["bert.embeddings.word_embeddings.weight"]
    assert not table[: old_rows(run)].any()
    assert (run.directory / "adapter" / "adapter_model.safetensors").is_file()


def test_beside_adapters_the_encoder_stays_and_nothing_old_is_pulled(inputs: Path, tmp_path: Path) -> None:
    run = opened(inputs, tmp_path / "run", adapt="lora", l2_to_base=0.1)
    assert [stage.trains for stage in stages_of(run, first_new=5)][-1] == "new-rows"
    with pytest.raises(UsageError, match="nothing to pull"):
        recipe.pretrain(run)
    assert not (tmp_path / "run").exists()


def test_the_manifest_says_how_it_was_trained(inputs: Path, tmp_path: Path) -> None:
    run, report = pretrained(inputs, tmp_path / "run", deterministic=True, micro_batch=2, dropout=0.0)
    facts = json.loads(run.manifest.read_text())["stages"]["pretrain"]
    for name, value in {
        "processes": 1,
        "devices": ["cpu"] if not torch.cuda.is_available() else facts["devices"],
        "precision": "fp32",
        "micro_batch": 2,
        "reproducible": True,
        "left_out": 0,
        "ended": None,
    }.items():
        assert facts[name] == report[name] == value, name
    config = json.loads((run.model / "config.json").read_text())
    assert config["hidden_dropout_prob"] == 0.1


def test_a_finished_run_takes_other_free_settings_and_fewer_steps(inputs: Path, tmp_path: Path) -> None:
    run, report = pretrained(inputs, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in run.directory.rglob("*") if path.is_file()}
    for free in ({"micro_batch": 1}, {"steps": 4}, {"log_every": 3, "on_spike": "skip", "bad_steps": 0}):
        assert recipe.pretrain(opened(inputs, run.directory, **free)) == report
    del before[run.directory / "run.toml"], before[run.directory / ".lock"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for other in ({"steps": 7}, {"learning_rate": 1e-2}):
        with pytest.raises(CheckpointError, match="other settings"):
            recipe.pretrain(opened(inputs, run.directory, **other))


def test_a_run_of_an_older_release_is_known_again(inputs: Path, tmp_path: Path) -> None:
    """Settings that its manifest does not name are what they were then: the defaults."""
    run, report = pretrained(inputs, tmp_path / "run")
    manifest = json.loads(run.manifest.read_text())
    for later in ("packing", "softmax", "compile", "train", "duplicates"):
        del manifest["stages"]["pretrain"]["settings"][later]
    run.manifest.write_text(json.dumps(manifest))
    assert recipe.pretrain(run) == report
    with pytest.raises(CheckpointError, match="other settings"):
        recipe.pretrain(opened(inputs, run.directory, packing="documents"))
