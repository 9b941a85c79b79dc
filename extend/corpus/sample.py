"""Documents to word counts, and a sample of them that is never counted."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from extend.types import Document


def split_held_out(
    documents: Iterable[Document], *, share: float, least: int, seed: int
) -> tuple[list[Document], list[Document]]:
    """(counted, held out): about `share` of the documents held out, `least` of them when there are enough.

    Membership is by a seeded hash of the text, so it depends neither on the order of the documents nor on
    how they lie in files, and equal texts are on one side. At most half is held out.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    everything = list(documents)
    for position, document in enumerate(everything):
        groups[_hash(document.text, seed)].append(position)
    wanted = max(least, round(share * len(everything)))
    chosen: set[int] = set()
    for _, positions in sorted(groups.items()):
        if len(chosen) >= wanted:
            break
        if len(chosen) + len(positions) <= len(everything) // 2:
            chosen.update(positions)
    counted = [position not in chosen for position in range(len(everything))]
    return _kept(everything, counted), _kept(everything, [not kept for kept in counted])


def _kept(documents: list[Document], keep: list[bool]) -> list[Document]:
    """The documents to keep; where a text's first line goes, the next line that stays starts the text."""
    kept: list[Document] = []
    starts = False
    for document, stays in zip(documents, keep, strict=True):
        starts = starts or document.starts_document
        if stays:
            kept.append(replace(document, starts_document=starts))
            starts = False
    return kept


def _hash(text: str, seed: int) -> str:
    key = seed.to_bytes(16, "little", signed=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=key).hexdigest()


def count_words(texts: Iterable[str], split: Callable[[str], Iterable[str]]) -> Counter[str]:
    """Exact counts of the words that `split` gives.

    Text is cut at spaces (U+0020 alone: splitters differ on the other blanks) and `split` runs once for
    each distinct chunk, so it must not look across a space.
    """
    chunks: Counter[str] = Counter()
    for text in texts:
        chunks.update(text.split(" "))
    words: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for word in split(chunk):
            words[word] += count
    return words
