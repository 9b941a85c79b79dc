"""A bounded sample of lines that depends on the text and the seed alone, not on the order of reading."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from xxhash import xxh3_64_intdigest

_DRAWN_APART = 0x9E3779B97F4A7C15
"""Added to the seed, so that the sample says nothing about which lines a run holds out."""
_HASHES = 1 << 64
_NO_MATTER = re.compile(
    r"[\s\d!-/:-@\[-`{-~\u00a0-\u00bf\u2000-\u206f\u3000-\u303f\u060c\u061b\u061f\u06d4\u0964\u0965]+"
)


class Batch(Protocol):
    """Texts that were read together."""

    @property
    def texts(self) -> Sequence[str]: ...


def folded(line: str) -> str:
    """What near duplicates share: the line without case, digits, punctuation and blanks."""
    return _NO_MATTER.sub("", line.casefold())


@dataclass(frozen=True)
class LineSample:
    """Distinct lines with how often each occurs in the corpus, in the order in which they were drawn.

    `lines` and `bytes` (UTF-8, without line ends) are of the whole corpus, copies among them. Every copy
    and every near duplicate (`folded`) of a drawn line was drawn with it, so that shares of duplicates
    are those of the corpus. `whole` says that nothing was left out.
    """

    counts: Mapping[str, int]
    lines: int
    bytes: int
    whole: bool

    @property
    def drawn_lines(self) -> int:
        """Lines of the sample, copies among them."""
        return sum(self.counts.values())

    @property
    def drawn_bytes(self) -> int:
        """UTF-8 bytes of those lines."""
        return sum(len(line.encode("utf-8", "surrogatepass")) * count for line, count in self.counts.items())

    def texts(self) -> Iterator[str]:
        """Every line as often as it occurs."""
        for line, count in self.counts.items():
            for _ in range(count):
                yield line


def draw_lines(batches: Iterable[Batch], *, most_bytes: int | None, seed: int) -> LineSample:
    """Distinct lines of at most `most_bytes` (None: all), those of the smallest seeded hashes.

    Lines are drawn in groups that have one folded form; the group that no longer fits ends the sample, and
    one group is always there. One pass; twice `most_bytes` of text is held at most, beside one batch.
    """
    drawing = _Drawing(most_bytes, (seed + _DRAWN_APART) % _HASHES)
    for batch in batches:
        drawing.add(batch.texts)
    return drawing.sample()


class _Drawing:
    def __init__(self, most_bytes: int | None, seed: int) -> None:
        self._most, self._seed = most_bytes, seed
        self._groups: dict[int, dict[str, int]] = {}
        self._held, self._bound = 0, _HASHES
        self._lines = self._bytes = 0

    def add(self, texts: Sequence[str]) -> None:
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            self._bytes += len(data)
            key = xxh3_64_intdigest(folded(text).encode("utf-8", "surrogatepass"), self._seed)
            if key >= self._bound:
                continue
            group = self._groups.setdefault(key, {})
            if text not in group:
                self._held += len(data)
            group[text] = group.get(text, 0) + 1
        self._lines += len(texts)
        if self._most is not None and self._held > 2 * self._most:
            self._prune()

    def _prune(self) -> None:
        """Keep the groups of the smallest hashes that fit; what has a larger one never will."""
        if self._most is None:
            return
        room = self._most
        for number, key in enumerate(sorted(self._groups)):
            room -= sum(len(line.encode("utf-8", "surrogatepass")) for line in self._groups[key])
            if room < 0 and number:
                self._bound = key
                break
        self._groups = {key: group for key, group in self._groups.items() if key < self._bound}
        self._held = sum(
            len(line.encode("utf-8", "surrogatepass")) for group in self._groups.values() for line in group
        )

    def sample(self) -> LineSample:
        self._prune()
        counts = {
            line: self._groups[key][line]
            for key in sorted(self._groups)
            for line in sorted(self._groups[key])
        }
        return LineSample(counts, self._lines, self._bytes, self._bound == _HASHES)
