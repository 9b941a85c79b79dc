"""The sample that is never counted or trained on: a rule about texts, not a list of them."""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from xxhash import xxh3_64_intdigest

from extend.types import Document

_HASHES = 1 << 64
_BUCKET_BITS = 48


class Batch(Protocol):
    """Texts that were read together."""

    @property
    def texts(self) -> Sequence[str]: ...


def text_hashes(texts: Iterable[str], seed: int) -> list[int]:
    """XXH3 (64 bits) of every text's UTF-8 bytes. The seed is taken modulo 2**64."""
    seed %= _HASHES
    return [xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"), seed) for text in texts]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A text is held out when its seeded hash is below `threshold` (0: none, 2**64: all).

    Membership depends on the text alone: neither on its place nor on what else there is. Equal texts are
    on one side, and every process and machine finds the same sample without talking to the others.
    """

    threshold: int
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= _HASHES:
            raise ValueError(f"a threshold lies between 0 and 2**64, got {self.threshold}")

    def __contains__(self, text: str) -> bool:
        return text_hashes((text,), self.seed)[0] < self.threshold

    def mask(self, texts: Iterable[str]) -> list[bool]:
        """For every text whether it is held out."""
        threshold = self.threshold
        return [value < threshold for value in text_hashes(texts, self.seed)]


class LineSample:
    """One pass over lines, from which the rule follows. Memory is bounded by `least` and 2**16 numbers.

    Samples of the parts of a corpus merge to the sample of the whole. Only `least` distinct hashes, the
    smallest, are kept with how often each occurred, and below the share a histogram of their first 16 bits.
    """

    def __init__(self, *, share: float, least: int, seed: int) -> None:
        self.lines, self._seed, self._least = 0, seed, least
        self._wanted = min(int(share * _HASHES), _HASHES)
        self._smallest: dict[int, int] = {}
        self._largest_kept = _HASHES
        self._below: Counter[int] = Counter()

    def add(self, texts: Sequence[str]) -> None:
        """Take in more lines."""
        self.lines += len(texts)
        bound = max(self._wanted, self._largest_kept + 1)
        low = [value for value in text_hashes(texts, self._seed) if value < bound]
        self._below.update([value >> _BUCKET_BITS for value in low if value < self._wanted])
        for value in low:
            if value <= self._largest_kept:
                self._smallest[value] = self._smallest.get(value, 0) + 1
        if len(self._smallest) > 2 * self._least:
            self._prune()

    def merge(self, other: "LineSample") -> None:
        """Take in the lines that `other`, made with the same settings, has seen."""
        self.lines += other.lines
        self._below.update(other._below)
        self._largest_kept = min(self._largest_kept, other._largest_kept)
        for value, count in other._smallest.items():
            self._smallest[value] = self._smallest.get(value, 0) + count
        self._prune()

    def _prune(self) -> None:
        if len(self._smallest) > self._least:
            kept = heapq.nsmallest(self._least, self._smallest)
            self._smallest = {value: self._smallest[value] for value in kept}
            self._largest_kept = min(self._largest_kept, kept[-1]) if kept else -1

    def rule(self) -> HeldOut:
        """The threshold for what was seen so far (see `find_held_out`)."""
        self._prune()
        exact = sorted(self._smallest)
        held_out = list(itertools.accumulate(self._smallest[value] for value in exact))
        threshold, lines = self._wanted, self._below.total()
        if lines < self._least and exact:
            enough = next((place for place, count in enumerate(held_out) if count >= self._least), -1)
            if held_out[enough] > lines:
                threshold, lines = exact[enough] + 1, held_out[enough]
        half = self.lines // 2
        if lines > half:
            lowered = [value + 1 for value, count in zip(exact, held_out, strict=True) if count <= half]
            threshold = max([0, *lowered, self._last_bucket_within(half)])
        return HeldOut(threshold, self._seed)

    def _last_bucket_within(self, most: int) -> int:
        """The largest boundary of the histogram, up to the share's, that has at most `most` lines below."""
        buckets, lines = sorted(self._below), 0
        for bucket in buckets:
            lines += self._below[bucket]
            if lines > most:
                return bucket << _BUCKET_BITS
        return self._wanted


def find_held_out(
    batches: Iterable[Batch], *, share: float = 0.02, least: int = 200, seed: int = 1
) -> HeldOut:
    """The rule that holds out `share` of all hashes, and by it about that share of the lines.

    When that gives fewer than `least` lines the threshold is raised to the smallest that gives so many, and
    it is lowered until at most half of the lines are held out: to the largest that does among the `least`
    smallest hashes and the multiples of 2**48. Lines that are equal stay together, so that a corpus of very
    few different lines may hold out less than `least`.

    One pass, bounded memory, the same rule whatever the order of lines, batches and files.
    """
    sample = LineSample(share=share, least=least, seed=seed)
    for batch in batches:
        sample.add(batch.texts)
    return sample.rule()


def training_documents(documents: Iterable[Document], held_out: HeldOut) -> Iterator[Document]:
    """The documents that are not held out; where a text's first line is, the next that stays starts it."""
    return _kept(documents, held_out, inside=False)


def held_out_documents(documents: Iterable[Document], held_out: HeldOut) -> Iterator[Document]:
    """The held-out documents; the first of each text starts it."""
    return _kept(documents, held_out, inside=True)


def _kept(documents: Iterable[Document], held_out: HeldOut, *, inside: bool) -> Iterator[Document]:
    starts = False
    for document in documents:
        starts = starts or document.starts_document
        if (document.text in held_out) is inside:
            same = document.starts_document is starts
            yield document if same else replace(document, starts_document=starts)
            starts = False
