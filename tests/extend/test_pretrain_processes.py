"""Several processes that train one model: the same samples, the same loss, and no one left behind."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from extend.errors import DataError, NetworkError, UsageError
from extend.pretrain import (
    Hooks,
    Team,
    check_agreement,
    check_shares,
    joined,
    latest_checkpoint,
    set_dropout_,
    train,
)
from extend.pretrain import team as team_of_processes
from extend.pretrain.gradients import sum_gradients_
from tests.extend.teams import codes, environment, free_port, said, start_process, start_team
from tests.extend.training_runs import BATCH, STEPS, batches, loop, run, tiny, weights, write_text


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def training(
    folder: Path, text: Path, *, stop: int | None = None, dropout: bool = True, **more: Any
) -> Callable[[Team], None]:
    """Work for a team: train, note the samples that every rank reads and the losses that the first tells.

    `stop` is the step after which the last rank alone gets SIGTERM.
    """

    def work(team: Team) -> None:
        model, lines = tiny(), []
        if not dropout:
            set_dropout_(model, 0.0)
        read: list[list[int]] = []
        asked = iter(range(1, 1000))
        hooks = Hooks(
            lambda report: lines.append([report.step, report.loss, report.grad_norm, report.tokens]),
            should_stop=lambda: (
                signal.SIGTERM if stop and next(asked) == stop and team.rank == team.size - 1 else None
            ),
        )
        settings = loop(prefetch=0, **more)
        source = batches(text, read=lambda samples: read.append(np.asarray(samples).tolist()))
        try:
            train(model, source, settings, hooks, checkpoints=folder / "checkpoints", team=team)
        finally:
            place = folder / f"read-{team.size}-{team.rank}-{time.monotonic_ns()}.json"
            place.write_text(json.dumps({"read": read, "lines": lines, "rank": team.rank}))

    folder.mkdir(exist_ok=True)
    return work


def noted(folder: Path, size: int, rank: int) -> dict[str, Any]:
    """What a rank noted in the newest run of `size` processes."""
    newest = max(folder.glob(f"read-{size}-{rank}-*.json"))
    found: dict[str, Any] = json.loads(newest.read_text())
    return found


def saved_weights(folder: Path) -> dict[str, torch.Tensor]:
    saved = latest_checkpoint(folder / "checkpoints")
    assert saved is not None
    return {**saved.weights, **saved.moments}


def together(folder: Path, text: Path, size: int = 2, **more: Any) -> list[int]:
    return codes(start_team(folder, training(folder, text, **more), size=size))


def alone(folder: Path, text: Path, **more: Any) -> None:
    training(folder, text, **more)(Team())


def test_two_processes_train_as_one_does(tmp_path: Path, text: Path) -> None:
    alone(tmp_path / "one", text, dropout=False)
    assert together(tmp_path / "two", text, dropout=False) == [0, 0], said(tmp_path / "two", 1)
    one = noted(tmp_path / "one", 1, 0)
    first, second = (noted(tmp_path / "two", 2, rank) for rank in range(2))
    shared = [[*ours, *theirs] for ours, theirs in zip(first["read"], second["read"], strict=True)]
    assert shared == one["read"] == [list(range(n * BATCH, (n + 1) * BATCH)) for n in range(STEPS)]
    assert second["lines"] == []
    for got, expected in zip(first["lines"], one["lines"], strict=True):
        assert got == pytest.approx(expected, rel=1e-6)


def test_the_same_processes_give_the_same_bits_after_a_stop(tmp_path: Path, text: Path) -> None:
    """SIGTERM reaches one rank alone: all save and end, and the same command goes on."""
    assert together(tmp_path / "straight", text) == [0, 0]
    assert together(tmp_path / "stopped", text, stop=11) == [143, 143]
    assert "E-TERMINATED" in said(tmp_path / "stopped", 0)
    assert together(tmp_path / "stopped", text) == [0, 0]
    straight, stopped = saved_weights(tmp_path / "straight"), saved_weights(tmp_path / "stopped")
    assert all(torch.equal(straight[name], stopped[name]) for name in straight)


def test_one_process_then_two_then_one(tmp_path: Path, text: Path) -> None:
    alone(tmp_path / "straight", text, dropout=False)
    with pytest.raises(Exception, match="stopped by a signal"):
        alone(tmp_path / "changing", text, dropout=False, stop=6)
    assert together(tmp_path / "changing", text, dropout=False, stop=8) == [143, 143]
    read = [*noted(tmp_path / "changing", 1, 0)["read"]]
    first, second = (noted(tmp_path / "changing", 2, rank) for rank in range(2))
    read += [[*ours, *theirs] for ours, theirs in zip(first["read"], second["read"], strict=True)]
    lines = [*noted(tmp_path / "changing", 1, 0)["lines"], *first["lines"]]
    alone(tmp_path / "changing", text, dropout=False)
    last, straight = noted(tmp_path / "changing", 1, 0), noted(tmp_path / "straight", 1, 0)
    assert read + last["read"] == straight["read"]
    for got, expected in zip([*lines, *last["lines"]], straight["lines"], strict=True):
        assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_within_a_minute(tmp_path: Path, text: Path, victim: int) -> None:
    def work(team: Team) -> None:
        if team.rank == victim:
            threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        forever = loop(tuple(loop().stages * 200), save_every=100_000)
        train(tiny(), batches(text), forever, Hooks(), checkpoints=tmp_path / "checkpoints", team=team)

    began = time.monotonic()
    ended = codes(start_team(tmp_path, work, size=2))
    assert time.monotonic() - began < 60
    assert ended[victim] == -signal.SIGKILL
    assert ended[1 - victim] == 12
    assert f"error[E-RANK]: process {victim} of 2 died; process {1 - victim} ended too" in said(
        tmp_path, 1 - victim
    )


def test_a_frozen_process_ends_the_others(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team_of_processes, "STEP_SECONDS", 3)

    def work(team: Team) -> None:
        if team.rank == 1:
            threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGSTOP)).start()
        forever = loop(tuple(loop().stages * 200), save_every=100_000)
        train(tiny(), batches(text), forever, Hooks(), checkpoints=tmp_path / "checkpoints", team=team)

    began = time.monotonic()
    first, second = start_team(tmp_path, work, size=2)
    assert codes([first]) == [12]
    assert time.monotonic() - began < 30
    os.kill(second, signal.SIGKILL)
    codes([second])
    assert "error[E-RANK]: a process fell silent; process 0 ended too" in said(tmp_path, 0)


def test_a_process_may_work_longer_than_a_step_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team_of_processes, "STEP_SECONDS", 1)
    assert codes(start_team(tmp_path, lambda team: team.once(lambda: time.sleep(2)), size=2)) == [0, 0]


def test_a_failure_in_one_process_is_the_first_cause(tmp_path: Path, text: Path) -> None:
    source = batches(text)

    def work(team: Team) -> None:
        def batch_at(step: int, start: int = 0, stop: int | None = None) -> Any:
            if step == 3 and team.rank == 1:
                raise DataError("shard 7 is damaged", name="E-DATA-DAMAGED")
            return source(step, start, stop)

        train(tiny(), batch_at, loop(), Hooks(), checkpoints=tmp_path / "checkpoints", team=team)

    assert codes(start_team(tmp_path, work, size=2)) == [12, 3]
    assert "E-DATA-DAMAGED" in said(tmp_path, 1)
    assert "E-RANK" in said(tmp_path, 0)


def test_what_the_first_process_fails_at_ends_all(tmp_path: Path) -> None:
    def refuse() -> None:
        raise DataError("no text at all", name="E-CORPUS-EMPTY")

    assert codes(start_team(tmp_path, lambda team: team.once(refuse), size=2)) == [3, 12]
    assert "process 0 ended: no text at all" in said(tmp_path, 1)


def test_processes_with_other_settings_refuse_to_train_together(tmp_path: Path) -> None:
    def work(team: Team) -> None:
        check_agreement(team, {"learning_rate": 1e-4 * (1 + team.rank), "steps": 10})

    assert codes(start_team(tmp_path, work, size=2)) == [2, 2]
    for rank in range(2):
        assert "process 1 disagrees with process 0 about learning_rate" in said(tmp_path, rank)
        assert "learning_rate: 0.0001 and 0.0002" in said(tmp_path, rank)


def test_processes_with_other_weights_refuse_to_train_together(tmp_path: Path, text: Path) -> None:
    def work(team: Team) -> None:
        model = tiny(seed=1 + team.rank)
        train(model, batches(text), loop(), Hooks(), checkpoints=tmp_path / "checkpoints", team=team)

    assert codes(start_team(tmp_path, work, size=2)) == [2, 2]
    assert "process 1 disagrees with process 0 about weights" in said(tmp_path, 0)


def test_what_processes_tell_each_other(tmp_path: Path) -> None:
    def work(team: Team) -> None:
        assert team.sum(team.rank, 10) == (3, 30)
        assert team.largest(5 * team.rank) == 10
        assert team.gather({"rank": team.rank, "text": "ئۇ" * team.rank})[2]["text"] == "ئۇئۇ"
        assert team.once(lambda: ["made", team.rank]) == ["made", 0]
        done = tmp_path / "done"
        assert team.leading_first(lambda: done.exists() or done.touch()) == (None if team.leads else True)
        assert team.share_of(12) == (4 * team.rank, 4 * team.rank + 4)
        table = torch.nn.Parameter(torch.zeros(5, 3))
        unused, small = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(4))
        table.grad, small.grad = torch.full((5, 3), 1.0 + team.rank), torch.arange(4.0)
        extra = torch.tensor([float(team.rank)])
        sum_gradients_([table, unused, small], extra)
        assert torch.equal(table.grad, torch.full((5, 3), 6.0))
        assert torch.equal(small.grad, 3 * torch.arange(4.0))
        assert unused.grad is None
        assert extra.item() == 3

    assert codes(start_team(tmp_path, work, size=3)) == [0, 0, 0], said(tmp_path, 0)


def test_a_team_of_one_waits_for_nobody() -> None:
    with joined() as team:
        assert (team.rank, team.size, team.leads) == (0, 1, True)
        assert team.sum(4, 5) == (4, 5)
        assert team.once(lambda: "made") == "made"
        assert team.gather("us") == ["us"]


def test_a_batch_that_cannot_be_shared_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    check_shares(7)
    for name, value in environment(0, 3, 1).items():
        monkeypatch.setenv(name, value)
    check_shares(9)
    with pytest.raises(UsageError, match=r"batch_size \(8\) is not divisible by 3 processes") as told:
        check_shares(8)
    assert told.value.next == "set pretrain.batch_size = 9"


def test_a_launcher_that_forgot_something_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="LOCAL_RANK and MASTER_ADDR and MASTER_PORT is not set"), joined():
        pass


def test_a_master_that_nobody_finds_is_a_network_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 0 finds its port taken, rank 1 a port where nobody answers; both say so, with exit code 6."""
    port = free_port()
    monkeypatch.setattr(team_of_processes, "STEP_SECONDS", 3)
    with socket.create_server(("127.0.0.1", port)):
        first = start_process(tmp_path, 0, lambda _: None, environment(0, 2, port))
        assert codes([first]) == [NetworkError.exit_code]
    second = start_process(tmp_path, 1, lambda _: None, environment(1, 2, port))
    assert codes([second]) == [NetworkError.exit_code]
    for rank in range(2):
        assert f"cannot meet the others at 127.0.0.1:{port}" in said(tmp_path, rank)


def test_one_process_of_many_alone_differs_from_none_at_all(tmp_path: Path, text: Path) -> None:
    """A team of one has the bits of a run without any team."""
    plain, _ = run(tmp_path / "plain", text)
    teamed, _ = run(tmp_path / "teamed", text, team=Team())
    first, second = weights(plain), weights(teamed)
    assert all(torch.equal(first[name], second[name]) for name in first)
