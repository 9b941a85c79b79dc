"""Pieces without their spelling: which words of a file they stand for, which script and case they have."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from extend.tokenizer import TOKENIZER_KINDS, AbstractTokenizerKind, kind_of, special_ids
from extend.types import Subword
from extend.vectors import WordVectors, read_vectors
from extend.vectors.fasttext_bin import MAGIC
from extend.vectors.opening import opened

Subwords = Sequence[Subword | None]


def subwords_of(tokenizer: Tokenizer) -> list[Subword | None]:
    """Every piece in id order; None for special tokens and for what is no part of a word."""
    kind, special = kind_of(tokenizer), special_ids(tokenizer).unmaskable
    found: list[Subword | None] = []
    for index, piece in enumerate(kind.vocabulary(tokenizer).pieces):
        try:
            found.append(None if index in special else kind.parse(piece))
        except ValueError:
            found.append(None)
    return found


def cases(word: str) -> tuple[str, ...]:
    """A word as it is, in lower case, with a capital: what WECHSEL tries in turn."""
    return tuple(dict.fromkeys((word, word.lower(), word.title())))


def lowered(subword: Subword) -> Subword:
    """The same part of a word in lower case."""
    return Subword(subword.text.lower(), subword.continues)


def class_of(subword: Subword) -> str:
    """Its script, by the names of its letters and marks, and its place: `Cyrillic medial`.

    Empty for several scripts and for none. Marks that belong to no script do not count.
    """
    letters = (character for character in subword.text if unicodedata.category(character)[0] in "LM")
    names = {unicodedata.name(character, "").split(" ")[0] for character in letters}
    names -= {"COMBINING", "MODIFIER", "VARIATION", ""}
    if len(names) != 1:
        return ""
    return f"{names.pop().title()} {'medial' if subword.continues else 'initial'}"


def read_words(
    path: Path, others: Iterable[str], subwords: Subwords, *, dimension: int | None = None
) -> WordVectors:
    """The vectors of `path` that `others` and the pieces may ask for, no more. Raises as `read_vectors`."""
    wanted, model = set(others), _is_model(path)
    for subword in filter(None, subwords):
        wanted |= {subword.text, subword.text.lower()}
        if not model:
            wanted |= {name for kind in TOKENIZER_KINDS for name in _spelled(kind, subword)}
    return read_vectors(path, wanted=wanted, dimension=dimension)


def piece_rows(path: Path, words: WordVectors, subwords: Subwords) -> Tensor:
    """One row a piece, (pieces, dimension), zeros for none.

    A file that spells parts of words, as `##x` or as `▁x` beside `x`, gives each piece the vector of its own
    place in the word. A list of words gives word-initial pieces the vector of the word they spell, as it is
    or in lower case, and pieces inside words none. A fastText model gives all the vector of their text.
    """
    if _is_model(path):
        return torch.from_numpy(words.of([(one.text,) if one else () for one in subwords]))
    kind = _spelling(words, subwords)
    groups = []
    for one in subwords:
        names = _spelled(kind, one) if one else ()
        lower = _spelled(kind, lowered(one)) if one else ()
        groups.append((*names, *lower))
    return torch.from_numpy(words.of(groups))


def _is_model(path: Path) -> bool:
    with opened(path) as source:
        return source.file.read(len(MAGIC)) == MAGIC


def _spelled(kind: AbstractTokenizerKind, subword: Subword) -> tuple[str, ...]:
    try:
        return (kind.spell(subword),)
    except ValueError:
        return ()


def _spelling(words: WordVectors, subwords: Subwords) -> AbstractTokenizerKind:
    """The kind whose marked spellings the file has most of; without any, the first: words are unmarked."""
    found: Counter[int] = Counter()
    for subword in filter(None, subwords):
        for place, kind in enumerate(TOKENIZER_KINDS):
            found[place] += any(
                name in words.rows for name in _spelled(kind, subword) if name != subword.text
            )
    return TOKENIZER_KINDS[max(range(len(TOKENIZER_KINDS)), key=lambda place: (found[place], -place))]
