"""Text in two spellings, for rows that learn to be read as their old spelling was."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import TypeVar

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from extend.pretrain import device_of_choice
from extend.pretrain.distillation import NO_WORD, TwoSpellings, distil_rows_, spelling
from extend.recipe.corpora import corpus_patterns, split_corpus
from extend.recipe.initializing import distil_lines
from extend.recipe.run import OnProgress, Run
from extend.tokenizer import Encoded, encode_batch, special_ids, tokenizer_settings
from extend.types import Document, Progress, SpecialIds

BATCH, READ = 16, 256
STAGE = "distil"
Item = TypeVar("Item")
Pairs = list[tuple[int, int]]
"""Ids of one text, each with the number of its word."""


def distil(
    run: Run,
    model: PreTrainedModel,
    base: Tokenizer,
    extended: Tokenizer,
    *,
    first_new: int,
    on_progress: OnProgress,
) -> list[float]:
    """Train the rows from `first_new` on over as many lines of the run's text as `grow` asks for, in place.

    Lines without a new piece teach nothing and are not counted. Returns the loss of each batch.
    """
    lines = distil_lines(run.settings.grow)
    corpus = split_corpus(run, run.language.code, corpus_patterns(run))
    special = special_ids(extended, tokenizer_settings(run.vocabulary / "tokenizer"))
    texts = islice(
        _pairs(corpus.training(), base, extended, length=run.settings.pretrain.length, unknown=special.unk),
        lines,
    )
    return distil_rows_(
        model.to(device_of_choice()),
        _told((_batch(part, special) for part in _in_parts(texts, BATCH)), lines, on_progress),
        first_new=first_new,
    )


def _told(batches: Iterator[TwoSpellings], lines: int, on_progress: OnProgress) -> Iterator[TwoSpellings]:
    done = 0
    for batch in batches:
        yield batch
        done += len(batch.comparable)
        on_progress(Progress(STAGE, done, lines, "lines read in both spellings"))


def _pairs(
    documents: Iterator[Document], base: Tokenizer, extended: Tokenizer, *, length: int, unknown: int
) -> Iterator[tuple[Pairs, Pairs, list[bool]]]:
    """Each text with a new piece in both spellings, cut to whole words within `length`, and the words that
    both can spell."""
    first_new = base.get_vocab_size(with_added_tokens=True)
    for part in _in_parts(documents, READ):
        texts = [document.text for document in part]
        for old, new in zip(encode_batch(base, texts), encode_batch(extended, texts), strict=True):
            before, after = _numbered(old), _numbered(new)
            words = min(_whole(before, length - 2), _whole(after, length - 2))
            if sum(old[1]) != sum(new[1]) or not words:
                continue
            before, after = ([pair for pair in side if pair[1] < words] for side in (before, after))
            if not any(index >= first_new for index, _ in after):
                continue
            unread = {word for side in (before, after) for index, word in side if index == unknown}
            yield before, after, [word not in unread for word in range(words)]


def _in_parts(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    return iter(lambda: list(islice(items, size)), [])


def _numbered(encoded: Encoded) -> Pairs:
    ids, starts = encoded
    return list(zip(ids, (count - 1 for count in accumulate(starts)), strict=True))


def _whole(pairs: Pairs, room: int) -> int:
    """How many words fit whole."""
    return pairs[-1][1] + 1 if len(pairs) <= room else pairs[room][1]


def _batch(texts: Sequence[tuple[Pairs, Pairs, list[bool]]], special: SpecialIds) -> TwoSpellings:
    device, most = device_of_choice(), max(len(comparable) for _, _, comparable in texts)
    framed = [
        [[(special.start, NO_WORD), *text[side], (special.end, NO_WORD)] for text in texts] for side in (0, 1)
    ]
    old, new = (spelling(side, pad=special.pad) for side in framed)
    flags = [[*comparable, *[False] * (most - len(comparable))] for _, _, comparable in texts]
    return TwoSpellings(
        type(old)(*(tensor.to(device) for tensor in old)),
        type(new)(*(tensor.to(device) for tensor in new)),
        torch.tensor(flags, dtype=torch.bool, device=device),
    )
