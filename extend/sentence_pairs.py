"""Sentence pairs for next-sentence prediction, each a pure function of (seed, sample number).

Devlin et al. 2019, section 3.1, task 2: B is the text that follows A (label 0) in half of the samples and
text from another document (label 1) in the other half. A sample is [CLS] A [SEP] B [SEP], cut to the block
length from the end of the longer part and padded. We differ from BERT's release in drawing each sample's
start independently instead of walking through a shuffled copy of the corpus. Its duplicate factor is ours:
with `duplicates` k there are k times as many different pairs as blocks in the text, and then they come again.
"""

from collections.abc import Sequence

import numpy as np
import torch

from extend.blocks import DocumentLines, Flags, Ids, Stream, language_turns, permuted
from extend.errors import DataError
from extend.masking import MaskedBatch, MaskingRule, as_batch, counter_bits, counter_uniform, mask_batch
from extend.types import SpecialIds

_START, _LABEL, _OTHER, _SPLIT = range(4)
_PAIRS, _ORDER, _MASKS = 21, 22, 23


class SentencePairs:
    """Pairs drawn from one stream whose lines are sentences and whose documents are known.

    Raises DataError when the corpus has fewer than two documents, or only documents of one line.
    """

    def __init__(self, stream: Stream, *, length: int, seed: int, duplicates: int = 0) -> None:
        self.stream, self.length, self.seed = stream, length, seed
        self.text = DocumentLines(stream)
        self.pool = duplicates * max(1, len(stream.ids) // length)
        if self.text.documents < 2 or not self.text.followers:
            raise DataError(
                f"next-sentence prediction needs documents of several lines; {stream.language} has "
                f"{self.text.documents} document(s) and {self.text.lines} line(s)",
                name="E-NSP-DOCUMENTS",
                next="separate documents by blank lines, or set pretrain.nsp = false",
            )

    def numbers(self, turns: Ids) -> Ids:
        """The pair of each turn: its own, or with duplicates one of the pool, all once before any again."""
        if not self.pool:
            return turns
        epochs, places = np.divmod(turns, self.pool)
        return permuted(places, self.pool, counter_bits(self.seed, _ORDER, epochs, 1)[:, 0])

    def pair(self, number: int) -> tuple[Ids, Ids, Flags, Flags, int]:
        """Ids of A and of B, their word starts, and the label (0: B follows A)."""
        draws = counter_uniform(self.seed, _PAIRS, np.array([number]), 4)[0]
        first = self.text.follower(int(draws[_START] * self.text.followers)) - 1
        document = self.text.document_of(first)
        end = self.text.begin(document + 1)
        split = first + 1 + int(draws[_SPLIT] * min(end - first - 1, self._fitting(first, end)))
        following = draws[_LABEL] < 0.5
        if following:
            begin, stop = split, end
        else:
            begin = self._elsewhere(float(draws[_OTHER]), document, end)
            stop = self.text.begin(self.text.document_of(begin) + 1)
        a_ids, a_starts = self._text(first, split)
        b_ids, b_starts = self._text(begin, stop)
        a_ids, b_ids = _fit(a_ids, b_ids, self.length - 3)
        return a_ids, b_ids, a_starts[: len(a_ids)], b_starts[: len(b_ids)], int(not following)

    def _fitting(self, first: int, end: int) -> int:
        """How many lines from `first` fill about half a block, at least one."""
        offsets = self.stream.offsets(first, min(end - 1, first + self.length // 2))
        return max(1, int(np.searchsorted(offsets[1:] - offsets[0], self.length // 2)))

    def _elsewhere(self, draw: float, document: int, end: int) -> int:
        """A line of another document, each as likely; `end` is where this one ends."""
        begin = self.text.begin(document)
        line = int(draw * (self.text.lines - (end - begin)))
        return line if line < begin else line + end - begin

    def _text(self, first: int, end: int) -> tuple[Ids, Flags]:
        """Tokens of lines [first, end) without their end tokens, at most a block's worth."""
        offsets = self.stream.offsets(first, min(end, first + self.length))
        begin, stop = int(offsets[0]), int(min(offsets[-1], offsets[0] + 2 * self.length))
        keep = np.ones(stop - begin, dtype=bool)
        ends = offsets[1:] - begin - 1
        keep[ends[ends < len(keep)]] = False
        ids, starts = self.stream.read(begin, stop)
        return ids[keep][: self.length].astype(np.int64), starts[keep][: self.length]


def paired_batch(
    sources: Sequence[SentencePairs],
    weights: tuple[float, ...],
    samples: Ids,
    *,
    special: SpecialIds,
    rule: MaskingRule,
    seed: int,
    replacements: Ids | None = None,
) -> MaskedBatch:
    """A padded batch for MLM and NSP: ids and segments (batch, length), attention mask true on text.

    Languages (`sources`, all of one length) are drawn by `weights` as blocks are. With duplicates, masks
    belong to the pair: the same pair is masked in the same way.
    """
    shape = (len(samples), sources[0].length)
    ids = np.full(shape, special.pad, dtype=np.int64)
    starts, segments = np.ones(shape, dtype=bool), np.zeros(shape, dtype=np.int64)
    labels = np.zeros(len(samples), dtype=np.int64)
    languages, turns = language_turns(samples, weights, seed=seed)
    pairs, keys = turns.copy(), samples.copy()
    for language in np.unique(languages):
        here = languages == language
        pairs[here] = sources[language].numbers(turns[here])
        if sources[language].pool:
            keys[here] = (
                counter_bits(seed, _MASKS + 1000 * int(language), pairs[here], 1)[:, 0] >> np.uint64(1)
            ).astype(np.int64)
    for row, (language, pair) in enumerate(zip(languages.tolist(), pairs.tolist(), strict=True)):
        a_ids, b_ids, a_starts, b_starts, labels[row] = sources[language].pair(pair)
        text = np.concatenate(([special.start], a_ids, [special.end], b_ids, [special.end]))
        ids[row, : len(text)] = text
        starts[row, 1 : 1 + len(a_ids)] = a_starts
        starts[row, 2 + len(a_ids) : len(text) - 1] = b_starts
        segments[row, 2 + len(a_ids) : len(text)] = 1
    masked, positions = mask_batch(
        ids, starts, keys, rule=rule, special=special, seed=seed, replacements=replacements
    )
    return as_batch(
        ids,
        masked,
        positions,
        offered=rule.offered(*shape),
        attention_mask=torch.from_numpy(ids != special.pad),
        segments=torch.from_numpy(segments),
        next_sentence=torch.from_numpy(labels),
    )


def _fit(first: Ids, second: Ids, room: int) -> tuple[Ids, Ids]:
    """Cut from the end of the longer part until both fit."""
    excess = len(first) + len(second) - room
    if excess <= 0:
        return first, second
    shorter = min(len(first), len(second))
    longest = max(room - shorter, room - room // 2)
    if len(first) >= len(second):
        first = first[:longest]
        return first, second[: room - len(first)]
    second = second[:longest]
    return first[: room - len(second)], second
