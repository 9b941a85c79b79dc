"""Counting on a cluster (extra `cluster`): datatrove runs the shards, one a task, wherever its executors do.

datatrove: G. Penedo et al., https://github.com/huggingface/datatrove. Its pipelines pass documents from step
to step; here a step counts whole shards and passes nothing on. The counts are merged by the same code as on
one machine, so that they are the same to the byte.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from datatrove.pipeline.base import PipelineStep

from extend.corpus.accounts import ReadPolicy
from extend.corpus.counting import (
    DEFAULT_LIMITS,
    DEFAULT_POLICY,
    CorpusCounts,
    CountingLimits,
    count_with,
)
from extend.corpus.counting_shards import Shard, ShardJob, count_shard
from extend.corpus.counting_words import Split
from extend.corpus.held_out import HeldOut
from extend.errors import ExtendError


class Executor(Protocol):
    """What runs a pipeline: any of datatrove's executors."""

    def run(self) -> object: ...


MakeExecutor = Callable[[list[PipelineStep], int], Executor]
"""From a pipeline and its number of tasks to the executor that runs it."""


class CountShards(PipelineStep):  # type: ignore[misc]
    """A datatrove step that counts the shards of its rank, those left out that are counted already."""

    type = "COUNT"
    name = "words of a corpus"

    def __init__(self, shards: Sequence[Shard], job: ShardJob) -> None:
        super().__init__()
        self.shards, self.job = list(shards), job

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Any:
        """Count every `world_size`-th shard, from `rank` on. Passes `data` on as it is."""
        for shard in self.shards[rank::world_size]:
            self.stat_update("shards")
            if not self.job.is_done(shard):
                _count(shard, self.job)
                self.stat_update("counted")
        return data


def _count(shard: Shard, job: ShardJob) -> None:
    try:
        count_shard(shard, job=job)
    except ExtendError as error:  # which has keyword-only arguments and does not survive pickling
        raise RuntimeError(f"{error.name}: {error.what}") from None


class _Unfinished(Exception):
    """Shards are being counted elsewhere."""


def count_on_cluster(
    files: Sequence[Path],
    *,
    executor: MakeExecutor,
    split: Split,
    held_out: HeldOut,
    directory: Path,
    limits: CountingLimits = DEFAULT_LIMITS,
    policy: ReadPolicy = DEFAULT_POLICY,
) -> CorpusCounts | None:
    """`count_corpus` with the shards counted by `executor`; None while they are not all counted.

    `files` and `directory` lie where every machine sees them under the same path. An executor that waits
    (local, Ray) gives the counts at once. One that queues jobs (Slurm) gives None: make the same call again
    when the jobs have ended, and it merges. Finished shards are never counted twice, by whatever counted
    them. `limits.memory` is that of one task, and of the merging here.
    """

    def run_tasks(shards: Sequence[Shard], job: ShardJob) -> None:
        # machines number devices each in its own way: contents, not state, say what a file is
        anywhere = [replace(shard, state=None) for shard in shards]
        if not all(map(job.is_done, anywhere)):
            executor([CountShards(anywhere, job)], len(anywhere)).run()
        if not all(map(job.is_done, anywhere)):
            raise _Unfinished

    try:
        return count_with(
            run_tasks,
            files,
            split=split,
            held_out=held_out,
            directory=directory,
            limits=limits,
            policy=policy,
        )
    except _Unfinished:
        return None
