"""Text to words, pieces and ids.

A special token written out in a text (`[MASK]` in an article about BERT) is plain text here: it is split
and spelt like any word, and so it is when words are counted. Added tokens that are not special keep
their own id, as everywhere in `tokenizers`.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

from tokenizers import (
    Encoding,
    PreTokenizedString,
    Token,
    Tokenizer,
    normalizers,
    pre_tokenizers,
)

from extend.tokenizer.kinds import kind_of
from extend.types import Segmentation, WordCounts

Encoded = tuple[list[int], list[bool]]
"""Ids without special tokens, and for each whether it starts a pre-tokenized word."""

CHUNK = 1024
_ASCII_WORDS = re.compile("[0-9A-Za-z]+|[^0-9A-Za-z ]").findall


def word_splitter(tokenizer: Tokenizer) -> Callable[[str], list[str]]:
    """The tokenizer's own normalizer and pre-tokenizer as one function from text to words.

    Printable ASCII under BERT's rules is split by a pattern that says the same, which takes a fraction of the
    time: words of letters and digits, every other character but the space on its own.
    """
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    bert = isinstance(normalizer, normalizers.BertNormalizer) and isinstance(
        pre_tokenizer, pre_tokenizers.BertPreTokenizer
    )
    lowercase = bert and normalizer.lowercase

    def split(text: str) -> list[str]:
        if bert and text.isascii() and text.isprintable():
            return _ASCII_WORDS(text.lower() if lowercase else text)
        normal = normalizer.normalize_str(text) if normalizer else text
        if pre_tokenizer is None:
            return [normal] if normal else []
        pieces = PreTokenizedString(normal)
        pre_tokenizer.pre_tokenize(pieces)
        return [word for word, _, _ in pieces.get_splits("normalized", "byte")]

    return split


def word_segmenter(tokenizer: Tokenizer) -> Callable[[str], list[str]]:
    """From one pre-tokenized word to its pieces; what has none is the unknown piece."""
    unknown = kind_of(tokenizer).unknown(tokenizer)
    unknown_id, spell = tokenizer.token_to_id(unknown), _speller(tokenizer)
    return lambda word: [unknown if token.id == unknown_id else token.value for token in spell(word)]


def encode_words(tokenizer: Tokenizer, words: Sequence[str]) -> list[list[int]]:
    """Ids of each pre-tokenized word on its own."""
    spell = _speller(tokenizer)
    return [[token.id for token in spell(word)] for word in words]


def fertility(tokenizer: Tokenizer, counts: WordCounts) -> float:
    """Pieces a word over counted pre-tokenized words; an unknown stretch is one piece. 0.0 without words."""
    spell = _speller(tokenizer)
    words = sum(counts.values())
    pieces = sum(count * len(spell(word)) for word, count in counts.items())
    return pieces / words if words else 0.0


def _speller(tokenizer: Tokenizer) -> Callable[[str], list[Token]]:
    """The model's own segmentation of a word, except that special tokens written out are text."""
    kind, model = kind_of(tokenizer), tokenizer.model
    special = kind.readable_special(tokenizer)

    def spell(word: str) -> list[Token]:
        written = any(token in word for token in special)
        return list((kind.plain(tokenizer).model if written else model).tokenize(word))

    return spell


def segment(tokenizer: Tokenizer, pieces: Sequence[str]) -> list[Segmentation]:
    """Ids of `tokenizer` that spell each of `pieces`, which it need not know.

    A piece inside a word (`##x`) is spelt with pieces inside a word only. `(unk,)` when nothing spells it.
    """
    return kind_of(tokenizer).segment(tokenizer, pieces)


def encode(tokenizer: Tokenizer, text: str) -> Encoded:
    """Ids of one text without special tokens, and whether each starts a word."""
    return encode_batch(tokenizer, [text])[0]


def encode_batch(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Encoded]:
    """`encode` of many texts, never truncated and never padded."""
    encoded: list[Encoding] = []
    with _special_as_text(tokenizer):
        for start in range(0, len(texts), CHUNK):
            encoded += tokenizer.encode_batch(list(texts[start : start + CHUNK]), add_special_tokens=False)
    _read_again(tokenizer, texts, encoded)
    return list(map(_with_word_starts, encoded))


def _read_again(tokenizer: Tokenizer, texts: Sequence[str], encoded: list[Encoding]) -> None:
    """Put right the texts in which the model has read a special token."""
    kind = kind_of(tokenizer)
    special = kind.readable_special(tokenizer)
    if not special:
        return
    unknown, normalizer = kind.unknown(tokenizer), tokenizer.normalizer
    unknown_id = tokenizer.token_to_id(unknown)
    found = {tokenizer.token_to_id(token) for token in special} - {unknown_id}
    for position, (text, encoding) in enumerate(zip(texts, encoded, strict=True)):
        read = not found.isdisjoint(encoding.ids)
        if not read and unknown_id in encoding.ids:
            read = unknown in (normalizer.normalize_str(text) if normalizer else text)
        if read:
            plain = kind.plain(tokenizer)
            with _special_as_text(plain):
                encoded[position] = plain.encode(text, add_special_tokens=False)


def _with_word_starts(encoding: Encoding) -> Encoded:
    words = encoding.word_ids
    return encoding.ids, [word != before for word, before in zip(words, [-1, *words], strict=False)]


@contextlib.contextmanager
def _special_as_text(tokenizer: Tokenizer) -> Iterator[None]:
    before = tokenizer.encode_special_tokens
    tokenizer.encode_special_tokens = True
    try:
        yield
    finally:
        tokenizer.encode_special_tokens = before
