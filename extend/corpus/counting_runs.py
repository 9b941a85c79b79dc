r"""Counts that outgrow memory: tables that spill sorted runs to disk, and runs merged back to one stream.

A run is UTF-8 text of one row a line, `TEXT TAB COUNTED TAB HELD_OUT`, in code-point order of the texts
(which is byte order in UTF-8). In a text `\`, tab and line feed are written `\\`, `\t` and `\n`. Counts are
Python integers and have no largest value.
"""

import contextlib
import heapq
import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from extend import store

Row = tuple[str, int, int]
"""A text, how often it was counted, how often it stood in held-out lines."""

_BLOCK_CHARACTERS = 1 << 19
_FAN_IN = 32
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n"})
_UNESCAPED = {"\\": "\\", "t": "\t", "n": "\n"}


def encode_row(row: Row) -> str:
    """A row as its line in a run."""
    text, counted, held_out = row
    if "\\" in text or "\t" in text or "\n" in text:
        text = text.translate(_ESCAPES)
    return f"{text}\t{counted}\t{held_out}\n"


def decode_row(line: str) -> Row:
    """The row that `encode_row` made a line of."""
    text, counted, held_out = line.split("\t")
    if "\\" in text:
        characters = iter(text)
        text = "".join(_UNESCAPED[next(characters)] if mark == "\\" else mark for mark in characters)
    return text, int(counted), int(held_out)


def write_run(path: Path, rows: Iterable[Row]) -> Path:
    """Write sorted rows, block by block. Raises SpaceError when the disk is full."""
    block: list[str] = []
    size = 0
    for line in map(encode_row, rows):
        block.append(line)
        size += len(line)
        if size >= _BLOCK_CHARACTERS:
            store.append_bytes(path, "".join(block).encode("utf-8", "surrogatepass"))
            block, size = [], 0
    store.append_bytes(path, "".join(block).encode("utf-8", "surrogatepass"))
    return path


def read_run(path: Path) -> Iterator[Row]:
    """The rows of a run, in its order, a line at a time. Raises PathError when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            yield from map(decode_row, file)
    except OSError as error:
        raise store.as_extend_error(error, path) from error


def merge_rows(streams: Sequence[Iterable[Row]]) -> Iterator[Row]:
    """Sorted streams to one sorted stream in which every text stands once, its counts summed."""
    text, counted, held_out = "", 0, 0
    for row in heapq.merge(*streams, key=itemgetter(0)):
        if row[0] == text:
            counted, held_out = counted + row[1], held_out + row[2]
            continue
        if counted or held_out:
            yield text, counted, held_out
        text, counted, held_out = row
    if counted or held_out:
        yield text, counted, held_out


def merge_runs(runs: Sequence[Path], scratch: Path) -> Iterator[Row]:
    """`merge_rows` of runs on disk. More runs than may be open at a time are first merged in `scratch`."""
    for level in itertools.count():
        if len(runs) <= _FAN_IN:
            break
        groups = [runs[first : first + _FAN_IN] for first in range(0, len(runs), _FAN_IN)]
        runs = [
            write_run(scratch / f"merged-{level}-{number}.tsv", merge_rows([read_run(run) for run in group]))
            for number, group in enumerate(groups)
        ]
    return merge_rows([read_run(run) for run in runs])


@contextlib.contextmanager
def scratch_directory(directory: Path) -> Iterator[Path]:
    """A folder in `directory` for runs that nobody needs later; made with the first run, removed at the end.

    `store.recover(directory)` sweeps what a kill left of it.
    """
    scratch = directory / f".scratch.tmp-{os.getpid()}"
    store.remove_directories([scratch])
    try:
        yield scratch
    finally:
        store.remove_directories([scratch])


class _Weighed:
    """A counter and an estimate of the memory it takes, brought up to date when it has grown."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._texts, self._text_bytes = 0, 0

    def bytes(self) -> int:
        new = len(self.counts) - self._texts
        if new:
            latest = itertools.islice(reversed(self.counts), new)
            self._text_bytes += sum(map(sys.getsizeof, latest)) + 24 * new
            self._texts += new
        return self._text_bytes + sys.getsizeof(self.counts) * 3 // 2  # a growing table is there twice

    def clear(self) -> None:
        self.counts.clear()
        self._texts, self._text_bytes = 0, 0


class CountTable:
    """Counts of texts, those in held-out lines apart, in about `limit` bytes of memory.

    Add to `counted` and `held_out`, and call `spill_when_full` between additions: what is there then goes
    to a sorted run in `scratch`, and both start empty.
    """

    def __init__(self, *, limit: int, scratch: Path) -> None:
        self._counted, self._held_out = _Weighed(), _Weighed()
        self._limit, self._scratch = limit, scratch
        self._runs: list[Path] = []

    @property
    def counted(self) -> Counter[str]:
        return self._counted.counts

    @property
    def held_out(self) -> Counter[str]:
        return self._held_out.counts

    @property
    def spilled(self) -> bool:
        return bool(self._runs)

    def spill_when_full(self) -> None:
        """Write what is there to disk when it takes more than the limit. Raises SpaceError."""
        if self._counted.bytes() + self._held_out.bytes() > self._limit:
            self._spill()

    def _spill(self) -> None:
        path = self._scratch / f"run-{len(self._runs)}.tsv"
        self._runs.append(write_run(path, self._sorted_rows()))
        self._counted.clear()
        self._held_out.clear()

    def _sorted_rows(self) -> Iterator[Row]:
        counted, held_out = self.counted, self.held_out
        texts = list(counted)
        texts += (text for text in held_out if text not in counted)
        texts.sort()
        return ((text, counted[text], held_out[text]) for text in texts)

    def rows(self) -> Iterator[Row]:
        """Everything that was added, summed and sorted. Nothing may be added afterwards."""
        if not self._runs:
            return self._sorted_rows()
        if self.counted or self.held_out:
            self._spill()
        return merge_runs(self._runs, self._scratch)
