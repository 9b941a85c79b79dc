"""`extend pretrain` by several processes: one grows, tokenises, writes and talks, all train."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from extend import recipe
from extend.config import load_settings
from extend.languages import resolve
from extend.recipe import pretraining
from tests.extend.cli_runs import make_inputs
from tests.extend.teams import codes, environment, free_port, said, start

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
    "pretrain.eval_every": 3,
    "pretrain.dropout": 0.0,
    "pretrain.precision": "fp32",
    "pretrain.processes": 1,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inputs")
    make_inputs(directory)
    return directory


def opened(inputs: Path, directory: Path, **overrides: Any) -> recipe.Run:
    files = {"base": str(inputs / "base"), "corpus": [str(inputs / "ka.txt")]}
    given = {**SMALL, **files, **{key.replace("__", "."): value for key, value in overrides.items()}}
    return recipe.open_run(load_settings(None, given), directory, resolve("ka"))


def started(folder: Path, work: Callable[[int], recipe.Run], size: int = 2) -> list[int]:
    """Fork processes of which each pretrains the run that `work` opens for its rank."""
    port = free_port()

    def train(rank: int) -> None:
        report = recipe.pretrain(work(rank))
        (folder / f"report-{rank}.json").write_text(json.dumps(report))

    folder.mkdir(exist_ok=True)
    return [start(folder, rank, partial(train, rank), environment(rank, size, port)) for rank in range(size)]


def logged(run: recipe.Run, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    lines = (run.pretraining / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_two_processes_make_one_run(inputs: Path, tmp_path: Path) -> None:
    alone = opened(inputs, tmp_path / "alone")
    expected = recipe.pretrain(alone)
    shared = opened(inputs, tmp_path / "shared")
    assert codes(started(tmp_path / "said", lambda _: shared)) == [0, 0], said(tmp_path / "said", 1)
    reports = [json.loads((tmp_path / "said" / f"report-{rank}.json").read_text()) for rank in range(2)]
    assert reports[0] == reports[1]
    assert reports[0]["processes"] == 2
    assert reports[0]["devices"] == ["cpu", "cpu"]
    assert reports[0]["reproducible"] is True
    assert (reports[0]["micro_batch"], expected["micro_batch"]) == (2, 4)
    ours, theirs = logged(shared), logged(alone)
    assert [line["step"] for line in ours] == list(range(1, 9))
    for got, wanted in zip(ours, theirs, strict=True):
        assert got["loss"] == pytest.approx(wanted["loss"], rel=1e-6)
        assert got["tokens"] == wanted["tokens"]
    assert [line["step"] for line in logged(shared, "held_out.jsonl")] == [
        line["step"] for line in logged(alone, "held_out.jsonl")
    ]
    manifest = json.loads(shared.manifest.read_text())
    assert manifest["stages"]["pretrain"]["processes"] == 2
    assert not list(shared.directory.rglob("*.tmp-*"))
    before = {path: path.stat().st_mtime_ns for path in shared.model.iterdir()}
    assert codes(started(tmp_path / "again", lambda _: shared)) == [0, 0]
    assert {path: path.stat().st_mtime_ns for path in shared.model.iterdir()} == before


def test_processes_of_other_settings_are_refused_before_anything_is_made(
    inputs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    children = started(tmp_path / "said", lambda rank: opened(inputs, folder, pretrain__clip=1.0 + rank))
    assert codes(children) == [2, 2]
    assert "process 1 disagrees with process 0 about pretrain.clip" in said(tmp_path / "said", 1)
    assert not folder.exists()


def test_a_folder_that_is_not_shared_is_found_at_the_start(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "_TOKEN_SECONDS", 0.5)
    children = started(tmp_path / "said", lambda rank: opened(inputs, tmp_path / f"run-{rank}"))
    assert codes(children) == [4, 4]
    assert "process 1 does not see the run folder" in said(tmp_path / "said", 0)


def test_a_failure_of_the_first_process_ends_all(inputs: Path, tmp_path: Path) -> None:
    missing = [str(tmp_path / "no-such-text.txt")]
    children = started(tmp_path / "said", lambda _: opened(inputs, tmp_path / "run", corpus=missing))
    first, second = codes(children)
    assert first in (3, 4)
    assert second == 12
    assert "process 0 ended" in said(tmp_path / "said", 1)


@pytest.mark.slow
def test_torchrun_and_accelerate_launch_start_one_run(inputs: Path, tmp_path: Path) -> None:
    """torchrun is told to stop in the middle of training; accelerate launch goes on to the end."""
    alone = opened(inputs, tmp_path / "alone", pretrain__steps=150, pretrain__save_every=100)
    recipe.pretrain(alone)
    command = ["-m", "--", "extend", "pretrain", "--run", str(tmp_path / "shared"), "--format", "json"]
    shutil.copytree(alone.directory, tmp_path / "shared", ignore=shutil.ignore_patterns("pretrain", "model"))
    manifest = json.loads((tmp_path / "shared" / "manifest.json").read_text())
    del manifest["stages"]["pretrain"]
    (tmp_path / "shared" / "manifest.json").write_text(json.dumps(manifest))
    programs = Path(sys.executable).parent
    launcher = subprocess.Popen(
        [str(programs / "torchrun"), "--nproc-per-node=2", f"--master-port={free_port()}", *command],
        stdout=subprocess.DEVNULL,
    )
    metrics = tmp_path / "shared" / "pretrain" / "metrics.jsonl"
    until = time.monotonic() + 120
    while not (metrics.is_file() and metrics.read_bytes().count(b"\n") > 5):
        assert launcher.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(60) != 0
    shared = opened(inputs, tmp_path / "shared", pretrain__steps=150, pretrain__save_every=100)
    assert 5 < len(logged(shared)) < 150
    finished = subprocess.run(
        [
            str(programs / "accelerate"),
            "launch",
            "--multi_gpu",  # so on CPUs too: --cpu leaves starting processes to MPI
            "--num_processes=2",
            f"--main_process_port={free_port()}",
            *command,
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    report = json.loads(finished.stdout.splitlines()[0])
    assert report["processes"] == 2
    assert report["resumed_from"] > 5
    for got, wanted in zip(logged(shared), logged(alone), strict=True):
        assert got["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
