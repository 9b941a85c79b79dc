"""Whole runs that are watched: losses and forgetting at every evaluation, reasons to stop, resumes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extend import recipe
from extend.blocks import open_stream
from extend.config import load_settings
from extend.errors import DataError, UsageError
from extend.hub import load_pretraining_model
from extend.languages import resolve
from extend.masking import MaskingRule
from extend.pretrain import held_out_loss
from extend.pretrain.held_out import held_out_losses
from extend.recipe.watching import check_watch
from extend.store import read_json
from extend.tokenizer import load_tokenizer, special_ids
from extend.types import Progress
from tests.extend.cli_runs import make_inputs

SETTINGS: dict[str, Any] = {
    "lang": "ka",
    "vocab.size": 60,
    "vocab.held_out_lines": 40,
    "pretrain.steps": 12,
    "pretrain.new_rows_steps": 5,
    "pretrain.length": 16,
    "pretrain.batch_size": 4,
    "pretrain.warmup_steps": 2,
    "pretrain.learning_rate": 1e-2,
    "pretrain.save_every": 4,
    "pretrain.log_every": 1,
    "pretrain.eval_every": 4,
    "pretrain.precision": "fp32",
    "pretrain.replay_share": 0.3,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base and texts; `fr.txt` is of the base's letters too."""
    directory = tmp_path_factory.mktemp("inputs")
    make_inputs(directory)
    lines = (directory / "en.txt").read_text().splitlines()
    half = len(lines) // 2
    (directory / "en.txt").write_text("\n".join(lines[:half]) + "\n")
    (directory / "fr.txt").write_text("\n".join(lines[half:]) + "\n")
    return directory


def opened(inputs: Path, directory: Path, **more: Any) -> recipe.Run:
    given = {
        **SETTINGS,
        "base": str(inputs / "base"),
        "corpus": [str(inputs / "ka.txt")],
        "pretrain.replay": {"en": [str(inputs / "en.txt")]},
        "pretrain.watch": {"fr": [str(inputs / "fr.txt")]},
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    settings = load_settings(None, {key: value for key, value in given.items() if value is not None})
    return recipe.open_run(settings, directory, resolve("ka"))


@pytest.fixture(scope="module")
def watched(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[recipe.Run, dict[str, Any]]:
    run = opened(inputs, tmp_path_factory.mktemp("watched") / "ka")
    return run, recipe.pretrain(run)


def lines(run: recipe.Run, name: str = "held_out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.pretraining / name).read_text().splitlines()]


def test_every_language_is_measured_before_on_the_way_at_stage_ends_and_after(
    watched: tuple[recipe.Run, dict[str, Any]],
) -> None:
    run, report = watched
    assert [line["step"] for line in lines(run)] == [0, 4, 5, 8, 12]
    for line in lines(run):
        assert set(line["held_out"]) == {"ka", "en", "fr"}
        assert set(line["forgetting"]) == {"en", "fr"}
        for measured in line["held_out"].values():
            assert measured["perplexity"] == pytest.approx(math.exp(measured["mlm_loss"]))
            assert 0 < measured["standard_error"] < measured["mlm_loss"]
    assert report["held_out"] == lines(run)[-1]["held_out"]
    assert report["forgetting"] == lines(run)[-1]["forgetting"]
    assert set(report["base_held_out"]) == {"en", "fr"}


def test_before_training_nothing_is_forgotten_and_later_it_is_the_difference(
    watched: tuple[recipe.Run, dict[str, Any]],
) -> None:
    run, _ = watched
    start, *later = lines(run)
    for change in start["forgetting"].values():
        assert change["change"] == 0.0
        assert change["standard_error"] == 0.0
    assert all(line["forgetting"]["fr"]["before"] == start["forgetting"]["fr"]["now"] for line in later)
    for line in later:
        for change in line["forgetting"].values():
            assert change["change"] == pytest.approx(change["now"] - change["before"])
    assert later[-1]["forgetting"]["fr"]["change"] != 0.0


def test_the_last_numbers_are_those_of_the_published_model(
    watched: tuple[recipe.Run, dict[str, Any]],
) -> None:
    run, report = watched
    special = special_ids(load_tokenizer(run.model))
    stream = open_stream(_extended_stream(run), "fr")
    added = len((run.vocabulary / "added.txt").read_text(encoding="utf-8").splitlines())
    whole, old = held_out_losses(
        load_pretraining_model(run.model),
        stream,
        length=16,
        special=special,
        rule=MaskingRule(),
        old_pieces=special.vocab_size - added,
    )
    assert whole.sums.sum() / whole.counts.sum() == pytest.approx(
        report["held_out"]["fr"]["mlm_loss"], abs=1e-5
    )
    assert old.sums.sum() / old.counts.sum() == pytest.approx(report["forgetting"]["fr"]["now"], abs=1e-5)


def _extended_stream(run: recipe.Run) -> Path:
    """Of the two token streams of the watched text, the extended tokenizer's is the one before.json names."""
    wanted = read_json(run.pretraining / "before.json")["languages"]["fr"]["key"]["text"]
    folders = list((run.pretraining / "data").glob("fr.watched-*"))
    assert len(folders) == 2
    return next(folder for folder in folders if open_stream(folder, "fr").sha256 == wanted)


def test_the_bases_number_is_its_own_under_its_own_tokenizer(
    inputs: Path, watched: tuple[recipe.Run, dict[str, Any]]
) -> None:
    run, report = watched
    theirs = _extended_stream(run)
    (folder,) = (one for one in (run.pretraining / "data").glob("fr.watched-*") if one != theirs)
    stream = open_stream(folder, "fr")
    special = special_ids(load_tokenizer(inputs / "base"))
    assert int(np.max(np.asarray(stream.ids[:]))) < special.vocab_size
    loss = held_out_loss(
        load_pretraining_model(inputs / "base"), stream, length=16, special=special, rule=MaskingRule()
    )
    assert report["base_held_out"]["fr"]["mlm_loss"] == pytest.approx(loss, abs=1e-6)


def test_a_killed_run_measures_the_same_and_nothing_twice(
    inputs: Path, tmp_path: Path, watched: tuple[recipe.Run, dict[str, Any]]
) -> None:
    straight, report = watched

    class Killed(Exception):
        pass

    def killer(after: int) -> Any:
        seen: list[int] = []

        def on_progress(progress: Progress) -> None:
            if progress.stage == "pretrain" and "loss" in progress.details:
                seen.append(progress.done)
                if len(seen) == after:
                    raise Killed

        return on_progress

    run = opened(inputs, tmp_path / "ka")
    for after in (2, 7, 3):
        with pytest.raises(Killed):
            recipe.pretrain(run, killer(after))
    reference = (run.pretraining / "before.json").stat().st_mtime_ns
    again = recipe.pretrain(run)
    assert (run.pretraining / "before.json").stat().st_mtime_ns == reference
    assert lines(run) == lines(straight)
    assert again["forgetting"] == report["forgetting"]
    assert [line["step"] for line in lines(run, "metrics.jsonl")] == list(range(1, 13))


def test_too_much_forgetting_ends_the_run_well(inputs: Path, tmp_path: Path) -> None:
    """At a rate that ruins the encoder, whatever its dropout draws."""
    harsh = {"pretrain__learning_rate": 3.0, "pretrain__replay_share": 0.0, "pretrain__eval_every": 1}
    run = opened(inputs, tmp_path / "ka", pretrain__max_forgetting=0.05, **harsh)
    report = recipe.pretrain(run)
    assert report["steps"] < 12
    assert "is being forgotten" in report["ended"]
    assert (run.model / "model.safetensors").is_file()
    (event,) = (event for event in report["events"] if event["event"] == "stopped")
    assert event["why"] == report["ended"]
    assert event["step"] == lines(run)[-1]["step"] == report["steps"]
    assert recipe.pretrain(run) == report


def test_no_gain_ends_the_run_after_the_evaluations_it_may_take(inputs: Path, tmp_path: Path) -> None:
    run = opened(
        inputs, tmp_path / "ka", pretrain__patience=2, pretrain__eval_every=1, pretrain__learning_rate=1e-9
    )
    report = recipe.pretrain(run)
    assert "no longer falls" in report["ended"]
    assert report["steps"] == 5 + 2  # the first stage is never ended so, the second gives it two evaluations


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"pretrain.watch": {"ka": ["x.txt"]}}, "names ka, which is trained on"),
        ({"pretrain.watch": {"en": ["x.txt"]}, "pretrain.replay": {"en": ["y.txt"]}}, "names en"),
        ({"pretrain.max_forgetting": 0.1, "pretrain.eval_every": 5}, "needs a language"),
        ({"pretrain.patience": 2}, "patience needs evaluations"),
        ({"pretrain.max_forgetting": 0.1, "pretrain.watch": {"en": ["x.txt"]}}, "max_forgetting needs eval"),
    ],
)
def test_what_cannot_be_watched_is_refused_first(more: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        check_watch(load_settings(None, {"lang": "ka", **more}), "ka")
    assert raised.value.next


def test_a_watched_text_that_is_too_short_is_told(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("".join(f"{letter}\n" for letter in "abcdefgh"))
    run = opened(inputs, tmp_path / "ka", pretrain__watch={"fr": [str(tmp_path / "short.txt")]})
    with pytest.raises(DataError, match=r"fr in pretrain\.watch is too short"):
        recipe.pretrain(run)
