"""How a base tokenizer writes its pieces: one final class a kind, one line in TOKENIZER_KINDS.

Only these classes know `##`; every other room works on `Subword`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import final

from tokenizers import Tokenizer, models

from extend.errors import CheckpointError, UsageError, escaped
from extend.types import Segmentation, Subword, Vocabulary, VocabularyExtension


class AbstractTokenizerKind(ABC):
    """What the toolkit must know of a family of tokenizers to extend one of them."""

    name: str

    @abstractmethod
    def matches(self, tokenizer: Tokenizer) -> bool:
        """Whether `tokenizer` is of this kind."""

    @abstractmethod
    def spell(self, subword: Subword) -> str:
        """The piece that stands for `subword`. Raises ValueError when no piece can."""

    @abstractmethod
    def parse(self, piece: str) -> Subword:
        """The inverse of `spell`."""

    @abstractmethod
    def extended(self, tokenizer: Tokenizer, extension: VocabularyExtension) -> Tokenizer:
        """A new tokenizer with the added pieces after the base ones; `tokenizer` stays as it is."""

    @abstractmethod
    def unknown(self, tokenizer: Tokenizer) -> str:
        """The piece that stands for what the vocabulary cannot spell."""

    @abstractmethod
    def segment(self, vocabulary: Vocabulary, pieces: Sequence[str], *, unknown: int) -> list[Segmentation]:
        """Ids of `vocabulary` that spell each piece in its own position; `(unknown,)` where none do."""

    def vocabulary(self, tokenizer: Tokenizer) -> Vocabulary:
        """Every piece in id order, special and added tokens among them.

        Raises CheckpointError when ids have holes: rows and pieces could not be told apart.
        """
        by_id = sorted(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
        for position, (piece, index) in enumerate(by_id):
            if index != position:
                raise CheckpointError(
                    f"tokenizer has no piece with id {min(position, index)}: "
                    f"id {index} ({escaped(piece)}) stands at position {position}",
                    name="E-TOKENIZER",
                    why="the ids of a vocabulary must be 0, 1, 2, ... to match the embedding rows",
                )
        return Vocabulary(tuple(piece for piece, _ in by_id))


@final
class WordPieceKind(AbstractTokenizerKind):
    """BERT's WordPiece: `##` marks a piece inside a word, the longest known prefix is taken first."""

    name = "WordPiece"
    mark = "##"

    def matches(self, tokenizer: Tokenizer) -> bool:
        model = tokenizer.model
        return isinstance(model, models.WordPiece) and model.continuing_subword_prefix == self.mark

    def spell(self, subword: Subword) -> str:
        if subword.continues:
            return self.mark + subword.text
        if subword.text.startswith(self.mark) and len(subword.text) > len(self.mark):
            raise ValueError(f"{subword.text!r} at the start of a word would read as a continuation")
        return subword.text

    def parse(self, piece: str) -> Subword:
        continues = piece.startswith(self.mark) and len(piece) > len(self.mark)
        return Subword(piece[len(self.mark) :] if continues else piece, continues)

    def extended(self, tokenizer: Tokenizer, extension: VocabularyExtension) -> Tokenizer:
        """Raises ValueError when `extension.base` is not the vocabulary of `tokenizer`."""
        if self.vocabulary(tokenizer) != extension.base:
            raise ValueError("the extension was made for another vocabulary than this tokenizer's")
        state = json.loads(tokenizer.to_str())
        # Added tokens that the model itself lacks get an id by counting when the file is read,
        # so they are written into the model's own list, where their ids are fixed.
        pieces = extension.base.pieces + extension.added
        state["model"]["vocab"] = {piece: index for index, piece in enumerate(pieces)}
        return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))

    def unknown(self, tokenizer: Tokenizer) -> str:
        return str(tokenizer.model.unk_token)

    def segment(self, vocabulary: Vocabulary, pieces: Sequence[str], *, unknown: int) -> list[Segmentation]:
        longest = max(map(len, vocabulary.pieces), default=0)
        return [
            self._longest_match(self.parse(piece), vocabulary, longest=longest) or (unknown,)
            for piece in pieces
        ]

    def _longest_match(self, subword: Subword, vocabulary: Vocabulary, *, longest: int) -> Segmentation:
        ids: list[int] = []
        start, text, known = 0, subword.text, vocabulary.ids
        while start < len(text):
            mark = self.mark if start or subword.continues else ""
            for end in range(min(len(text), start + longest), start, -1):
                index = known.get(mark + text[start:end])
                if index is not None:
                    break
            else:
                return ()
            ids.append(index)
            start = end
        return tuple(ids)


TOKENIZER_KINDS: Sequence[AbstractTokenizerKind] = (WordPieceKind(),)


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
    """The vocabulary as the learner sees it: parsed, in id order, without the ids in `special`."""
    return [kind.parse(piece) for index, piece in enumerate(vocabulary.pieces) if index not in special]
