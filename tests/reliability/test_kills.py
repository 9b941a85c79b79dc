"""SIGKILL at any moment, then the same command: the same bits as a run that nobody touched."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from extend import store
from extend.pretrain import checkpoints
from extend.store import operations
from tests.reliability.trials import Prepared, prepare, trial


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("kills"))


def test_the_run_saves_often_and_in_two_stages(prepared: Prepared) -> None:
    """Or the trials would prove little."""
    assert len(prepared.saving) > len(prepared.places) / 2
    assert {line["stage"] for line in prepared.expected["metrics.jsonl"]} == {"new-rows", "all"}
    assert len(prepared.expected["metrics.jsonl"]) == 24
    assert prepared.expected["newest"] == "step-00000024"


@pytest.mark.parametrize("seed", range(50))
def test_a_killed_run_ends_with_the_same_bits(prepared: Prepared, seed: int) -> None:
    assert trial(prepared, f"kill-{seed}", seed=seed, aimed=seed % 2 == 0) == ""


def test_five_kills_in_one_run(prepared: Prepared) -> None:
    assert trial(prepared, "five", seed=1, kills=5, aimed=True) == ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_twenty_kills_in_one_run(prepared: Prepared, seed: int) -> None:
    assert trial(prepared, f"twenty-{seed}", seed=seed, kills=20, aimed=True) == ""


@pytest.mark.slow
def test_a_kill_at_every_operation_of_one_save(prepared: Prepared) -> None:
    """The save after step 12, and the operations on either side of it."""
    inside = [number for number, (_, path) in enumerate(prepared.places) if "step-00000012" in path]
    wrong = []
    for at in range(inside[0] - 1, inside[-1] + 2):
        found = trial(prepared, "each", seed=at, aimed=True, at=at)
        wrong += [found] if found else []
    assert wrong == []


class _InPlace:
    """What a writer without a file layer does: each file is written where it will be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        with operations.open_file(self.folder / name, "wb") as file:
            for chunk in chunks:
                operations.write(file, memoryview(chunk))

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, [store.as_json(value)])


@contextmanager
def _publish_in_place(target: Path, *, facts: Any) -> Iterator[_InPlace]:
    os.makedirs(target, exist_ok=True)
    yield _InPlace(target)


def _naive() -> None:
    """Write checkpoints in place and believe what is read; only ever called in a child."""
    store.publish_checked = _publish_in_place  # type: ignore[assignment]
    checkpoints._differences = lambda folder: []


def test_a_naive_writer_fails_the_same_harness(prepared: Prepared) -> None:
    """A harness that catches nothing would be noticed here."""
    found = [trial(prepared, f"naive-{seed}", seed=seed, aimed=True, spoil=_naive) for seed in range(8)]
    assert sum("E-CKPT" in wrong for wrong in found) >= 3, found
    assert trial(prepared, "sound", seed=0, aimed=True) == ""
