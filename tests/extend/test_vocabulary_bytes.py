"""The vocabulary is the same bytes whatever the file order, the hash seed, the processes, or a kill."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from extend import store
from tests.extend.cli_processes import QUICK, apart, started
from tests.extend.cli_runs import make_inputs

TOLD_OTHERWISE = {"report.json"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and a corpus in three files."""
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    lines = (folder / "ka.txt").read_text(encoding="utf-8").split("\n")[:-1]
    for name, part in (("c", lines[:150]), ("a", lines[150:290]), ("b", lines[290:])):
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in part), encoding="utf-8")
    return folder


def arguments(*files: str) -> list[str]:
    given = [option for name in files for option in ("--corpus", name)]
    return ["vocab", "--lang", "ka", "--base", "base", *given, "--size", "60", *QUICK]


def made(folder: Path) -> dict[str, bytes]:
    """What a vocabulary is, but for how long it took to make."""
    vocabulary = folder / "runs" / "ka" / "vocab"
    files = (path for path in vocabulary.rglob("*") if path.is_file() and path.name not in TOLD_OTHERWISE)
    return {str(path.relative_to(vocabulary)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def expected(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("expected")
    shutil.copytree(inputs, folder, dirs_exist_ok=True)
    code, _, err = apart(folder, *arguments("a.txt", "b.txt", "c.txt"))
    assert code == 0, err
    return made(folder)


@pytest.mark.parametrize(
    ("order", "hash_seed", "processes"), [("cab", "1", "1"), ("bca", "2", "2"), ("bac", "3", "2")]
)
def test_order_hash_seed_and_processes_change_no_byte(
    order: str, hash_seed: str, processes: str, inputs: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    given = arguments(*(f"{name}.txt" for name in order))
    subprocess.run(
        [sys.executable, "-m", "extend.cli", *given, "--set", f"vocab.processes={processes}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
    )
    assert made(tmp_path) == expected


def test_killed_at_any_moment_the_same_command_ends_with_the_same_bytes(
    inputs: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    given, draw = arguments("a.txt", "b.txt", "c.txt"), random.Random(6)
    killed = 0
    for _ in range(8):
        child, _, _ = started(tmp_path, *given)
        time.sleep(draw.uniform(0.02, 1.5))
        os.kill(child, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        published = tmp_path / "runs" / "ka" / "vocab"
        assert not published.exists() or made(tmp_path) == expected
    assert killed
    assert apart(tmp_path, *given)[0] == 0
    assert made(tmp_path) == expected
    run = tmp_path / "runs" / "ka"
    assert not [path for path in run.rglob("*") if ".tmp-" in path.name]
    assert not (run / "counts" / "ka").exists()


def test_a_full_disk_leaves_nothing_half_written(
    inputs: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    import resource

    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

    given = arguments("a.txt", "b.txt", "c.txt")
    code, _, err = apart(tmp_path, *given, prepare=small_disk)
    assert code == 5, err
    assert not (tmp_path / "runs" / "ka" / "vocab").exists()
    assert apart(tmp_path, *given)[0] == 0
    assert made(tmp_path) == expected
    assert store.read_json(tmp_path / "runs" / "ka" / "vocab" / "report.json")["added"] == 60
