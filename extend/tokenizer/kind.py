"""What the toolkit must know of a family of tokenizers to extend one of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from extend.errors import CheckpointError, escaped
from extend.types import Segmentation, Subword, Vocabulary, VocabularyExtension


class AbstractTokenizerKind(ABC):
    """How a kind writes its pieces. Every other room works on `Subword` and on words without marks.

    `special` names the kind's token for each role (pad, unk, cls, sep, mask); `tokenizer_class` is the
    class transformers loads it with; `lists_pieces` says whether a vocab.txt belongs to its files;
    `needs_scores` whether every added piece comes with a score.
    """

    name: str
    special: Mapping[str, str]
    tokenizer_class: str
    lists_pieces: bool
    needs_scores: bool

    @abstractmethod
    def matches(self, tokenizer: Tokenizer) -> bool:
        """Whether `tokenizer` is of this kind."""

    @abstractmethod
    def spell(self, subword: Subword) -> str:
        """The piece that stands for `subword`. Raises ValueError when no piece can."""

    @abstractmethod
    def parse(self, piece: str) -> Subword:
        """The inverse of `spell`. Raises ValueError for a piece that stands for no part of a word."""

    @abstractmethod
    def word_text(self, word: str) -> str:
        """A pre-tokenized word without the kind's word mark: what the learner sees. Empty for a lone mark."""

    @abstractmethod
    def marked(self, text: str) -> str:
        """The inverse of `word_text`: the pre-tokenized word whose text this is."""

    def completed(
        self, tokenizer: Tokenizer, pieces: Sequence[str], *, limit: int | None = None
    ) -> tuple[str, ...]:
        """The pieces that `extended` can add, with those they need before them, at most `limit`.

        Kinds whose pieces need no others add what they are given.
        """
        return tuple(pieces[:limit])

    @abstractmethod
    def extended(
        self, tokenizer: Tokenizer, extension: VocabularyExtension, *, scores: Sequence[float] = ()
    ) -> Tokenizer:
        """A new tokenizer with the added pieces after the base ones; `tokenizer` stays as it is.

        `scores` has one number for each added piece when the kind `needs_scores`, and none otherwise.
        """

    @abstractmethod
    def scores(self, tokenizer: Tokenizer) -> dict[str, float]:
        """The score of every piece that text can be spelt with; empty for a kind without scores."""

    @abstractmethod
    def unknown(self, tokenizer: Tokenizer) -> str:
        """The piece that stands for what the vocabulary cannot spell."""

    @abstractmethod
    def segment(self, tokenizer: Tokenizer, pieces: Sequence[str]) -> list[Segmentation]:
        """Ids of `tokenizer` that spell each piece in its own position; the unknown id alone when none do."""

    @abstractmethod
    def unreachable(self, tokenizer: Tokenizer, vocabulary: Vocabulary) -> set[int]:
        """Ids of pieces that no text can give, though they are not declared special."""

    @abstractmethod
    def readable_special(self, tokenizer: Tokenizer) -> frozenset[str]:
        """Special tokens that the model itself would read when a text has them written out."""

    @abstractmethod
    def plain(self, tokenizer: Tokenizer) -> Tokenizer:
        """The tokenizer with a model that never reads a special token in text; ids stay the same."""

    @abstractmethod
    def restored(self, tokenizer: Tokenizer, state: Mapping[str, Any]) -> Tokenizer:
        """`tokenizer`, read from the tokenizer.json `state`, made exactly what that file says."""

    @abstractmethod
    def settings(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Keys of tokenizer_config.json that must agree with `state`, the parsed tokenizer.json."""

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
