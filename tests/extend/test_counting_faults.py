"""Counting in processes that are killed, starved of memory and of disk: exact all the same, or told."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from extend.corpus import HeldOut

ROOT = Path(__file__).parents[2]
RULE = HeldOut(int(0.02 * 2**64), 1)
MEBIBYTE = 1 << 20


def start(corpus: Path, counts: Path, *numbers: int, hash_seed: int = 0) -> "subprocess.Popen[str]":
    """Memory, processes, bytes of a shard, and if wanted the largest file that may be written."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.extend.counting_program", str(corpus), str(counts), *map(str, numbers)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    output, trouble = process.communicate(timeout=60)
    assert "Traceback" not in trouble, trouble
    return process.returncode, json.loads(output)


def write_corpus(directory: Path, *, words: int, seed: int = 1) -> Path:
    """Three files of `words` distinct words in all, ten a line, and one frequent word between them."""
    directory.mkdir()
    draw = random.Random(seed)
    for name in "bca":
        with (directory / f"{name}.txt").open("w", encoding="utf-8") as file:
            for _ in range(words // 30):
                line = [f"{draw.getrandbits(44):x}" for _ in range(10)]
                file.write(" the ".join(line) + "\n")
    return directory


def children(process: "subprocess.Popen[str]") -> list[int]:
    """The workers of `process` (not multiprocessing's resource tracker)."""
    try:
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [int(pid) for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except OSError:
        return []


def workers_of(process: "subprocess.Popen[str]", *, least: int) -> list[int]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if len(found := children(process)) >= least:
            return found
        time.sleep(0.01)
    raise AssertionError("no workers came up")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("small") / "text", words=30_000)


@pytest.fixture(scope="module")
def uninterrupted(small: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    code, report = ended(start(small, tmp_path_factory.mktemp("whole"), 1 << 30, 1, 1 << 30))
    assert code == 0
    return {name: value for name, value in report.items() if name != "peak"}


def test_hash_seeds_and_processes_give_the_same_bytes(small, uninterrupted, tmp_path):
    for seed, processes in ((1, 1), (2, 2), (3, 2)):
        counts = tmp_path / str(seed)
        code, report = ended(start(small, counts, 1 << 30, processes, 100_000, hash_seed=seed))
        assert code == 0
        assert {name: report[name] for name in uninterrupted} == uninterrupted


def test_ten_kills_and_the_same_call_again_give_the_same_bytes(small, uninterrupted, tmp_path):
    draw = random.Random(11)
    finished = [0]
    for kill in range(10):
        process = start(small, tmp_path / "counts", 1 << 30, 1 + kill % 2, 8000)
        until, wanted = time.monotonic() + 30, finished[-1] + draw.randrange(4)
        while _finished(tmp_path) < wanted and process.poll() is None and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.03))
        orphans = children(process)
        process.kill()
        process.communicate()
        assert_gone(orphans)
        finished.append(_finished(tmp_path))
    assert finished == sorted(finished), "what was finished stays"
    assert finished[-1] > 5
    code, report = ended(start(small, tmp_path / "counts", 1 << 30, 2, 8000))
    assert code == 0
    assert {name: report[name] for name in uninterrupted} == uninterrupted
    assert _finished(tmp_path) > finished[-1], "the last kill came before the end"
    assert list(tmp_path.glob("counts/**/.*tmp*")) == []


def _finished(directory: Path) -> int:
    return len(list(directory.glob("counts/shards/[!.]*/MANIFEST.json")))


def assert_gone(pids: list[int]) -> None:
    """Workers end with the parent that was killed."""
    until = time.monotonic() + 5
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids) and time.monotonic() < until:
        time.sleep(0.01)
    alive = [pid for pid in pids if _command(pid)]
    assert not alive


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for one that is dead and not yet collected
    except OSError:
        return b""


def test_a_killed_worker_ends_the_counting_soon_and_is_told(tmp_path):
    corpus = write_corpus(tmp_path / "text", words=300_000)
    process = start(corpus, tmp_path / "counts", 1 << 30, 2, 1 << 20)
    victim = workers_of(process, least=2)[0]
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    code, error = ended(process)
    assert time.monotonic() - killed < 5
    assert (code, error["name"]) == (12, "E-WORKER")
    assert "a counting worker was killed (probably memory)" in error["what"]
    code, report = ended(start(corpus, tmp_path / "counts", 1 << 30, 1, 1 << 20))
    assert (code, report["distinct_words"] > 250_000) == (0, True)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("large") / "text", words=700_000)


@pytest.mark.parametrize("shard_bytes", [1 << 40, 4 << 20])
def test_memory_stays_below_its_bound_and_the_counts_exact(large, shard_bytes, tmp_path):
    memory = 160 * MEBIBYTE
    code, report = ended(start(large, tmp_path / "counts", memory, 1, shard_bytes))
    assert code == 0
    words: set[str] = set()
    tokens = 0
    for path in large.iterdir():
        for line in path.read_text().splitlines():
            if line not in RULE:
                found = line.split()
                tokens += len(found)
                words.update(found)
    assert (report["distinct_words"], report["tokens"]) == (len(words), tokens)
    assert report["kept"] > 200_000
    assert report["words_left_out"] == len(words) - report["kept"]
    assert report["peak"] <= 1.1 * memory


@pytest.mark.parametrize(("processes", "shard_bytes"), [(1, 1 << 40), (1, 4 << 20), (2, 4 << 20)])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    processes, shard_bytes, large, small, uninterrupted, tmp_path
):
    counts = tmp_path / "counts"
    code, error = ended(start(large, counts, 300 * MEBIBYTE, processes, shard_bytes, 2 << 20))
    assert (code, error["name"]) == (5, "E-NO-SPACE")
    assert list(counts.glob("**/.*tmp*")) == []
    code, report = ended(start(small, counts, 1 << 30, 1, 40_000))
    assert (code, report["counts"]) == (0, uninterrupted["counts"])
