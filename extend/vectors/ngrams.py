"""Character n-grams of words and their buckets, as fastText counts and hashes them.

Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information", section 3.2; the details follow
`Dictionary::computeSubwords` and `Dictionary::hash` of fastText's dictionary.cc. A word stands between `<`
and `>`; the n-grams are those of whole characters, without the two signs alone. The hash is FNV-1a with 32
bits, except that every byte is widened as a signed one: fastText keeps that fault, so that its models stay
readable, and so do we.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_OFFSET_BASIS, _PRIME = np.uint32(2166136261), np.uint32(16777619)
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NgramRule:
    """N-grams of `shortest` to `longest` characters, hashed to `buckets`; none when either is 0."""

    shortest: int
    longest: int
    buckets: int


def ngram_buckets(words: Sequence[str], rule: NgramRule) -> tuple[Ints, Ints]:
    """For every n-gram of every word: the word's place in `words`, and the n-gram's bucket.

    Sorted by word; an n-gram that a word has twice comes twice. Raises UnicodeEncodeError for a lone
    surrogate, which has no UTF-8.
    """
    none = np.empty(0, dtype=np.int64)
    if not rule.buckets or not rule.longest or not words:
        return none, none
    marked = [f"<{word}>" for word in words]
    lengths = np.array([len(word) for word in marked], dtype=np.int64)
    owner = np.repeat(np.arange(len(words)), lengths)
    ends = np.cumsum(lengths)[owner]
    begins = ends - lengths[owner]
    content = np.frombuffer("".join(marked).encode("utf-8"), dtype=np.int8)
    first_bytes = np.flatnonzero((content.view(np.uint8) & 0xC0) != 0x80)
    widths = np.diff(first_bytes, append=len(content))
    hashes = np.full(len(owner), _OFFSET_BASIS, dtype=np.uint32)
    alive = np.arange(len(owner))
    found: list[tuple[Ints, Ints]] = []
    for length in range(1, rule.longest + 1):
        alive = alive[alive + length <= ends[alive]]
        _absorb(hashes, alive, alive + (length - 1), content=content, starts=first_bytes, widths=widths)
        if length >= rule.shortest:
            kept = alive
            if length == 1:
                kept = alive[(alive != begins[alive]) & (alive != ends[alive] - 1)]
            found.append((owner[kept], (hashes[kept] % np.uint32(rule.buckets)).astype(np.int64)))
    if not found:
        return none, none
    owners, buckets = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(owners, kind="stable")
    return owners[order], buckets[order]


def _absorb(
    hashes: npt.NDArray[np.uint32],
    places: Ints,
    characters: Ints,
    *,
    content: npt.NDArray[np.int8],
    starts: Ints,
    widths: Ints,
) -> None:
    """Take the bytes of one more character into each place's hash."""
    for byte in range(4):
        longer = widths[characters] > byte
        at, character = places[longer], characters[longer]
        widened = content[starts[character] + byte].astype(np.int32).view(np.uint32)
        hashes[at] = (hashes[at] ^ widened) * _PRIME


def summed_rows(owners: Ints, rows: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
    """Add each row to its owner's row of `out`; `owners` is sorted."""
    if len(owners):
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        out[owners[starts]] += np.add.reduceat(rows, starts, axis=0)
