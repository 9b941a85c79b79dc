"""A language's text to token shards: once, in parallel, kept through kills, told when it no longer fits."""

import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from extend import store
from extend.blocks import (
    HELD_OUT,
    INDEX,
    RANGES,
    TRAINING,
    DataIndex,
    EncodedLine,
    range_entry,
    read_index,
    write_index,
    write_range,
)
from extend.corpus import Account, Fingerprint, HeldOut, ReadPolicy, fingerprints
from extend.corpus.counting_shards import Shard, plan_shards, read_shard
from extend.corpus.counting_workers import run_in_workers
from extend.errors import CheckpointError, WorkerError, escaped
from extend.recipe.corpora import read_policy, split_corpus, text_files
from extend.recipe.encoding import text_encoder
from extend.recipe.run import OnProgress, Run
from extend.tokenizer import Encoded
from extend.types import Progress, SpecialIds

RANGE_BYTES = 16 << 20
_RANGES_ALONE = 4  # so little is done before workers have come up
_FORMAT = 1
Encoder = Callable[[Sequence[str]], list[Encoded]]


@dataclass(frozen=True, slots=True)
class TokeniseJob:
    """What a worker needs to tokenise any range of the text: with what, which lines apart, and where to."""

    directory: Path
    tokenizer: Path
    sha256: str
    special: SpecialIds
    rule: HeldOut
    policy: ReadPolicy

    def folder(self, shard: Shard) -> Path:
        """Where the tokens of a range lie: another question to the same bytes has another folder."""
        question: list[Any] = [_FORMAT, self.sha256, self.special.end, self.rule.threshold, self.rule.seed]
        question.append(dataclasses.asdict(self.policy))
        asked = hashlib.sha256(json.dumps(question).encode()).hexdigest()[:16]
        span = "whole" if shard.end is None else f"{shard.start}-{shard.end}"
        return self.directory / RANGES / f"{shard.sha256[:32]}-{span}-{asked}"


def tokenise_text(
    run: Run,
    language: str,
    patterns: Sequence[str],
    tokenizer: Tokenizer,
    *,
    special: SpecialIds,
    directory: Path,
    on_progress: OnProgress,
    range_bytes: int = RANGE_BYTES,
) -> DataIndex:
    """Tokenise a language's files into `directory`; what is there already and still fits is taken as it is.

    Plain text is read in ranges of `range_bytes`, any other file whole. The bytes written depend on the
    text, the tokenizer and the held-out rule, neither on the number of processes nor on kills on the way:
    finished ranges are kept, and one that was found damaged is made anew alone.

    Raises CheckpointError E-DATA-CHANGED when the text that was tokenised is not the text given now, or was
    tokenised in another way; WorkerError when a process was killed; and what the readers raise.
    """
    store.recover(directory)
    text = tokenizer.to_str().encode()
    sha256 = hashlib.sha256(text).hexdigest()
    states = fingerprints(text_files(run, patterns))
    made_from = {**_made_from(run, range_bytes), "tokenizer": sha256, "end": special.end}
    index = read_index(directory)
    if index is not None:
        index = _checked(index, made_from, states, directory)
        if not index.missing(directory):
            return index
    written = directory.parent / f"tokenizer-{sha256[:16]}.json"
    if not written.is_file() or store.sha256_file(written) != sha256:
        store.write_bytes(written, text)
    if index is None:
        files = [_file(path, state, store.sha256_file(path)) for path, state in states.items()]
        rule = split_corpus(run, language, patterns).held_out
    else:
        files, rule = [dict(file) for file in index.files], HeldOut(*index.made_from["rule"])
    job = TokeniseJob(directory, written, sha256, special, rule, read_policy(run))
    ranges = [
        shard
        for (path, state), file in zip(states.items(), files, strict=True)
        for shard in plan_shards(
            Shard(path, file["sha256"], state), shard_bytes=range_bytes, policy=job.policy
        )
    ]
    small = sum(state.size for state in states.values()) < _RANGES_ALONE * range_bytes
    processes = run.settings.pretrain.processes or os.cpu_count() or 1
    _tokenise(ranges, job, language, 1 if small else processes, on_progress)
    entries = [range_entry(job.folder(shard)) for shard in ranges]
    made = DataIndex({**made_from, "rule": [rule.threshold, rule.seed]}, files, entries)
    if index is not None:
        _check_same_tokens(index, made, directory)
    write_index(directory, made)
    _sweep(directory, {entry.folder for entry in entries})
    return made


def _made_from(run: Run, range_bytes: int) -> dict[str, Any]:
    vocab = run.settings.vocab
    return {
        "format": _FORMAT,
        "held_out": [vocab.held_out_share, vocab.held_out_lines, run.settings.seed],
        "reading": dataclasses.asdict(read_policy(run)),
        "range_bytes": range_bytes,
    }


def _file(path: Path, state: Fingerprint, sha256: str) -> dict[str, Any]:
    return {"name": path.name, "size": state.size, "modified": state.modified, "sha256": sha256}


def _checked(
    index: DataIndex, made_from: Mapping[str, Any], states: Mapping[Path, Fingerprint], directory: Path
) -> DataIndex:
    """The index, when what it was made from is what there is now; a file's time alone may have changed."""
    theirs = {key: value for key, value in index.made_from.items() if key != "rule"}
    different = sorted(
        key for key in theirs.keys() | made_from.keys() if theirs.get(key) != made_from.get(key)
    )
    if different:
        why = "; ".join(f"{key}: {theirs.get(key)} then, {made_from.get(key)} now" for key in different[:3])
        raise _changed(directory, why)
    if len(index.files) != len(states):
        known, given = (
            {file["name"] for file in index.files},
            {path.name for path in states},
        )
        odd = ", ".join(escaped(name) for name in sorted(known ^ given)[:5])
        raise _changed(
            directory, f"{len(index.files)} files then, {len(states)} now" + (f": {odd}" if odd else "")
        )
    files = []
    for known_file, (path, state) in zip(index.files, states.items(), strict=True):
        untouched = (known_file["size"], known_file["modified"]) == (state.size, state.modified)
        sha256 = known_file["sha256"] if untouched else store.sha256_file(path)
        files.append(_file(path, state, sha256))
    odd_files = [
        now["name"]
        for then, now in zip(index.files, files, strict=True)
        if (then["size"], then["sha256"]) != (now["size"], now["sha256"])
    ]
    if odd_files:
        raise _changed(directory, "other contents: " + ", ".join(map(escaped, odd_files[:5])))
    if files != list(index.files):
        index = dataclasses.replace(index, files=files)
        write_index(directory, index)
    return index


def _changed(directory: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"the text tokenised in {directory} is not the text of this run",
        name="E-DATA-CHANGED",
        why=why,
        done="nothing was changed",
        next=f"give the files as they were, give another --run DIR, or delete {directory} to tokenise anew",
    )


def forget_index(directory: Path) -> None:
    """Set a text's index aside (index.json.bad), so that the text is tokenised as it is now."""
    store.set_aside(directory / INDEX)


def _check_same_tokens(then: DataIndex, now: DataIndex, directory: Path) -> None:
    odd = [new.folder for old, new in zip(then.ranges, now.ranges, strict=True) if old != new]
    if odd:
        raise _changed(
            directory, f"made anew, {', '.join(odd[:3])} came out otherwise: another library release?"
        )


def _tokenise(
    ranges: Sequence[Shard], job: TokeniseJob, language: str, processes: int, on_progress: OnProgress
) -> None:
    """Tokenise the ranges that are not there yet."""
    store.recover(job.directory / RANGES)
    distinct = {job.folder(shard): shard for shard in ranges}
    missing = [shard for folder, shard in distinct.items() if not store.is_published(folder)]
    total = sum(shard.bytes for shard in distinct.values())
    done = total - sum(shard.bytes for shard in missing)
    on_progress(Progress("tokenise", done, total, f"tokenising {language}"))
    work = partial(tokenise_range, job=job)
    try:
        with closing(run_in_workers(work, missing, processes=processes)) as finished:
            for shard, _ in finished:
                done += shard.bytes
                on_progress(Progress("tokenise", done, total, f"tokenising {language}"))
    except WorkerError as error:
        raise WorkerError(
            "a tokenising worker was killed (probably memory)",
            name=error.name,
            done="ranges of the text that were finished are kept",
            next="the same command goes on; with fewer pretrain.processes it needs less memory",
        ) from error
    finally:
        store.recover(job.directory / RANGES)  # of what workers that were ended had begun


def tokenise_range(shard: Shard, *, job: TokeniseJob) -> None:
    """Tokenise one range of the text and publish its folder. Raises what its reader raises, SpaceError."""
    if multiprocessing.parent_process() is not None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core a process
    lines = _encoded(shard, _encoder(job.tokenizer, job.sha256), job)
    write_range(job.folder(shard), lines, special=job.special)


@functools.lru_cache(maxsize=1)
def _encoder(path: Path, sha256: str) -> Encoder:
    del sha256  # another tokenizer is another entry, whatever its path
    return text_encoder(Tokenizer.from_file(str(path)))


def _encoded(shard: Shard, encode: Encoder, job: TokeniseJob) -> Iterator[dict[str, list[EncodedLine]]]:
    """Batch by batch the encoded lines of both parts; each learns where the other's lines start documents."""
    for batch in read_shard(shard, Account(shard.path), job.policy):
        unseen = job.rule.mask(batch.texts)
        encoded = encode(batch.texts)
        parts: dict[str, list[EncodedLine]] = {TRAINING: [], HELD_OUT: []}
        for apart, starts, (ids, words) in zip(unseen, batch.starts, encoded, strict=True):
            own, other = (HELD_OUT, TRAINING) if apart else (TRAINING, HELD_OUT)
            parts[own].append((ids, words, starts))
            if starts:
                parts[other].append(((), (), True))
        yield parts


def _sweep(directory: Path, known: set[str]) -> None:
    """Remove ranges of other texts or rules; what was set aside stays."""
    others = [folder for folder in (directory / RANGES).iterdir() if folder.name not in known]
    store.remove_directories([folder for folder in others if folder.suffix != ".bad"])
