"""The kinds of base tokenizers that can be extended: one final class a kind, one line in TOKENIZER_KINDS."""

from collections.abc import Collection, Sequence

from tokenizers import Tokenizer

from extend.errors import UsageError
from extend.tokenizer.byte_level_kind import BERT_NAMES, EUROBERT_NAMES, ROBERTA_NAMES, ByteLevelKind
from extend.tokenizer.kind import AbstractTokenizerKind
from extend.tokenizer.unigram_kind import UnigramKind
from extend.tokenizer.wordpiece_kind import WordPieceKind
from extend.types import Subword, Vocabulary

TOKENIZER_KINDS: Sequence[AbstractTokenizerKind] = (
    WordPieceKind(),
    UnigramKind(),
    *map(ByteLevelKind, (BERT_NAMES, ROBERTA_NAMES, EUROBERT_NAMES)),
)


def kind_of(tokenizer: Tokenizer) -> AbstractTokenizerKind:
    """The kind that `tokenizer` is of. Raises UsageError E-TOKENIZER when none supports it."""
    for kind in TOKENIZER_KINDS:
        if kind.matches(tokenizer):
            return kind
    raise UsageError(
        f"tokenizer of kind {type(tokenizer.model).__name__} cannot be extended",
        name="E-TOKENIZER",
        why="supported kinds: " + ", ".join(kind.name for kind in TOKENIZER_KINDS),
        next="take a base whose tokenizer is of a supported kind",
    )


def spell(subword: Subword) -> str:
    """The WordPiece piece for `subword`: the spelling of every vocabulary made from nothing."""
    return WordPieceKind().spell(subword)


def subwords(
    kind: AbstractTokenizerKind, vocabulary: Vocabulary, *, special: Collection[int]
) -> list[Subword]:
    """The vocabulary as the learner sees it: parsed, in id order, without the ids in `special`.

    Pieces that are no part of a word, such as a word mark alone, are left out.
    """
    found: list[Subword] = []
    for index, piece in enumerate(vocabulary.pieces):
        if index not in special:
            try:
                found.append(kind.parse(piece))
            except ValueError:
                continue
    return found
