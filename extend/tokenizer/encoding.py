"""Text to ids, and what a tokenizer's ids mean.

A special token written out in a text (`[MASK]` in an article about BERT) is plain text here: it is split
and spelt like any word, and so it is when words are counted. Added tokens that are not special keep
their own id, as everywhere in `tokenizers`.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from tokenizers import Encoding, Tokenizer

from extend.errors import CheckpointError
from extend.tokenizer.kinds import kind_of
from extend.types import Segmentation, SpecialIds, WordCounts

Encoded = tuple[list[int], list[bool]]
"""Ids without special tokens, and for each whether it starts a pre-tokenized word."""

CHUNK = 1024


def word_splitter(tokenizer: Tokenizer) -> Callable[[str], list[str]]:
    """The tokenizer's own normalizer and pre-tokenizer as one function from text to words."""
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer

    def split(text: str) -> list[str]:
        normal = normalizer.normalize_str(text) if normalizer else text
        if pre_tokenizer is None:
            return [normal] if normal else []
        return [word for word, _ in pre_tokenizer.pre_tokenize_str(normal)]

    return split


def word_segmenter(tokenizer: Tokenizer) -> Callable[[str], list[str]]:
    """From one pre-tokenized word to its pieces."""
    model = tokenizer.model
    return lambda word: [token.value for token in model.tokenize(word)]


def encode_words(tokenizer: Tokenizer, words: Sequence[str]) -> list[list[int]]:
    """Ids of each pre-tokenized word on its own."""
    model = tokenizer.model
    return [[token.id for token in model.tokenize(word)] for word in words]


def fertility(tokenizer: Tokenizer, counts: WordCounts) -> float:
    """Pieces a word over counted pre-tokenized words; an unknown word is one piece. 0.0 without words."""
    model = tokenizer.model
    words = sum(counts.values())
    pieces = sum(count * len(model.tokenize(word)) for word, count in counts.items())
    return pieces / words if words else 0.0


def segment(tokenizer: Tokenizer, pieces: Sequence[str]) -> list[Segmentation]:
    """Ids of `tokenizer` that spell each of `pieces`, which it need not know.

    A piece inside a word (`##x`) is spelt with pieces inside a word only. `(unk,)` when nothing spells it.
    """
    kind = kind_of(tokenizer)
    vocabulary = kind.vocabulary(tokenizer)
    return kind.segment(vocabulary, pieces, unknown=vocabulary.ids[kind.unknown(tokenizer)])


def encode(tokenizer: Tokenizer, text: str) -> Encoded:
    """Ids of one text without special tokens, and whether each starts a word."""
    return encode_batch(tokenizer, [text])[0]


def encode_batch(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Encoded]:
    """`encode` of many texts, never truncated and never padded."""
    encoded: list[Encoded] = []
    with _plain(tokenizer):
        for start in range(0, len(texts), CHUNK):
            chunk = list(texts[start : start + CHUNK])
            encodings = tokenizer.encode_batch(chunk, add_special_tokens=False)
            encoded += map(_with_word_starts, encodings)
    return encoded


def _with_word_starts(encoding: Encoding) -> Encoded:
    words = encoding.word_ids
    return encoding.ids, [word != before for word, before in zip(words, [-1, *words], strict=False)]


@contextlib.contextmanager
def _plain(tokenizer: Tokenizer) -> Iterator[None]:
    before = tokenizer.encode_special_tokens
    tokenizer.encode_special_tokens = True
    try:
        yield
    finally:
        tokenizer.encode_special_tokens = before


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """The ids training must know.

    Unmaskable are the special tokens and the bracketed pieces no text can give, such as `[unused7]`.
    Raises CheckpointError E-TOKENIZER when one of [PAD], [UNK], [CLS], [SEP], [MASK] is missing.
    """
    kind = kind_of(tokenizer)
    vocabulary = kind.vocabulary(tokenizer)
    names = {
        "mask": "[MASK]",
        "pad": "[PAD]",
        "unk": kind.unknown(tokenizer),
        "start": "[CLS]",
        "end": "[SEP]",
    }
    missing = [name for name in names.values() if name not in vocabulary]
    if missing:
        raise CheckpointError(
            f"tokenizer has no {', '.join(missing)}",
            name="E-TOKENIZER",
            why="masked training needs every special token of BERT",
        )
    ids = {role: vocabulary.ids[name] for role, name in names.items()}
    added = {index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    split = word_splitter(tokenizer)
    unreachable = {
        index
        for index, piece in enumerate(vocabulary.pieces)
        if len(piece) > 1 and piece[0] in "[<" and split(piece) != [piece]
    }
    return SpecialIds(
        **ids, unmaskable=frozenset({*ids.values(), *added, *unreachable}), vocab_size=len(vocabulary)
    )
