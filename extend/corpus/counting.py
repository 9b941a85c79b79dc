"""Exact word counts of a corpus of any size, in bounded memory, the same on one process and on many.

Text is cut at spaces (U+0020 alone: splitters differ on the other blanks) into chunks, chunks are counted
where the text is, and only distinct chunks are split into words.
"""

import hashlib
import itertools
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from extend import store
from extend.corpus.accounts import Account, Fingerprint, ReadPolicy
from extend.corpus.counting_runs import CountTable, Row, encode_row, merge_runs, scratch_directory
from extend.corpus.counting_shards import (
    RUN,
    SHARD_BYTES,
    LineFacts,
    Shard,
    ShardJob,
    count_chunks,
    count_shard,
    plan_shards,
    read_facts,
    read_shard,
    sample_shard,
)
from extend.corpus.counting_words import Split, words_of
from extend.corpus.counting_workers import run_in_workers
from extend.corpus.disk import changed, fingerprints
from extend.corpus.held_out import HeldOut, LineSample
from extend.corpus.readers import no_text
from extend.types import Progress, WordCounts

_WORKER_BYTES = 80 << 20
_LEAST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class CountingLimits:
    """What counting may use. `memory` is in bytes, for all processes together and what they held before.

    The words returned take a third of it at most. `processes` is None for as many as there are cores.
    Corpora smaller than `shard_bytes` are counted here, in one piece, and leave no files.
    """

    memory: int = 4 << 30
    processes: int | None = None
    shard_bytes: int = SHARD_BYTES

    def workers(self, *, held: int) -> tuple[int, int]:
        """How many processes to use, and bytes for the table of each, when this one holds `held` bytes.

        Fewer than wanted when there would be less than 64 MiB for each. One is this process itself.
        """
        wanted, room = self.processes or os.cpu_count() or 1, self.memory - held
        count = max(1, min(wanted, room // (_WORKER_BYTES + 4 * _LEAST_BYTES)))
        each = room // count - (_WORKER_BYTES if count > 1 else 0)
        return count, max(each * 3 // 5, _LEAST_BYTES)


ShardCounter = Callable[[Sequence[Shard], ShardJob], None]
"""Counts those of some distinct shards that are not counted yet."""

DEFAULT_LIMITS, DEFAULT_POLICY = CountingLimits(), ReadPolicy()


@dataclass(frozen=True)
class CorpusCounts:
    """What a corpus holds, counted exactly.

    `words` are those learned from, `held_out` those of the held-out lines. `lines` has both kinds, blank
    lines not counted. `bytes` are those of the files as they lie, `sha256` theirs whatever their order.
    `probes` are up to 50 held-out lines, chosen by their hashes. When not all distinct words fit into
    memory the most frequent are here, ties in code-point order, and the rest is told: `words_left_out`
    distinct words that stood `tokens_left_out` times, `held_out_tokens_left_out` of held-out text.
    """

    words: WordCounts
    held_out: WordCounts
    lines: int
    held_out_lines: int
    bytes: int
    sha256: str
    accounts: tuple[Account, ...] = ()
    probes: tuple[str, ...] = ()
    words_left_out: int = 0
    tokens_left_out: int = 0
    held_out_tokens_left_out: int = 0

    @property
    def tokens(self) -> int:
        """Words learned from, every occurrence counted."""
        return sum(self.words.values()) + self.tokens_left_out

    @property
    def distinct_words(self) -> int:
        return len(self.words) + self.words_left_out

    @property
    def repairs(self) -> Counter[str]:
        """What had to be mended in the text, by kind, over all files (see `Account.repairs`)."""
        return +sum((account.repairs for account in self.accounts), Counter())

    def facts(self) -> dict[str, Any]:
        """What a report says of the corpus."""
        return {
            "lines": self.lines,
            "held_out_lines": self.held_out_lines,
            "words": self.tokens,
            "distinct_words": self.distinct_words,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "files": len(self.accounts),
            "files_left_out": sum(bool(account.dropped) for account in self.accounts),
            "repairs": dict(sorted(self.repairs.items())),
            "words_left_out": self.words_left_out,
            "tokens_left_out": self.tokens_left_out,
        }

    def counts_sha256(self) -> str:
        """One fingerprint of both tables, in code-point order of the words."""
        digest = hashlib.sha256()
        for word in sorted({*self.words, *self.held_out}):
            row = (word, self.words.get(word, 0), self.held_out.get(word, 0))
            digest.update(encode_row(row).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def count_corpus(
    files: Sequence[Path],
    *,
    split: Split,
    held_out: HeldOut,
    directory: Path,
    limits: CountingLimits = DEFAULT_LIMITS,
    policy: ReadPolicy = DEFAULT_POLICY,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> CorpusCounts:
    """Count the words of `files`, those of held-out lines apart.

    A corpus smaller than `limits.shard_bytes` is counted at once. A larger one is counted in shards, in
    parallel, and finished shards are kept in `directory`: after a kill the same call goes on. The result
    depends on the files' contents, the rule and the splitter alone. `directory` belongs to one call at a
    time; it is the caller's to remove when the counts are safe.

    Raises DataError E-CORPUS-EMPTY without text, E-CHANGED when a file changed meanwhile, and what the
    readers raise; SpaceError when runs do not fit on the disk; WorkerError when a process was killed.
    """
    workers, memory = limits.workers(held=_resident_bytes())

    def count_here(shards: Sequence[Shard], job: ShardJob) -> None:
        here = replace(job, limit=memory)
        count_shards(shards, here, processes=workers, on_progress=on_progress)

    return count_with(
        count_here,
        files,
        split=split,
        held_out=held_out,
        directory=directory,
        limits=limits,
        policy=policy,
    )


def count_with(
    count: ShardCounter,
    files: Sequence[Path],
    *,
    split: Split,
    held_out: HeldOut,
    directory: Path,
    limits: CountingLimits,
    policy: ReadPolicy,
) -> CorpusCounts:
    """`count_corpus`, with `count` to count the shards of a corpus that is larger than one."""
    room = max(limits.memory - _resident_bytes(), 4 * _LEAST_BYTES)
    files = sorted(files, key=os.fsencode)
    states = fingerprints(files)
    digests = [store.sha256_file(path) for path in files]
    wholes = [Shard(path, digest, states[path]) for path, digest in zip(files, digests, strict=True)]
    accounts = [Account(path) for path in files]
    size = sum(state.size for state in states.values())
    store.recover(directory)
    with scratch_directory(directory) as scratch:
        if size < limits.shard_bytes:
            table = CountTable(limit=room * 2 // 5, scratch=scratch / "chunks")
            chunks: CountTable | Iterable[Row] = table
            read = (read_shard(*file, policy) for file in zip(wholes, accounts, strict=True))
            lines = count_chunks(itertools.chain.from_iterable(read), held_out, table)
        else:
            job = ShardJob(held_out, directory / "shards", room * 3 // 5, policy)
            shards = [plan_shards(file, shard_bytes=limits.shard_bytes, policy=policy) for file in wholes]
            distinct = {job.folder(shard): shard for file in shards for shard in file}
            count(list(distinct.values()), job)
            lines = gather_facts(shards, job, accounts)
            chunks = merge_runs([job.folder(shard) / RUN for file in shards for shard in file], scratch)
        kept = words_of(chunks, split, limit=room * 2 // 5, keep=limits.memory // 3, scratch=scratch)
    _refuse_changed(states)
    if not lines.lines:
        dropped = (f"{account.path}: {account.dropped}" for account in accounts if account.dropped)
        raise no_text(files, next(dropped, ""))
    return CorpusCounts(
        kept.words,
        kept.held_out,
        lines=lines.lines,
        held_out_lines=lines.held_out_lines,
        bytes=size,
        sha256=hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest(),
        accounts=tuple(accounts),
        probes=tuple(text for _, text in lines.probes),
        words_left_out=kept.words_left_out,
        tokens_left_out=kept.tokens_left_out,
        held_out_tokens_left_out=kept.held_out_tokens_left_out,
    )


def count_shards(
    shards: Sequence[Shard],
    job: ShardJob,
    *,
    processes: int,
    on_progress: Callable[[Progress], None],
) -> None:
    """Count the shards that are not counted yet, and remove what other calls left in the folder."""
    store.recover(job.directory)
    missing = [shard for shard in shards if not job.is_done(shard)]
    total = sum(shard.bytes for shard in shards)
    done = total - sum(shard.bytes for shard in missing)
    on_progress(Progress("count", done, total, "counting words"))
    try:
        with closing(run_in_workers(partial(count_shard, job=job), missing, processes=processes)) as counted:
            for shard, _ in counted:
                done += shard.bytes
                on_progress(Progress("count", done, total, "counting words"))
    finally:
        store.recover(job.directory)  # of what workers that were ended had begun
    known = set(map(job.folder, shards))
    others = [folder for folder in job.directory.iterdir() if folder not in known]
    store.remove_directories([folder for folder in others if folder.suffix != ".bad"])


def gather_facts(shards: Iterable[Sequence[Shard]], job: ShardJob, accounts: Sequence[Account]) -> LineFacts:
    """What was seen of all lines; each file's account takes in those of its shards."""
    facts = LineFacts()
    for file, account in zip(shards, accounts, strict=True):
        for shard in file:
            seen, noted = read_facts(job.folder(shard))
            facts.merge(seen)
            account.absorb(noted)
    return facts


def sample_held_out(
    files: Sequence[Path],
    *,
    share: float,
    least: int,
    seed: int,
    limits: CountingLimits = DEFAULT_LIMITS,
    policy: ReadPolicy = DEFAULT_POLICY,
) -> HeldOut:
    """`find_held_out` of all lines of `files`, read in parallel when they are large."""
    sample = LineSample(share=share, least=least, seed=seed)
    shards = [
        shard
        for path in files
        for shard in plan_shards(Shard(path), shard_bytes=limits.shard_bytes, policy=policy)
    ]
    small = sum(shard.bytes for shard in shards) < limits.shard_bytes
    workers, _ = limits.workers(held=_resident_bytes())
    work = partial(sample_shard, share=share, least=least, seed=seed, policy=policy)
    for _, seen in run_in_workers(work, shards, processes=1 if small else workers):
        sample.merge(seen)
    return sample.rule()


def _refuse_changed(states: Mapping[Path, Fingerprint]) -> None:
    now = fingerprints(states)
    for path, state in states.items():
        if now[path] != state:
            raise changed(path)


def _resident_bytes() -> int:
    """Memory this process holds now, or at its peak where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
