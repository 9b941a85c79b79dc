"""Ways to start rows compared on one run, and rows distilled after they start."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from extend import recipe
from extend.cli import main
from extend.config import GrowSettings, load_settings
from extend.errors import UsageError
from extend.languages import resolve
from extend.recipe.initializing import DISTIL_LINES, distil_lines, method_settings
from tests.extend.cli_runs import make_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that knows Latin letters, and a corpus that is written with them."""
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    return folder


def opened(inputs: Path, directory: Path, **overrides: Any) -> recipe.Run:
    given = {
        "lang": "sw",
        "base": str(inputs / "base"),
        "corpus": [str(inputs / "en.txt")],
        "vocab.size": 60,
        "vocab.held_out_lines": 40,
        "pretrain.length": 16,
        "pretrain.batch_size": 4,
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    return recipe.open_run(load_settings(None, given), directory, resolve("sw"))


def test_methods_are_measured_on_the_same_masks_and_nothing_is_grown(inputs, tmp_path):
    run = opened(inputs, tmp_path / "run")
    methods = ["paper", "mean", "subword"]
    first = recipe.compare_methods(run, methods)
    assert list(first["compare"]) == methods
    assert not run.grown.exists()
    assert json.loads((run.directory / "compare.json").read_text()) == first
    again = recipe.compare_methods(run, methods[::-1])
    losses = {name: one["mlm_loss"] for name, one in first["compare"].items()}
    assert losses == {name: one["mlm_loss"] for name, one in again["compare"].items()}
    assert len(set(losses.values())) == 3


def test_the_loss_before_training_is_that_of_the_grown_model(inputs, tmp_path):
    run = opened(inputs, tmp_path / "run", pretrain__steps=0)
    compared = recipe.compare_methods(run, ["subword"])["compare"]["subword"]["mlm_loss"]
    assert recipe.pretrain(run)["held_out"]["sw"]["mlm_loss"] == pytest.approx(compared, abs=1e-6)


def test_probing_trains_new_rows_and_starts_anew_for_each(inputs, tmp_path):
    draw = random.Random(2)
    words = sorted(set((inputs / "en.txt").read_text("utf-8").split()))
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    lines = (" ".join(draw.choices(words, weights, k=8)) for _ in range(500))
    (tmp_path / "few.txt").write_text("\n".join(lines), encoding="utf-8")
    given = {"corpus": [str(tmp_path / "few.txt")], "pretrain__new_rows_learning_rate": 0.02}
    run = opened(inputs, tmp_path / "run", **given)
    both = recipe.compare_methods(run, ["subword", "mean"], probe_steps=60)["compare"]
    alone = recipe.compare_methods(run, ["mean"], probe_steps=60)["compare"]
    assert both["mean"]["probe_loss"] == alone["mean"]["probe_loss"]
    assert all(one["probe_loss"] < one["mlm_loss"] - 0.1 for one in both.values())


def test_what_cannot_be_compared_is_refused_first(inputs, tmp_path):
    run = opened(inputs, tmp_path / "run")
    for methods in ([], ["subword", "nonsense"], ["clp"]):
        with pytest.raises(UsageError):
            recipe.compare_methods(run, methods)
    assert not run.directory.exists()


def test_the_command_prints_a_table(inputs, tmp_path, capsys):
    arguments = ["--base", str(inputs / "base"), "--corpus", str(inputs / "en.txt")]
    settings = ["--set", "vocab.size=60", "--set", "vocab.held_out_lines=40", "--set", "pretrain.length=16"]
    code = main(
        [
            "grow",
            "--lang",
            "sw",
            "--run",
            str(tmp_path / "run"),
            *arguments,
            *settings,
            "--compare",
            "mean, paper",
        ]
    )
    assert code == 0
    shown = capsys.readouterr().out
    assert "held-out MLM loss" in shown
    assert "paper" in shown


def test_distilled_rows_differ_and_old_ones_do_not(inputs, tmp_path):
    plain = opened(inputs, tmp_path / "plain")
    distilled = opened(inputs, tmp_path / "distilled", grow__distil_lines=200)
    recipe.grow(plain)
    report = recipe.grow(distilled)
    assert report["distilled"]["batches"] == 13
    assert report["distilled"]["last_loss"] < report["distilled"]["first_loss"]
    before, after = (load_file(run.grown / "model.safetensors") for run in (plain, distilled))
    old = report["added"]
    for name, value in before.items():
        if "word_embeddings" in name:
            assert torch.equal(value[:-old], after[name][:-old])
            assert not torch.equal(value[-old:], after[name][-old:])
        else:
            assert torch.equal(value, after[name]), name
    assert recipe.grow(distilled) == report


def test_distill_starts_as_subword_and_is_trained(inputs, tmp_path):
    """`--init distill` is the start and the training together, by themselves and in a comparison."""
    named, spelled_out = (
        opened(inputs, tmp_path / "named", grow__init="distill", grow__distil_lines=200),
        opened(inputs, tmp_path / "spelled-out", grow__init="subword", grow__distil_lines=200),
    )
    report = recipe.grow(named)
    assert report["initializer"] == "distill"
    assert report["distilled"] == recipe.grow(spelled_out)["distilled"]
    before, after = (load_file(run.grown / "model.safetensors") for run in (spelled_out, named))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    plain = opened(inputs, tmp_path / "plain", grow__distil_lines=0)
    compared = recipe.compare_methods(plain, ["distill", "subword"])["compare"]
    assert compared["subword"]["mlm_loss"] != compared["distill"]["mlm_loss"]


def test_the_lines_of_distill():
    assert distil_lines(GrowSettings(init="distill")) == DISTIL_LINES
    assert distil_lines(GrowSettings(init="distill", distil_lines=7)) == 7
    assert distil_lines(GrowSettings(init="focus")) == 0
    assert method_settings(GrowSettings(init="distill"))["distil_lines"] == DISTIL_LINES
