"""Shards of a corpus, counted apart and kept: a counting that was killed loses one shard a process.

A worker counts chunks, the text between two spaces, and knows no tokenizer. A shard ends as a folder with a
sorted run, its facts and a manifest; it is named after the sha256 of its file, its range and the held-out
rule, so that it is found again only for the same question.
"""

import dataclasses
import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extend import store
from extend.corpus.accounts import Account, Fingerprint, ReadPolicy
from extend.corpus.counting_runs import CountTable, scratch_directory, write_run
from extend.corpus.held_out import HeldOut, LineSample, text_hashes
from extend.corpus.readers import TextBatch, read_file, read_text
from extend.corpus.streams import kind_of, name_lies

SHARD_BYTES = 64 << 20
PROBES = 50
PROBE_CHARACTERS = 2000
RUN, FACTS = "chunks.tsv", "facts.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Shard:
    """Bytes `start` to `end` of a file whose contents have `sha256`; `end` is None for all of it.

    A file that is not in the given `state` when it is opened is not counted.
    """

    path: Path
    sha256: str = ""
    state: Fingerprint | None = None
    start: int = 0
    end: int | None = None

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size if self.end is None else self.end - self.start


@dataclass
class LineFacts:
    """What counting saw of the lines. `probes` are held-out lines of the smallest hashes, with the hash."""

    lines: int = 0
    held_out_lines: int = 0
    probes: list[tuple[int, str]] = field(default_factory=list)

    def add(self, lines: int, held_out: Sequence[tuple[int, str]]) -> None:
        """Take in `lines` more, `held_out` of them with their hashes."""
        self.lines += lines
        self.held_out_lines += len(held_out)
        self._keep(held_out)

    def merge(self, other: "LineFacts") -> None:
        """Take in what was seen elsewhere."""
        self.lines += other.lines
        self.held_out_lines += other.held_out_lines
        self._keep(other.probes)

    def _keep(self, held_out: Sequence[tuple[int, str]]) -> None:
        if held_out:
            cut = {(value, text[:PROBE_CHARACTERS]) for value, text in held_out}
            self.probes = heapq.nsmallest(PROBES, cut.union(self.probes))


@dataclass(frozen=True, slots=True)
class ShardJob:
    """What a worker needs to count any shard: the rule, where shards lie, bytes of memory, how to read."""

    held_out: HeldOut
    directory: Path
    limit: int
    policy: ReadPolicy

    def folder(self, shard: Shard) -> Path:
        """Where the counts of `shard` lie: another question to the same bytes has another folder."""
        question = [_FORMAT, self.held_out.threshold, self.held_out.seed, dataclasses.asdict(self.policy)]
        asked = hashlib.sha256(json.dumps(question).encode()).hexdigest()[:16]
        span = "whole" if shard.end is None else f"{shard.start}-{shard.end}"
        return self.directory / f"{shard.sha256[:32]}-{span}-{asked}"

    def is_done(self, shard: Shard) -> bool:
        """Whether `shard` is counted and its files are as they were written; a damaged one is set aside."""
        folder = self.folder(shard)
        if not store.is_published(folder):
            return False
        if store.verify(folder):
            store.set_aside(folder)
            return False
        return True


def plan_shards(file: Shard, *, shard_bytes: int, policy: ReadPolicy) -> list[Shard]:
    """A whole plain text file as ranges of `shard_bytes`; any other file as it is.

    So is every file when bad ones are to be left out: that is decided for a file, not for a range.
    """
    size = file.bytes
    if size <= shard_bytes or policy.skip_bad_files:
        return [file]
    kind = kind_of(file.path)
    if kind != ("text", "") or name_lies(file.path, kind):
        return [file]
    return [
        dataclasses.replace(file, start=start, end=min(start + shard_bytes, size))
        for start in range(0, size, shard_bytes)
    ]


def read_shard(shard: Shard, account: Account, policy: ReadPolicy) -> Iterator[TextBatch]:
    """The lines that start in the shard's range, every byte noted in `account`."""
    account.fingerprint = shard.state
    if shard.end is None:
        return read_file(shard.path, account=account, policy=policy)
    account.format = "text"
    return read_text(shard.path, account=account, policy=policy, start=shard.start, end=shard.end)


def sample_shard(shard: Shard, *, share: float, least: int, seed: int, policy: ReadPolicy) -> LineSample:
    """What decides on the held-out rule, of the shard's lines."""
    sample = LineSample(share=share, least=least, seed=seed)
    for batch in read_shard(shard, Account(shard.path), policy):
        sample.add(batch.texts)
    return sample


def count_chunks(batches: Iterable[TextBatch], held_out: HeldOut, table: CountTable) -> LineFacts:
    """Add the chunks of all lines to `table`, those of held-out lines apart."""
    facts, threshold = LineFacts(), held_out.threshold
    for batch in batches:
        hashes = text_hashes(batch.texts, held_out.seed)
        kept: Sequence[str] = batch.texts
        unseen = [(value, text) for value, text in zip(hashes, kept, strict=True) if value < threshold]
        if unseen:
            kept = [text for value, text in zip(hashes, kept, strict=True) if value >= threshold]
        facts.add(len(hashes), unseen)
        for counts, texts in ((table.counted, kept), (table.held_out, [text for _, text in unseen])):
            counts.update(" ".join(texts).split(" "))
            counts.pop("", None)
        table.spill_when_full()
    return facts


def count_shard(shard: Shard, *, job: ShardJob) -> None:
    """Count one shard and publish its folder. Raises what its reader raises, and SpaceError."""
    account = Account(shard.path)
    with store.publish_directory(job.folder(shard), manifest=True) as folder:
        with scratch_directory(folder) as scratch:
            table = CountTable(limit=job.limit, scratch=scratch)
            facts = count_chunks(read_shard(shard, account, job.policy), job.held_out, table)
            write_run(folder / RUN, table.rows())
        noted = {known.name: getattr(account, known.name) for known in dataclasses.fields(account)}
        noted |= {"path": str(shard.path), "fingerprint": None, "repairs": dict(account.repairs)}
        store.write_json(folder / FACTS, {**dataclasses.asdict(facts), "account": noted})


def read_facts(folder: Path) -> tuple[LineFacts, Account]:
    """What was seen of a finished shard's lines, and the account of reading it."""
    facts: dict[str, Any] = store.read_json(folder / FACTS)
    account = facts.pop("account")
    account |= {"path": Path(account["path"]), "repairs": Counter(account["repairs"])}
    facts["probes"] = [(value, text) for value, text in facts["probes"]]
    return LineFacts(**facts), Account(**account)
