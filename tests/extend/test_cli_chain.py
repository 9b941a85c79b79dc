"""The commands one after the other on a tiny run, as a user types them, and every way they fail."""

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend import store
from extend.cli import main
from tests.extend.cli_runs import QUICK, make_inputs

NER = (
    "--train", "en=en.train.conll", "--test", "en=en.test.conll",
    "--train", "ka=ka.train.conll", "--test", "ka=ka.test.conll",
    "--seeds", "2",
)  # fmt: skip
VOCAB = ("vocab", "--lang", "ka", "--base", "base", "--corpus", "ka.txt", "--size", "60", *QUICK)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, corpora and NER sets; never written to."""
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A whole run made by the commands one after the other, and what each printed as JSON."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(inputs, folder, dirs_exist_ok=True)
    printed = {}
    commands = (VOCAB, ("grow",), ("pretrain", "--steps", "12", "--new-rows-steps", "4"), ("ner-eval", *NER))
    for name, *rest in (*commands, ("report",)):
        code, out, err = _apart(folder, name, *rest, "--format", "json")
        assert code == 0, err
        printed[name] = json.loads(out)
    return folder, printed


def _apart(
    folder: Path, *arguments: str, prepare: Callable[[], object] = lambda: None
) -> tuple[int, str, str]:
    """`extend` in a process of its own, forked so that torch is not imported anew: code, stdout, stderr."""
    child, out, err = _started(folder, *arguments, prepare=prepare)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")


def _started(
    folder: Path, *arguments: str, prepare: Callable[[], object] = lambda: None
) -> tuple[int, Path, Path]:
    out, err = (Path(tempfile.mkstemp(dir=folder.parent)[1]) for _ in range(2))
    child = os.fork()
    if child:
        return child, out, err
    code = 99
    try:
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with open(out, "w", encoding="utf-8") as sys.stdout, open(err, "w", encoding="utf-8") as sys.stderr:
            prepare()
            code = main(arguments)
    finally:
        os._exit(code)


@pytest.fixture
def run(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`extend` in a fresh folder with the inputs."""
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(arguments)


@pytest.fixture
def rerun(finished: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`extend` in a copy of the finished run."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(arguments)


def _undo(*stages: str) -> None:
    """Take the run back to before `stages`, as if they had never been."""
    folder = Path("runs/ka")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for stage in stages:
        del manifest["stages"][stage]
        shutil.rmtree(folder / {"grow": "grown"}.get(stage, stage))
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    shutil.rmtree(folder / "model")


def _files(folder: Path) -> dict[str, bytes]:
    """What every file holds; the lock says who came last, which is no result."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


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
    before = _files(Path("runs"))
    assert rerun("pretrain", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 12
    assert _files(Path("runs")) == before


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
    before = _files(Path())
    assert run(*command, "--dry-run", "--format", "json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["corpus"] == {"ka.txt": len(before["ka.txt"])}
    assert _files(Path()) == before
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["vocab", "grow", "pretrain", "ner-eval", "report"])
def test_a_dry_run_of_a_made_run_writes_nothing(rerun: Callable[..., int], command: str) -> None:
    before = _files(Path())
    assert rerun(command, "--dry-run") == 0
    assert _files(Path()) == before


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
    _undo("pretrain")
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


# What goes wrong, by exit code.


def _error(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    lines = [line for line in captured.err.splitlines() if "error[" in line]
    assert len(lines) == 1
    assert len(lines[0]) <= 200
    return lines[0], captured.err


def test_2_more_steps_for_new_rows_than_steps(
    rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    _undo("pretrain")
    assert rerun("pretrain", "--steps", "2") == 2
    assert "pretrain.new_rows_steps (4) is more than pretrain.steps (2)" in _error(capsys)[0]


def test_2_base_without_a_language_model_head(
    rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    _undo("grow", "pretrain")
    config = json.loads(Path("base/config.json").read_text(encoding="utf-8"))
    config["architectures"] = ["BertModel"]
    Path("base/config.json").write_text(json.dumps(config), encoding="utf-8")
    assert rerun("grow") == 2
    assert "error[E-ARCHITECTURE]" in _error(capsys)[0]
    assert not Path("runs/ka/grown").exists()


def test_3_empty_corpus(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    Path("ka.txt").write_text("\n \n", encoding="utf-8")
    assert run(*VOCAB) == 3
    assert "ka.txt" in _error(capsys)[0]


def test_3_malformed_conll(rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    text = Path("ka.test.conll").read_text(encoding="utf-8").splitlines()
    text[4] = "სიტყვა"
    Path("ka.test.conll").write_text("\n".join(text) + "\n", encoding="utf-8")
    before = _files(Path("runs/ka/ner"))
    assert rerun("ner-eval", "--supervised") == 3
    assert "ka.test.conll:5" in _error(capsys)[0]
    assert _files(Path("runs/ka/ner")) == before


def test_4_missing_corpus(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*VOCAB, "--corpus", "nowhere/*.txt") == 4
    assert "nowhere" in _error(capsys)[0]


def test_4_a_folder_that_is_no_run(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    Path("thesis").mkdir()
    Path("thesis/chapter1.tex").write_text("x", encoding="utf-8")
    assert run(*VOCAB, "--run", "thesis") == 4
    assert "chapter1.tex" in _error(capsys)[0]
    assert os.listdir("thesis") == ["chapter1.tex"]


def test_4_a_file_where_the_run_should_be(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs").write_text("x", encoding="utf-8")
    assert run(*VOCAB) == 4
    assert "runs" in _error(capsys)[0]


def test_4_no_permission_to_write(inputs: Path, tmp_path: Path) -> None:
    def as_anyone() -> None:
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)

    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    (tmp_path / "runs").mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code, _, said = _apart(tmp_path, *VOCAB, prepare=as_anyone)
    assert code == 4, said
    assert "cannot write the run folder runs/ka: permission denied" in said
    assert list((tmp_path / "runs").iterdir()) == []


def test_5_no_space(rerun: Callable[..., int], tmp_path: Path) -> None:
    def with_little_space() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    _undo("grow", "pretrain")
    code, _, said = _apart(tmp_path, "grow", prepare=with_little_space)
    assert code == 5, said
    assert "error[E-NO-SPACE]" in said
    assert not Path("runs/ka/grown").exists()
    assert rerun("grow") == 0


@pytest.mark.parametrize(
    "named",
    [
        ("--base", "nobody/nothing-here", "--corpus", "ka.txt"),
        ("--base", "base", "--corpus", "hf:nobody/nothing-here"),
    ],
)
def test_6_a_hub_name_without_network(
    run: Callable[..., int],
    named: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run("vocab", "--lang", "ka", *named, "--offline") == 6
    assert "nobody/nothing-here" in _error(capsys)[1]
    assert _files(Path("runs")) == {}


def test_7_a_run_in_use(rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    with store.locked(Path("runs/ka")):
        assert rerun("report") == 7
    assert f"pid {os.getpid()}" in _error(capsys)[0]


def test_8_other_settings_than_the_run_was_made_with(
    rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(Path("runs"))
    assert rerun("vocab", "--size", "61") == 8
    line, whole = _error(capsys)
    assert "error[E-RUN-MISMATCH]" in line
    assert "60" in whole
    assert "61" in whole
    assert _files(Path("runs")) == before


def test_9_a_diverged_training(rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    _undo("pretrain")
    huge = ("--set", "pretrain.learning_rate=1e30", "--set", "pretrain.clip=1e30")
    assert rerun("pretrain", "--steps", "40", "--new-rows-steps", "0", *huge) == 9
    assert "error[E-DIVERGED]" in _error(capsys)[0]
    assert not Path("runs/ka/model").exists()


def test_11_pickled_weights(rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    _undo("grow", "pretrain")
    Path("base/model.safetensors").rename("base/pytorch_model.bin")
    assert rerun("grow") == 11
    assert "pytorch_model.bin" in _error(capsys)[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_is_saved(
    rerun: Callable[..., int], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    _undo("pretrain")
    child, _, err = _started(tmp_path, "pretrain", "--steps", "4000", "--set", "pretrain.log_every=1")
    metrics = Path("runs/ka/pretrain/metrics.jsonl")
    deadline = time.monotonic() + 60
    while not (metrics.is_file() and metrics.stat().st_size > 1000) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child, number)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = err.read_text(encoding="utf-8")
    assert ended == code, said
    assert "next: " in said
    assert "Traceback" not in said
    saved = sorted(path.name for path in Path("runs/ka/pretrain/checkpoints").iterdir())
    assert 0 < int(saved[-1].rpartition("-")[2]) < 4000
    assert not list(Path("runs").rglob("*.tmp-*"))


def test_a_stage_that_is_stopped_leaves_nothing_half_written(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    child, _, err = _started(tmp_path, *VOCAB)
    folder = tmp_path / "runs/ka"
    deadline = time.monotonic() + 60
    while not list(folder.glob(".vocab.tmp-*")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child, signal.SIGTERM)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = err.read_text(encoding="utf-8")
    assert ended == 143, said
    assert "error[E-TERMINATED]: stopped by SIGTERM" in said
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "run.toml"]
