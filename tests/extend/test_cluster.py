"""Counting by datatrove's executors: the bytes of one machine, tasks that fail or are queued."""

import inspect
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datatrove", reason="the extra `cluster` is not installed")

from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor

from extend.corpus import CorpusCounts, CountingLimits, count_corpus, sample_held_out
from extend.corpus.cluster import CountShards, MakeExecutor, count_on_cluster
from extend.tokenizer import load_tokenizer, word_splitter
from extend.types import Progress
from tests.extend.test_counting import RULE, make_corpus, words_and_marks
from tests.models import write_tokenizer

ROOT = Path(__file__).parents[2]
LIMITS = CountingLimits(shard_bytes=3000, processes=1)


def counted(paths: list[Path], directory: Path, executor: MakeExecutor) -> CorpusCounts | None:
    return count_on_cluster(
        paths,
        executor=executor,
        split=words_and_marks,
        held_out=RULE,
        directory=directory,
        limits=LIMITS,
    )


def local(logs: Path, *, workers: int = 2) -> MakeExecutor:
    def make(pipeline: list[Any], tasks: int) -> LocalPipelineExecutor:
        return LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=workers, logging_dir=str(logs), skip_completed=False
        )

    return make


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return make_corpus(tmp_path / "text")


@pytest.fixture
def here(paths: list[Path], tmp_path: Path) -> CorpusCounts:
    return count_corpus(
        paths, split=words_and_marks, held_out=RULE, directory=tmp_path / "here", limits=LIMITS
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_the_counts_are_those_of_one_machine(workers, paths, here, tmp_path):
    counts = counted(paths[::-1], tmp_path / "there", local(tmp_path / "logs", workers=workers))
    assert counts is not None
    assert counts.counts_sha256() == here.counts_sha256()
    assert (counts.sha256, counts.lines, counts.probes) == (here.sha256, here.lines, here.probes)
    shards = {folder: (tmp_path / folder / "shards") for folder in ("here", "there")}
    files = [
        {path.name: (path / "chunks.tsv").read_bytes() for path in folder.iterdir()}
        for folder in shards.values()
    ]
    assert files[0] == files[1]
    assert len(files[0]) > 3


@dataclass
class Queue:
    """An executor that only queues, as Slurm's does: tasks run when the test says so."""

    pipeline: list[CountShards]
    tasks: int
    queued: list["Queue"]

    def run(self) -> None:
        self.queued.append(self)

    def work(self, ranks: range) -> None:
        for rank in ranks:
            for step in self.pipeline:
                step.run(None, rank, self.tasks)


def test_queued_jobs_give_none_until_they_have_ended(paths, here, tmp_path):
    queued: list[Queue] = []

    def make(pipeline: list[CountShards], tasks: int) -> Queue:
        return Queue(pipeline, tasks, queued)

    assert counted(paths, tmp_path / "there", make) is None
    queued[0].work(range(2))
    assert counted(paths, tmp_path / "there", make) is None
    queued[0].work(range(2, queued[0].tasks))
    counts = counted(paths, tmp_path / "there", make)
    assert len(queued) == 2, "nothing is queued for shards that are all counted"
    assert counts is not None
    assert counts.counts_sha256() == here.counts_sha256()


def test_a_task_counts_only_what_is_missing(paths, here, tmp_path):
    counted(paths, tmp_path / "there", local(tmp_path / "logs", workers=1))
    lost = min((tmp_path / "there" / "shards").iterdir())
    kept = {path: path.stat().st_ino for path in (tmp_path / "there" / "shards").glob("*/chunks.tsv")}
    del kept[lost / "chunks.tsv"]
    lost.rename(tmp_path / "lost")
    counts = counted(paths, tmp_path / "there", local(tmp_path / "logs", workers=1))
    assert counts is not None
    assert counts.counts_sha256() == here.counts_sha256()
    assert all(path.stat().st_ino == inode for path, inode in kept.items())


def test_counting_here_takes_what_the_cluster_counted(paths, here, tmp_path):
    counted(paths, tmp_path / "there", local(tmp_path / "logs", workers=1))
    seen: list[Progress] = []
    counts = count_corpus(
        paths,
        split=words_and_marks,
        held_out=RULE,
        directory=tmp_path / "there",
        limits=LIMITS,
        on_progress=seen.append,
    )
    assert [progress.done for progress in seen] == [counts.bytes]
    assert counts.counts_sha256() == here.counts_sha256()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_fails_says_why(workers, paths, tmp_path):
    paths[1].write_bytes("Ünïcödé tèxt ïn änöthèr éncödïng\n".encode("latin-1") * 200)
    with pytest.raises(RuntimeError, match=r"E-ENCODING: .*a\.txt"):
        counted(paths, tmp_path / "there", local(tmp_path / "logs", workers=workers))


def documented() -> list[str]:
    """The Python of docs/cluster.md: the script for one machine, and the executor for Slurm."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def test_the_documented_script_counts(tmp_path):
    files = make_corpus(tmp_path / "corpus")
    write_tokenizer(tmp_path / "base")
    (tmp_path / "script.py").write_text(documented()[0], encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    counts = count_corpus(
        files,
        split=word_splitter(load_tokenizer(tmp_path / "base")),
        held_out=sample_held_out(files, share=0.02, least=200, seed=1),
        directory=tmp_path / "here",
    )
    expected = (counts.lines, counts.tokens, counts.distinct_words, counts.counts_sha256())
    assert ran.stdout.split() == [str(number) for number in expected]


def test_the_documented_executor_counts(paths, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "script"}
    exec(documented()[0], names)
    counts = counted(paths, tmp_path / "there", names["executor"])
    assert counts is not None
    assert counts.counts_sha256() == here.counts_sha256()
    assert (tmp_path / "logs" / "completions").is_dir()


def test_the_documented_slurm_executor_has_these_arguments():
    names: dict[str, Any] = {}
    exec(documented()[1], names)
    taken: list[inspect.BoundArguments] = []
    signature = inspect.signature(SlurmPipelineExecutor.__init__)
    names["SlurmPipelineExecutor"] = lambda *given, **named: taken.append(
        signature.bind(None, *given, **named)
    )
    names["executor"](["pipeline"], 3)
    assert (taken[0].arguments["pipeline"], taken[0].arguments["tasks"]) == (["pipeline"], 3)
