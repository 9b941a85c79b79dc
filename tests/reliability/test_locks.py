"""One run, one process: of any number that start at the same moment one wins, and a kill frees the run."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from extend import store
from extend.errors import BusyError

RACES = 100
PROCESSES = 8


def _racer(folder: Path, number: int, barrier: Any, joined: Any, won: Any) -> None:
    """Takes part in the races that `joined` names it for; holds a lock it got until all have tried."""
    for race in range(RACES):
        takes_part = joined[race * PROCESSES + number]
        barrier.wait(60)
        try:
            if takes_part:
                with store.locked(folder / str(race)):
                    won[race * PROCESSES + number] = 1
                    barrier.wait(60)
                    continue
        except BusyError:
            pass
        barrier.wait(60)


def test_a_hundred_races_have_one_winner_each(tmp_path: Path) -> None:
    """From two to eight processes a race, the same process never sure to win."""
    context, draw = multiprocessing.get_context("fork"), random.Random(17)
    barrier = context.Barrier(PROCESSES)
    joined, won = (context.Array("b", RACES * PROCESSES, lock=False) for _ in range(2))
    for race in range(RACES):
        for number in draw.sample(range(PROCESSES), draw.randint(2, PROCESSES)):
            joined[race * PROCESSES + number] = 1
    racers = [
        context.Process(target=_racer, args=(tmp_path, number, barrier, joined, won))
        for number in range(PROCESSES)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0] * PROCESSES
    winners = [sum(won[race * PROCESSES : (race + 1) * PROCESSES]) for race in range(RACES)]
    assert winners == [1] * RACES
    assert len({number for number in range(PROCESSES) if any(won[number::PROCESSES])}) > 1


def test_a_lock_that_does_not_lock_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extend.store.locking.fcntl.flock", lambda *given: None)
    with store.locked(tmp_path), store.locked(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"pid {os.getpid()} ")


def test_a_killed_holder_frees_the_run_at_once(tmp_path: Path) -> None:
    """Ten times; what it wrote into the lock is nothing that anyone has to remove."""
    for _ in range(10):
        ready, tell = os.pipe()
        holder = os.fork()
        if holder == 0:
            with store.locked(tmp_path):
                os.write(tell, b"x")
                time.sleep(60)
            os._exit(1)
        assert os.read(ready, 1) == b"x"
        with pytest.raises(BusyError, match=f"pid {holder} on"), store.locked(tmp_path):
            pass
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        begun = time.monotonic()
        with store.locked(tmp_path):
            assert time.monotonic() - begun < 1
        os.close(ready)
        os.close(tell)
