"""Text to ids at the speed of a look-up: a word is spelt once, however often it stands in the text."""

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

from tokenizers import Tokenizer

from extend.tokenizer import Encoded, encode_batch, encode_words, word_splitter

Part = TypeVar("Part")

_MOST_WORDS = 1 << 20


def text_encoder(tokenizer: Tokenizer) -> Callable[[Sequence[str]], list[Encoded]]:
    """A function that gives what `encode_batch` gives: ids without specials, and which of them start a word.

    How a word is spelt depends on the word alone, so that it can be remembered: at most 2**20 words are, then
    all are forgotten. A tokenizer with added tokens that are not special looks for them across words; it is
    asked for every text.
    """
    if any(not token.special for token in tokenizer.get_added_tokens_decoder().values()):
        return lambda texts: encode_batch(tokenizer, texts)
    split = word_splitter(tokenizer)
    ids_of: dict[str, list[int]] = {}
    starts_of: dict[str, list[bool]] = {}

    def encode(texts: Sequence[str]) -> list[Encoded]:
        lines = [split(text) for text in texts]
        if len(ids_of) > _MOST_WORDS:
            ids_of.clear()
            starts_of.clear()
        new = [word for word in dict.fromkeys(itertools.chain.from_iterable(lines)) if word not in ids_of]
        for word, ids in zip(new, encode_words(tokenizer, new), strict=True):
            ids_of[word], starts_of[word] = ids, [place == 0 for place in range(len(ids))]
        return [(_joined(ids_of, words), _joined(starts_of, words)) for words in lines]

    return encode


def _joined(parts: dict[str, list[Part]], words: Sequence[str]) -> list[Part]:
    return list(itertools.chain.from_iterable(map(parts.__getitem__, words)))
