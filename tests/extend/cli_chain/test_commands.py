"""The commands one after the other on a tiny run, as a user types them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.extend.cli_processes import VOCAB, files, undo
from tests.extend.cli_runs import QUICK


def test_the_chain_leaves_the_run_folder_that_is_promised(finished: tuple[Path, Any]) -> None:
    folder = finished[0] / "runs" / "ka"
    for name in (
        "run.toml", "manifest.json", "vocab/added.txt", "vocab/report.json", "vocab/tokenizer/tokenizer.json",
        "grown/rows.jsonl", "grown/model.safetensors", "pretrain/metrics.jsonl", "model/model.safetensors",
        "model/config.json", "model/tokenizer.json", "model/tokenizer_config.json", "model/vocab.txt",
        "ner/zero-shot/results.json", "ner/zero-shot/report.md", "ner/zero-shot/matrix.csv",
        "ner/zero-shot/errors.jsonl", "ner/supervised/results.json", "report.html", "README.md",
    ):  # fmt: skip
        assert (folder / name).is_file(), name
    assert not list(folder.rglob(".*tmp*"))
    assert not list(folder.rglob("extend-error*"))


def test_each_command_prints_the_fields_that_scripts_rely_on(finished: tuple[Path, Any]) -> None:
    folder, printed = finished
    vocab = printed["vocab"]
    assert vocab == json.loads((folder / "runs/ka/vocab/report.json").read_text(encoding="utf-8"))
    assert {"added", "base_size", "corpus", "held_out", "drift", "unused", "seconds"} <= set(vocab)
    assert {"lines", "words", "distinct_words", "bytes", "sha256"} <= set(vocab["corpus"])
    assert {"fertility", "unk_rate"} <= set(vocab["held_out"]["base"]) & set(vocab["held_out"]["extended"])
    assert {"sample", "words_changed", "words_newly_unk"} <= set(vocab["drift"])
    pretrain = printed["pretrain"]
    assert {"steps", "tokens", "tokens_per_second", "loss", "held_out", "resumed_from"} <= set(pretrain)
    assert pretrain["steps"] == 12
    assert pretrain["held_out"]["ka"]["mlm_loss"] > 0
    for protocol in ("zero-shot", "supervised"):
        results = printed["ner-eval"][protocol]
        assert results == json.loads(
            (folder / f"runs/ka/ner/{protocol}/results.json").read_text(encoding="utf-8")
        )
        one = results["encoders"]["extended"]["ka"]
        assert {
            "f1_mean",
            "f1_std",
            "f1",
            "ci95",
            "strict_f1_mean",
            "illegal",
            "unk_rate",
            "fertility",
            "per_type",
        } <= set(one)
    assert "runs/ka/report.html" in printed["report"]["files"]


def test_one_protocol_prints_the_content_of_its_results(
    rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert rerun("ner-eval", "--zero-shot", "--format", "json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(Path("runs/ka/ner/zero-shot/results.json").read_text(encoding="utf-8"))


def test_later_commands_take_the_run_s_own_settings(finished: tuple[Path, Any]) -> None:
    settings = (finished[0] / "runs/ka/run.toml").read_text(encoding="utf-8")
    for line in (
        'lang = "ka"',
        'base = "base"',
        "size = 60",
        "new_rows_steps = 4",
        'train = "en.train.conll"',
    ):
        assert line in settings


def test_the_same_command_again_changes_nothing(
    rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(Path("runs"))
    assert rerun("pretrain", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 12
    assert files(Path("runs")) == before


def test_text_output_is_tables_and_facts(
    rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert rerun("vocab") == 0
    shown = capsys.readouterr().out
    assert "added: 60" in shown
    assert "pieces a word" in shown
    assert rerun("report") == 0
    shown = capsys.readouterr().out
    assert "extended" in shown
    assert "wrote runs/ka/report.html" in shown
    assert rerun("push", "somebody/model", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "repo: somebody/model" in shown
    assert "  model.safetensors" in shown


def test_two_taggers_are_compared(rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("runs/ka/ner/supervised/predictions")
    assert (
        rerun("ner-compare", str(folder / "base-ka-ka"), str(folder / "extended-ka-ka"), "--format", "json")
        == 0
    )
    (one,) = json.loads(capsys.readouterr().out)["comparisons"].values()
    assert one["ci95"][0] <= one["f1"] <= one["ci95"][1]
    assert rerun("ner-compare", str(folder / "base-ka-ka"), str(folder / "extended-ka-ka")) == 0
    assert "95 % interval" in capsys.readouterr().out


def test_predictions_are_scored(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    Path("gold.conll").write_text("A\tB-PER\nB\tI-PER\nC\tO\nD\tB-LOC\n\n", encoding="utf-8")
    Path("predicted.conll").write_text("A\tB-PER\nB\tI-PER\nC\tO\nD\tI-LOC\n\n", encoding="utf-8")
    assert run("ner-score", "gold.conll", "predicted.conll", "--format", "json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["repaired"] == {"precision": 100.0, "recall": 100.0, "f1": 100.0}
    assert printed["strict"] == {"precision": 100.0, "recall": 50.0, "f1": pytest.approx(200 / 3)}
    assert printed["illegal"] == 1
    assert set(printed["per_type"]) == {"PER", "LOC"}
    assert run("ner-score", "gold.conll", "predicted.conll") == 0
    assert "illegal: 1" in capsys.readouterr().out


@pytest.mark.parametrize("command", [VOCAB, ("grow", *VOCAB[1:7]), ("pretrain", *VOCAB[1:7], "--steps", "3")])
def test_a_dry_run_of_a_new_run_writes_nothing(
    run: Callable[..., int], command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(Path())
    assert run(*command, "--dry-run", "--format", "json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["corpus"] == {"ka.txt": len(before["ka.txt"])}
    assert files(Path()) == before
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["vocab", "grow", "pretrain", "ner-eval", "report"])
def test_a_dry_run_of_a_made_run_writes_nothing(rerun: Callable[..., int], command: str) -> None:
    before = files(Path())
    assert rerun(command, "--dry-run") == 0
    assert files(Path()) == before


def test_a_dry_run_validates_what_the_real_one_would(run: Callable[..., int]) -> None:
    assert run("vocab", "--lang", "ka", "--base", "base", "--corpus", "none.txt", "--dry-run") == 4
    assert run("vocab", "--lang", "ka", "--base", "nowhere/at-all", "--corpus", "ka.txt", "--dry-run") in (
        4,
        6,
    )
    assert (
        run("grow", "--lang", "ka", "--base", "base", "--corpus", "ka.txt", "--init", "magic", "--dry-run")
        == 2
    )


def test_training_from_scratch_on_two_languages(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "pretrain", "--from-scratch", "--run", "runs/bilingual", "--steps", "4", *QUICK[2:10],
        "--corpus", "en=en.txt", "--corpus", "ka=ka.txt",
        "--set", "scratch.hidden_size=16", "--set", "scratch.heads=2", "--set", "scratch.layers=1",
        "--set", "scratch.intermediate_size=16", "--set", "scratch.vocab_size=120",
    )  # fmt: skip
    assert run(*arguments, "--dry-run") == 0
    assert not Path("runs").exists()
    capsys.readouterr()
    assert run(*arguments, "--format", "json") == 0
    assert set(json.loads(capsys.readouterr().out)["held_out"]) == {"en", "ka"}
    assert Path("runs/bilingual/model/model.safetensors").is_file()


def test_replayed_text_is_named_by_language(rerun: Callable[..., int]) -> None:
    undo("pretrain")
    steps = ("--steps", "2", "--new-rows-steps", "0")
    assert rerun("pretrain", *steps, "--replay", "en=en.txt", "--replay-share", "0.5") == 0
    settings = Path("runs/ka/run.toml").read_text(encoding="utf-8")
    assert "replay_share = 0.5" in settings
    assert 'en = ["en.txt"]' in settings


def test_a_configuration_file_is_a_whole_run(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ka.toml").write_text(
        'lang = "Georgian"\nbase = "base"\ncorpus = ["ka.txt"]\n'
        "[vocab]\nsize = 50\nheld_out_lines = 40\n"
        "[pretrain]\nsteps = 9\nwarmup_steps = 1\nlength = 16\nbatch_size = 4\n",
        encoding="utf-8",
    )
    assert run("run", "ka.toml", "--set", "pretrain.steps=3", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["pretrain"]["steps"] == 3
    assert Path("runs/ka/model/config.json").is_file()
    assert run("run", "ka.toml", "--config", "ka.toml") == 2
