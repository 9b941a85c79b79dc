"""Sentences as windows of whole words that fit the encoder, and windows as padded batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ner.features.pieces import Pieces, WordPieces


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one sentence: its pieces, and for each word kept from it its row, first piece and size."""

    pieces: Pieces
    rows: tuple[int, ...]
    firsts: tuple[int, ...]
    sizes: tuple[int, ...]


def windows_of(pieces: Sequence[Pieces], first_row: int, capacity: int) -> Iterator[Window]:
    """Cut one sentence: whole when it fits, else windows of whole words that overlap by half."""
    if capacity < 1:
        raise ValueError("a window has room for one piece at least")
    cut = [piece[:capacity] for piece in pieces]  # only a word longer than a whole window loses pieces
    starts = [0]
    for piece in cut:
        starts.append(starts[-1] + len(piece))
    ranges = stretches(starts, capacity)
    kept = [list(range(len(cut)))] if len(ranges) == 1 else _shared_out(starts, ranges)
    for (begin, end), mine in zip(ranges, kept, strict=True):
        if mine:
            yield Window(
                pieces=tuple(part for piece in cut[begin:end] for part in piece),
                rows=tuple(first_row + word for word in mine),
                firsts=tuple(starts[word] - starts[begin] for word in mine),
                sizes=tuple(len(cut[word]) for word in mine),
            )


def _shared_out(starts: Sequence[int], ranges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """By window, the words read there: each in the one whose middle is nearest, of equals the earlier."""
    centres = [(starts[begin] + starts[end]) / 2 for begin, end in ranges]
    kept: list[list[int]] = [[] for _ in ranges]
    first = 0
    for word in range(len(starts) - 1):
        while ranges[first][1] <= word:
            first += 1
        holders = [first]
        while holders[-1] + 1 < len(ranges) and ranges[holders[-1] + 1][0] <= word:
            holders.append(holders[-1] + 1)
        kept[min(holders, key=lambda i: (abs(centres[i] - starts[word]), i))].append(word)
    return kept


def stretches(starts: Sequence[int], capacity: int) -> list[tuple[int, int]]:
    """Word ranges of at most `capacity` pieces that cover all words; each begins half way into the last."""
    words = len(starts) - 1
    ranges: list[tuple[int, int]] = []
    begin = end = 0
    while end < words:
        while end < words and starts[end + 1] - starts[begin] <= capacity:
            end += 1
        ranges.append((begin, end))
        half = starts[begin] + (starts[end] - starts[begin]) // 2
        begin = max(begin + 1, next(word for word in range(begin, end + 1) if starts[word] >= half))
        while end < words and starts[end + 1] - starts[begin] > capacity:
            begin += 1
    return ranges


def batches_of(windows: Sequence[Window], tokens: int) -> Iterator[list[Window]]:
    """Windows of like length together, longest first, at most `tokens` padded pieces a batch."""
    batch: list[Window] = []
    for window in sorted(windows, key=lambda window: -len(window.pieces)):
        if batch and len(batch[0].pieces) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def padded(batch: Sequence[Window], words: WordPieces) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, one row a window, with the special pieces around it."""
    rows = [words.before + window.pieces + words.after for window in batch]
    width = max(map(len, rows))
    ids = torch.tensor([row + (words.pad,) * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


@dataclass(frozen=True, slots=True)
class Places:
    """Where the words kept from a batch are: window, first piece and pieces of each, and its target row."""

    window: Tensor
    first: Tensor
    size: Tensor
    target: Tensor


def places_of(batch: Sequence[Window], *, shift: int) -> Places:
    """`shift`: special pieces before the first."""
    return Places(
        window=torch.tensor([index for index, window in enumerate(batch) for _ in window.rows]),
        first=torch.tensor([shift + first for window in batch for first in window.firsts]),
        size=torch.tensor([size for window in batch for size in window.sizes]),
        target=torch.tensor([place for window in batch for place in window.rows]),
    )
