"""Sentence pairs for next-sentence prediction, each a pure function of (seed, sample number).

Devlin et al. 2019, section 3.1, task 2: B is the text that follows A (label 0) in half of the samples and
text from another document (label 1) in the other half. A sample is [CLS] A [SEP] B [SEP], cut to the block
length from the end of the longer part and padded. We differ from BERT's release in drawing each sample's
start independently instead of walking through a shuffled copy of the corpus.
"""

from collections.abc import Sequence

import numpy as np
import torch

from extend.blocks import Flags, Ids, Stream, language_turns
from extend.errors import DataError
from extend.masking import MaskedBatch, MaskingRule, as_batch, counter_uniform, mask_batch
from extend.types import SpecialIds

_START, _LABEL, _OTHER, _SPLIT = range(4)


class SentencePairs:
    """Pairs drawn from one stream whose lines are sentences and whose documents are known.

    Raises DataError when the corpus has fewer than two documents of two lines.
    """

    def __init__(self, stream: Stream, *, length: int, seed: int) -> None:
        self.stream, self.length, self.seed = stream, length, seed
        begins = np.flatnonzero(stream.documents)
        begins = begins if len(begins) and begins[0] == 0 else np.concatenate(([0], begins))
        self.document_ends = np.concatenate((begins[1:], [len(stream.lines) - 1]))
        lines_in = self.document_ends - begins
        if (lines_in >= 2).sum() < 2:
            raise DataError(
                f"next-sentence prediction needs documents of several lines; {stream.language} has "
                f"{len(begins)} document(s)",
                name="E-NSP-DOCUMENTS",
                next="separate documents by blank lines, or set pretrain.nsp = false",
            )
        self.document_of = np.repeat(np.arange(len(begins)), lines_in)
        self.firsts = np.flatnonzero(
            self.document_ends[self.document_of] - np.arange(len(self.document_of)) >= 2
        )

    def pair(self, sample: int) -> tuple[Ids, Ids, Flags, Flags, int]:
        """Ids of A and of B, their word starts, and the label (0: B follows A)."""
        draws = counter_uniform(self.seed, 21, np.array([sample]), 4)[0]
        first = int(self.firsts[int(draws[_START] * len(self.firsts))])
        end = int(self.document_ends[self.document_of[first]])
        split = first + 1 + int(draws[_SPLIT] * min(end - first - 1, self._fitting(first, end)))
        following = draws[_LABEL] < 0.5
        if following:
            begin, stop = split, end
        else:
            begin = self._elsewhere(float(draws[_OTHER]), int(self.document_of[first]))
            stop = int(self.document_ends[self.document_of[begin]])
        a_ids, a_starts = self._text(first, split)
        b_ids, b_starts = self._text(begin, stop)
        a_ids, b_ids = _fit(a_ids, b_ids, self.length - 3)
        return a_ids, b_ids, a_starts[: len(a_ids)], b_starts[: len(b_ids)], int(not following)

    def _fitting(self, first: int, end: int) -> int:
        """How many lines from `first` fill about half a block, at least one."""
        tokens = self.stream.lines[first + 1 : end] - self.stream.lines[first]
        return max(1, int(np.searchsorted(tokens, self.length // 2)))

    def _elsewhere(self, draw: float, document: int) -> int:
        own = self.document_ends[document] - (self.document_ends[document - 1] if document else 0)
        others = len(self.document_of) - own
        line = int(draw * others)
        before = int(self.document_ends[document - 1]) if document else 0
        return line if line < before else line + int(own)

    def _text(self, first: int, end: int) -> tuple[Ids, Flags]:
        """Tokens of lines [first, end) without their end tokens, at most a block's worth."""
        begin, stop = int(self.stream.lines[first]), int(self.stream.lines[end])
        keep = np.ones(stop - begin, dtype=bool)
        keep[self.stream.lines[first + 1 : end + 1] - begin - 1] = False
        part = slice(begin, stop)
        ids = self.stream.ids[part][keep][: self.length].astype(np.int64)
        return ids, (self.stream.starts[part][keep][: self.length] != 0)


def paired_batch(
    sources: Sequence[SentencePairs],
    weights: tuple[float, ...],
    samples: Ids,
    *,
    special: SpecialIds,
    rule: MaskingRule,
    seed: int,
) -> MaskedBatch:
    """A padded batch for MLM and NSP: ids and segments (batch, length), attention mask true on text.

    Languages (`sources`, all of one length) are drawn by `weights` as blocks are.
    """
    shape = (len(samples), sources[0].length)
    ids = np.full(shape, special.pad, dtype=np.int64)
    starts, segments = np.ones(shape, dtype=bool), np.zeros(shape, dtype=np.int64)
    labels = np.zeros(len(samples), dtype=np.int64)
    for row, (language, turn) in enumerate(language_turns(samples, weights, seed=seed)):
        a_ids, b_ids, a_starts, b_starts, labels[row] = sources[language].pair(turn)
        text = np.concatenate(([special.start], a_ids, [special.end], b_ids, [special.end]))
        ids[row, : len(text)] = text
        starts[row, 1 : 1 + len(a_ids)] = a_starts
        starts[row, 2 + len(a_ids) : len(text) - 1] = b_starts
        segments[row, 2 + len(a_ids) : len(text)] = 1
    masked, positions = mask_batch(ids, starts, samples, rule=rule, special=special, seed=seed)
    return as_batch(
        ids,
        masked,
        positions,
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
