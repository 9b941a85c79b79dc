"""Chunks to words: the splitter runs on distinct chunks alone, many in one call, in bounded memory."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from extend.corpus.counting_runs import CountTable, Row, read_run, write_run

Split = Callable[[str], Iterable[str]]
"""Text to words. A space is nothing to it but a border between words."""

_JOINED_CHUNKS, _JOINED_CHARACTERS = 256, 1 << 14
_SLICE_ROWS, _SLICE_CHARACTERS = 1 << 16, 1 << 22


def count_words(texts: Iterable[str], split: Split) -> Counter[str]:
    """Exact counts of the words that `split` gives, as if every text were split whole."""
    chunks: Counter[str] = Counter()
    source = iter(texts)
    while batch := list(itertools.islice(source, 1000)):
        chunks.update(" ".join(batch).split(" "))
    del chunks[""]
    words: Counter[str] = Counter()
    add_words(words, chunks.items(), split)
    return words


def add_words(words: Counter[str], chunks: Iterable[tuple[str, int]], split: Split) -> None:
    """Add to `words` what `split` makes of distinct chunks, each with its count above 0.

    Chunks of one count are joined and split in one call, those of ASCII alone apart from the others, so
    that a splitter may take a shorter way with them. Chunks that begin or end with a blank or an invisible
    character are split alone: normalizers may make spaces of these.
    """
    groups: dict[int, list[str]] = {}
    for chunk, count in chunks:
        if not (chunk.isprintable() or (chunk[0].isprintable() and chunk[-1].isprintable())):
            _add(words, split(chunk), count)
            continue
        kind = count if chunk.isascii() else -count
        group = groups.get(kind)
        if group is None:
            groups[kind] = [chunk]
        else:
            group.append(chunk)
    for kind, group in groups.items():
        for text in _joined(group):
            _add(words, split(text), abs(kind))


def _add(words: Counter[str], found: Iterable[str], count: int) -> None:
    if count == 1:
        words.update(found)
        return
    seen = words.get
    for word in found:
        words[word] = seen(word, 0) + count


def _joined(chunks: Sequence[str]) -> Iterator[str]:
    for first in range(0, len(chunks), _JOINED_CHUNKS):
        text = " ".join(chunks[first : first + _JOINED_CHUNKS])
        if len(text) <= _JOINED_CHARACTERS:
            yield text
        else:
            yield from chunks[first : first + _JOINED_CHUNKS]


def add_table(table: CountTable, chunks: CountTable, split: Split) -> None:
    """Add to `table` what `split` makes of chunks that are all in memory."""
    for words, counts in ((table.counted, chunks.counted), (table.held_out, chunks.held_out)):
        items = iter(counts.items())
        while part := list(itertools.islice(items, _SLICE_ROWS)):
            add_words(words, part, split)
            table.spill_when_full()


def add_rows(table: CountTable, rows: Iterable[Row], split: Split) -> None:
    """Add to `table` what `split` makes of the chunks of `rows`, a bounded slice at a time."""
    for part in _slices(rows):
        add_words(table.counted, ((text, counted) for text, counted, _ in part if counted), split)
        add_words(table.held_out, ((text, unseen) for text, _, unseen in part if unseen), split)
        table.spill_when_full()


def _slices(rows: Iterable[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    room = _SLICE_CHARACTERS
    for row in rows:
        part.append(row)
        room -= len(row[0])
        if room < 0 or len(part) == _SLICE_ROWS:
            yield part
            part, room = [], _SLICE_CHARACTERS
    yield part


@dataclass
class Kept:
    """The most frequent rows that fit, and how much does not."""

    words: dict[str, int]
    held_out: dict[str, int]
    words_left_out: int = 0
    tokens_left_out: int = 0
    held_out_tokens_left_out: int = 0


_WORD_BYTES, _CHARACTER_BYTES = 128, 3
"""Memory of a word in the tables returned, as it is reckoned on every machine."""


def _row_bytes(row: Row) -> int:
    text, counted, held_out = row
    return (_WORD_BYTES + _CHARACTER_BYTES * len(text)) * ((counted > 0) + (held_out > 0))


def _table_bytes(counts: Counter[str]) -> int:
    return _WORD_BYTES * len(counts) + _CHARACTER_BYTES * sum(map(len, counts))


def most_frequent(rows: Callable[[], Iterable[Row]], limit: int) -> Kept:
    """Two passes: the first finds the frequency down to which all rows fit, the second takes them."""
    sizes: Counter[int] = Counter()
    for row in rows():
        sizes[row[1] + row[2]] += _row_bytes(row)
    room, lowest = limit, 0  # no row has frequency 0
    for frequency in sorted(sizes, reverse=True):
        if sizes[frequency] > room:
            lowest = frequency
            break
        room -= sizes[frequency]
    kept = Kept({}, {})
    for row in rows():
        text, counted, held_out = row
        frequency = counted + held_out
        if frequency == lowest:
            room -= _row_bytes(row)
        if frequency > lowest or (frequency == lowest and room >= 0):
            if counted:
                kept.words[text] = counted
            if held_out:
                kept.held_out[text] = held_out
        else:
            kept.words_left_out += counted > 0
            kept.tokens_left_out += counted
            kept.held_out_tokens_left_out += held_out
    return kept


def words_of(
    chunks: CountTable | Iterable[Row], split: Split, *, limit: int, keep: int, scratch: Path
) -> Kept:
    """The words of chunk counts, with `limit` bytes of memory at work and `keep` bytes in the result."""
    table = CountTable(limit=limit, scratch=scratch / "words")
    if not isinstance(chunks, CountTable):
        add_rows(table, chunks, split)
    elif chunks.spilled:
        add_rows(table, chunks.rows(), split)
    else:
        add_table(table, chunks, split)
    if not table.spilled and _table_bytes(table.counted) + _table_bytes(table.held_out) <= keep:
        return Kept(table.counted, table.held_out)
    path = write_run(scratch / "words.tsv", table.rows())
    del table
    return most_frequent(lambda: read_run(path), keep)
