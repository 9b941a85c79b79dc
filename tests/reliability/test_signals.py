"""SIGTERM and full disks, by the real command: the state is saved, the exit code says what happened."""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend.cli import main
from extend.pretrain.checkpoints import latest_checkpoint
from tests.reliability.disk import watched
from tests.reliability.trials import Prepared, differences, prepare, said, train


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("signals"))


def started(directory: Path, before: Callable[..., None] = lambda number, name, given: None) -> int:
    """`extend pretrain --run DIRECTORY` in a child, whose messages go to a file beside the run."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        with open(directory.with_name(f"{directory.name}.said"), "w", encoding="utf-8") as file:
            sys.stdout = sys.stderr = file
            with watched(before):
                code = main(("pretrain", "--run", str(directory)))
    finally:
        os._exit(code)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def logged_steps(directory: Path) -> int:
    path = directory / "pretrain" / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def goes_on(prepared: Prepared, directory: Path) -> str:
    """What is wrong after the same command has been run to its end."""
    code = train(directory)
    return said(directory) if code else differences(prepared, directory)


def terminated(prepared: Prepared, seed: int) -> str:
    """SIGTERM at a random moment, and once more a little later; what is wrong afterwards."""
    draw, directory = random.Random(seed), prepared.copy(f"term-{seed}")
    child = started(directory)
    seconds = draw.uniform(0.0, 1.3 * prepared.seconds)
    time.sleep(seconds)
    sent = time.monotonic()
    os.kill(child, signal.SIGTERM)
    if seed % 2:
        time.sleep(0.01)
        os.kill(child, signal.SIGTERM)
    code, story = ended(child), f"seed {seed}, after {seconds:.3f} s"
    if time.monotonic() - sent > 30:
        return f"{story}: the end took {time.monotonic() - sent:.1f} s"
    steps = logged_steps(directory)
    if code == 143:
        saved = latest_checkpoint(directory / "pretrain" / "checkpoints")
        if (saved.step if saved else 0) != steps:  # before the first step there is nothing to save
            return f"{story}: saved {saved and saved.step}, but {steps} steps were made"
    elif code not in (0, -signal.SIGTERM) or (code < 0 and 0 < steps < 24):
        return f"{story}: exit {code} after {steps} steps: {said(directory)}"
    wrong = goes_on(prepared, directory)
    return f"{story}, exit {code}, then {wrong}" if wrong else ""


@pytest.mark.parametrize("seed", range(8))
def test_sigterm_at_any_moment_saves_and_exits_143(prepared: Prepared, seed: int) -> None:
    assert terminated(prepared, seed) == ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 50))
def test_sigterm_at_more_moments_saves_and_exits_143(prepared: Prepared, seed: int) -> None:
    assert terminated(prepared, seed) == ""


def test_sigterm_during_a_save_and_again_leaves_it_whole(prepared: Prepared) -> None:
    directory, sent = prepared.copy("twice"), []

    def send(number: int, name: str, given: tuple[Any, ...]) -> None:
        if number in prepared.saving[20:60:10]:
            sent.append(number)
            os.kill(os.getpid(), signal.SIGTERM)

    assert ended(started(directory, send)) == 143, said(directory)
    assert "error[E-TERMINATED]" in said(directory)
    saved = latest_checkpoint(directory / "pretrain" / "checkpoints")
    assert saved is not None
    assert saved.damaged == ()
    assert saved.step == logged_steps(directory)
    assert goes_on(prepared, directory) == ""


def test_sigterm_and_a_kill_a_moment_later(prepared: Prepared) -> None:
    """A machine that is taken away with a grace too short."""
    for seed in range(4):
        directory, draw = prepared.copy(f"grace-{seed}"), random.Random(seed)
        child = started(directory)
        time.sleep(draw.uniform(0.3, 1.0) * prepared.seconds)
        os.kill(child, signal.SIGTERM)
        time.sleep(draw.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        ended(child)
        assert goes_on(prepared, directory) == "", seed


def test_a_full_disk_ends_with_5_and_the_run_goes_on_when_there_is_room(prepared: Prepared) -> None:
    """RLIMIT_FSIZE stops a write in the middle of a file, as a full disk does."""
    directory = prepared.copy("full")
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        os._exit(ended(started(directory)))
    assert ended(child) == 5, said(directory)
    assert "error[E-NO-SPACE]" in said(directory)
    assert str(directory) in said(directory)
    assert not list((directory / "pretrain" / "checkpoints").glob(".*"))
    assert goes_on(prepared, directory) == ""


def test_damage_to_the_newest_checkpoint_costs_only_time(prepared: Prepared) -> None:
    """It is told, the one before is used, and the end is the same."""
    directory = prepared.copy("damage")
    assert train(directory, end_at=prepared.saving[-40]) == -signal.SIGKILL
    newest = max((directory / "pretrain" / "checkpoints").glob("step-*"))
    path = newest / "optimizer.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert ended(started(directory)) == 0, said(directory)
    assert "W-CKPT-BAD" in said(directory)
    assert differences(prepared, directory) == ""
    assert newest.with_name(f"{newest.name}.bad").is_dir()


def test_a_finished_run_is_not_touched_again(prepared: Prepared) -> None:
    """Nor is one that is asked for fewer steps than it has."""
    directory = prepared.copy("finished")
    assert train(directory) == 0
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.name != ".lock"}
    assert ended(started(directory)) == 0, said(directory)
    child = os.fork()
    if child == 0:
        os._exit(main(("pretrain", "--run", str(directory), "--steps", "12")))
    assert ended(child) == 0
    assert {p: p.stat().st_mtime_ns for p in directory.rglob("*") if p.name != ".lock"} == before
    shutil.rmtree(directory)
