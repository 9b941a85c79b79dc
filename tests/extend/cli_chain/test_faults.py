"""What goes wrong on the command line, by exit code."""

import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from extend import store
from tests.extend.cli_processes import VOCAB, apart, files, started, undo


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
    undo("pretrain")
    assert rerun("pretrain", "--steps", "2") == 2
    assert "pretrain.new_rows_steps (4) is more than pretrain.steps (2)" in _error(capsys)[0]


def test_2_base_without_a_language_model_head(
    rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    undo("grow", "pretrain")
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
    before = files(Path("runs/ka/ner"))
    assert rerun("ner-eval", "--supervised") == 3
    assert "ka.test.conll:5" in _error(capsys)[0]
    assert files(Path("runs/ka/ner")) == before


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
    code, _, said = apart(tmp_path, *VOCAB, prepare=as_anyone)
    assert code == 4, said
    assert "cannot write the run folder runs/ka: permission denied" in said
    assert list((tmp_path / "runs").iterdir()) == []


def test_5_no_space(rerun: Callable[..., int], tmp_path: Path) -> None:
    def with_little_space() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    undo("grow", "pretrain")
    code, _, said = apart(tmp_path, "grow", prepare=with_little_space)
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
    assert files(Path("runs")) == {}


def test_7_a_run_in_use(rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    with store.locked(Path("runs/ka")):
        assert rerun("report") == 7
    assert f"pid {os.getpid()}" in _error(capsys)[0]


def test_8_other_settings_than_the_run_was_made_with(
    rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(Path("runs"))
    assert rerun("vocab", "--size", "61") == 8
    line, whole = _error(capsys)
    assert "error[E-RUN-MISMATCH]" in line
    assert "60" in whole
    assert "61" in whole
    assert files(Path("runs")) == before


def test_9_a_diverged_training(rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    undo("pretrain")
    huge = ("--set", "pretrain.learning_rate=1e30", "--set", "pretrain.clip=1e30")
    assert rerun("pretrain", "--steps", "40", "--new-rows-steps", "0", *huge) == 9
    assert "error[E-DIVERGED]" in _error(capsys)[0]
    assert not Path("runs/ka/model").exists()


def test_11_pickled_weights(rerun: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    undo("grow", "pretrain")
    Path("base/model.safetensors").rename("base/pytorch_model.bin")
    assert rerun("grow") == 11
    assert "pytorch_model.bin" in _error(capsys)[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_is_saved(
    rerun: Callable[..., int], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    undo("pretrain")
    child, _, err = started(tmp_path, "pretrain", "--steps", "4000", "--set", "pretrain.log_every=1")
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
    child, _, err = started(tmp_path, *VOCAB)
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
