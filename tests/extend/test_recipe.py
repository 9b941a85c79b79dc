"""The chain in small, on a tiny base and made text: every stage's files, repeats, resumes, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from extend import recipe
from extend.config import load_settings
from extend.errors import BusyError, CheckpointError, DataError, PathError, UsageError
from extend.languages import resolve
from extend.store import locked
from extend.types import Progress
from tests.extend.cli_runs import make_inputs

SMALL = {
    "lang": "ka",
    "vocab.size": 60,
    "vocab.held_out_lines": 40,
    "pretrain.steps": 8,
    "pretrain.new_rows_steps": 4,
    "pretrain.length": 16,
    "pretrain.batch_size": 4,
    "pretrain.warmup_steps": 2,
    "pretrain.save_every": 3,
    "pretrain.log_every": 1,
    "pretrain.eval_every": 4,
    "ner.source": "en",
    "ner.seeds": 2,
    "ner.epochs": 2,
    "ner.hidden_size": 8,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inputs")
    make_inputs(directory)
    return directory


def opened(inputs: Path, directory: Path, **overrides: Any) -> recipe.Run:
    given = {
        **SMALL,
        "base": str(inputs / "base"),
        "corpus": [str(inputs / "ka.txt")],
        **{
            f"ner.data.{language}.{split}": str(inputs / f"{language}.{split}.conll")
            for language in ("en", "ka")
            for split in ("train", "test")
        },
        **{key.replace("__", "."): value for key, value in overrides.items()},
    }
    return recipe.open_run(load_settings(None, given), directory, resolve("ka"))


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[recipe.Run, dict[str, Any]]:
    run = opened(inputs, tmp_path_factory.mktemp("chain") / "ka")
    return run, recipe.run_all(run)


def test_every_stage_leaves_its_files(finished: tuple[recipe.Run, dict[str, Any]]) -> None:
    run, _ = finished
    expected = """run.toml manifest.json encoders.json report.html README.md vocab/added.txt vocab/report.json
        vocab/examples.json vocab/tokenizer/tokenizer.json vocab/tokenizer/vocab.txt grown/rows.jsonl
        grown/model.safetensors grown/config.json pretrain/metrics.jsonl pretrain/held_out.jsonl
        pretrain/report.json model/model.safetensors model/config.json model/tokenizer.json model/README.md
        model/tokenizer_config.json model/vocab.txt ner/zero-shot/results.json ner/supervised/results.json"""
    assert [name for name in expected.split() if not (run.directory / name).is_file()] == []
    assert not list(run.directory.rglob("*.tmp-*"))


def test_the_model_loads_by_its_folder_alone(finished: tuple[recipe.Run, dict[str, Any]]) -> None:
    run, results = finished
    model = AutoModelForMaskedLM.from_pretrained(run.model)
    tokenizer = AutoTokenizer.from_pretrained(run.model)
    assert (
        len(tokenizer) == model.config.vocab_size == results["vocab"]["base_size"] + results["vocab"]["added"]
    )
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_reports_have_the_promised_names(finished: tuple[recipe.Run, dict[str, Any]]) -> None:
    _, results = finished
    vocab = results["vocab"]
    assert vocab.keys() >= {"added", "base_size", "corpus", "held_out", "drift", "unused", "seconds"}
    assert vocab["corpus"].keys() >= {"lines", "words", "distinct_words", "bytes", "sha256"}
    assert vocab["held_out"]["extended"]["unk_rate"] < vocab["held_out"]["base"]["unk_rate"] == 1.0
    assert vocab["added"] == 60
    assert results["pretrain"].keys() >= {
        "steps",
        "tokens",
        "tokens_per_second",
        "loss",
        "held_out",
        "resumed_from",
    }
    scores = results["ner"]["zero-shot"]["encoders"]
    assert scores.keys() == {"base", "extended"}
    assert scores["base"].keys() == {"en", "ka"}


def test_new_rows_say_where_they_come_from(finished: tuple[recipe.Run, dict[str, Any]]) -> None:
    run, results = finished
    rows = [json.loads(line) for line in (run.grown / "rows.jsonl").read_text().splitlines()]
    added = (run.vocabulary / "added.txt").read_text().splitlines()
    assert [row["piece"] for row in rows] == added
    first = results["vocab"]["base_size"]
    assert [row["id"] for row in rows] == list(range(first, first + len(added)))
    assert sum(results["grow"]["by_method"].values()) == len(added)


def test_growth_leaves_every_old_bit(inputs: Path, finished: tuple[recipe.Run, dict[str, Any]]) -> None:
    run, results = finished
    base, grown = load_file(inputs / "base" / "model.safetensors"), load_file(run.grown / "model.safetensors")
    assert base.keys() == grown.keys()
    known = results["vocab"]["base_size"]
    for name, before in base.items():
        after = grown[name]
        assert torch.equal(after[: len(before)] if after.shape != before.shape else after, before), name
        assert after.shape == before.shape or len(after) == known + results["vocab"]["added"], name


def test_metrics_have_a_line_a_step_once(finished: tuple[recipe.Run, dict[str, Any]]) -> None:
    run, _ = finished
    lines = [json.loads(line) for line in (run.pretraining / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["stage"] for line in lines] == ["new-rows"] * 4 + ["all"] * 4
    assert lines[-1]["tokens"] == 8 * 4 * 16


def test_a_repeat_changes_nothing(finished: tuple[recipe.Run, dict[str, Any]]) -> None:
    run, results = finished
    before = {path: path.stat().st_mtime_ns for path in run.directory.rglob("*") if path.name != ".lock"}
    assert recipe.learn_vocabulary(run) == results["vocab"]
    assert recipe.grow(run) == results["grow"]
    assert recipe.pretrain(run) == results["pretrain"]
    assert {
        path: path.stat().st_mtime_ns for path in run.directory.rglob("*") if path.name != ".lock"
    } == before


def test_the_same_settings_give_the_same_bytes(
    inputs: Path, tmp_path: Path, finished: tuple[recipe.Run, dict[str, Any]]
) -> None:
    run, again = finished[0], opened(inputs, tmp_path / "again")
    recipe.pretrain(again)
    for name in (
        "vocab/added.txt",
        "vocab/tokenizer/tokenizer.json",
        "grown/rows.jsonl",
        "model/model.safetensors",
    ):
        assert (again.directory / name).read_bytes() == (run.directory / name).read_bytes(), name


def test_other_settings_are_refused_and_harm_nothing(
    inputs: Path, finished: tuple[recipe.Run, dict[str, Any]]
) -> None:
    run, _ = finished
    before = (run.directory / "run.toml").read_bytes()
    for key, value in {"vocab__size": 50, "grow__init": "paper", "pretrain__steps": 9, "seed": 3}.items():
        with pytest.raises(CheckpointError, match="other settings") as told:
            recipe.pretrain(opened(inputs, run.directory, **{key: value}))
        assert told.value.exit_code == 8
    assert (run.directory / "run.toml").read_bytes() == before


def test_a_folder_that_is_no_run_is_refused(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PathError, match=r"not a run folder.*thesis\.tex"):
        recipe.learn_vocabulary(opened(inputs, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_busy_folder_is_refused(inputs: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "ka"), pytest.raises(BusyError, match="in use by pid"):
        recipe.learn_vocabulary(opened(inputs, tmp_path / "ka"))


def test_bad_input_leaves_no_stage_behind(inputs: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    run = opened(inputs, tmp_path / "ka", corpus=[str(empty)])
    with pytest.raises(DataError):
        recipe.run_all(run)
    assert not run.vocabulary.exists()
    assert not run.manifest.exists()
    with pytest.raises(UsageError, match="unknown initialiser 'focis'"):
        recipe.grow(opened(inputs, tmp_path / "other", grow__init="focis"))
    with pytest.raises(UsageError, match="no trained model yet"):
        recipe.evaluate_ner(opened(inputs, tmp_path / "third"), True, False)


def test_replayed_text_is_drawn_in_its_share(inputs: Path, tmp_path: Path) -> None:
    replay = {"en": [str(inputs / "en.txt")]}
    run = opened(inputs, tmp_path / "ka", pretrain__replay=replay, pretrain__replay_share=0.5)
    seen: list[Progress] = []
    report = recipe.pretrain(run, seen.append)
    assert report["held_out"].keys() == {"ka", "en"}
    assert {progress.stage for progress in seen} >= {"vocab", "grow", "tokenise", "pretrain"}


def test_next_sentence_prediction_is_an_option(inputs: Path, tmp_path: Path) -> None:
    lines = (inputs / "ka.txt").read_text().splitlines()
    text = "\n".join(line + ("\n" if number % 5 == 4 else "") for number, line in enumerate(lines))
    (tmp_path / "documents.txt").write_text(text)
    run = opened(
        inputs,
        tmp_path / "ka",
        corpus=[str(tmp_path / "documents.txt")],
        pretrain__nsp=True,
        pretrain__new_rows_steps=0,
    )
    recipe.pretrain(run)
    lines = (run.pretraining / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["nsp_loss"] > 0 for line in lines)


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_a_base_from_scratch_can_be_extended(inputs: Path, tmp_path: Path, architecture: str) -> None:
    scratch = {
        "scratch__architecture": architecture,
        "scratch__languages": {"en": [str(inputs / "en.txt")], "xx": [str(inputs / "ka.txt")]},
        "scratch__vocab_size": 80,
        "scratch__hidden_size": 16,
        "scratch__heads": 2,
        "scratch__layers": 1,
        "scratch__intermediate_size": 32,
    }
    base = opened(inputs, tmp_path / "base", **scratch, pretrain__steps=6)
    report = recipe.train_from_scratch(base)
    assert report["steps"] == 6
    assert report["held_out"].keys() == {"en", "xx"}
    assert recipe.train_from_scratch(base) == report
    tokenizer = AutoTokenizer.from_pretrained(base.model)
    assert len(tokenizer) == 80
    assert "[UNK]" not in tokenizer.tokenize((inputs / "en.txt").read_text()[:500])
    extended = opened(inputs, tmp_path / "ka", base=str(base.model), vocab__size=10)
    assert recipe.pretrain(extended)["steps"] == 8


def test_a_given_vocabulary_is_cut_to_what_occurs(inputs: Path, tmp_path: Path) -> None:
    given = tmp_path / "vocab.txt"
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefgh",
        *(f"##{c}" for c in "abcdefgh"),
        "zebra",
    ]
    given.write_text("".join(f"{piece}\n" for piece in pieces))
    run = opened(
        inputs,
        tmp_path / "base",
        scratch__languages={"en": [str(inputs / "en.txt")]},
        scratch__vocabulary=str(given),
        scratch__hidden_size=16,
        scratch__heads=2,
        scratch__layers=1,
        pretrain__steps=2,
    )
    recipe.train_from_scratch(run)
    assert (run.model / "vocab.txt").read_text().splitlines() == pieces[:-1]


def test_a_streamed_dataset_is_a_corpus(inputs: Path, tmp_path: Path) -> None:
    texts = (inputs / "ka.txt").read_text().splitlines()
    (tmp_path / "data").mkdir()
    pyarrow.parquet.write_table(pa.table({"text": texts}), tmp_path / "data" / "train.parquet")
    streamed = opened(inputs, tmp_path / "streamed", corpus=[f"hf:{tmp_path / 'data'}"])
    plain = opened(inputs, tmp_path / "plain")
    assert recipe.learn_vocabulary(streamed)["added"] == recipe.learn_vocabulary(plain)["added"]
    added = [(run.vocabulary / "added.txt").read_bytes() for run in (streamed, plain)]
    assert added[0] == added[1]


_PRETRAIN = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from extend import recipe
from extend.config import load_settings
from extend.errors import ExtendError
from extend.languages import resolve
run = recipe.open_run(load_settings(Path(sys.argv[1])), Path(sys.argv[2]), resolve("ka"))
try:
    recipe.pretrain(run, lambda progress: print(progress.stage, progress.done, flush=True))
except ExtendError as error:
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_in_training_costs_nothing(inputs: Path, tmp_path: Path, number: int) -> None:
    straight = opened(inputs, tmp_path / "straight", pretrain__steps=60, pretrain__save_every=7)
    recipe.pretrain(straight)
    from extend.config import dump_toml

    configuration = tmp_path / "ka.toml"
    configuration.write_text(dump_toml(straight.settings))
    command = [sys.executable, "-c", _PRETRAIN, str(configuration), str(tmp_path / "killed")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("pretrain 3"):
            time.sleep(float(np.random.default_rng().uniform(0, 0.1)))
            process.send_signal(number)
            break
    process.communicate()
    code = process.returncode
    assert code == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    for name in ("model/model.safetensors", "grown/model.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (straight.directory / name).read_bytes()
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "killed" / "pretrain" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, 61))
