"""Words to pieces by the tokenizer of a checkpoint folder; none is lost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from extend.errors import CheckpointError

Pieces = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """How a tokenizer cuts words: pieces a word, and the share of words with an unknown piece (0 to 1)."""

    words: int
    fertility: float
    unk_rate: float


class WordPieces:
    """Pieces of given words by the tokenizer of a checkpoint folder. Remembers every word it has cut.

    A word that yields no piece (a lone variation selector, say) gets the unknown piece, so labels never
    shift; a word that spells a special token (`[SEP]`) is unknown too.

    Args:
        directory: the checkpoint folder.
        wordpiece_only: cut by the WordPiece model alone. `wordpiece_only` of the object is False all the same
            when the tokenizer has another model: then the whole tokenizer is used.

    Raises CheckpointError when the folder has no tokenizer that can be loaded without running its code.
    """

    def __init__(self, directory: Path, *, wordpiece_only: bool = False) -> None:
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False, use_fast=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"cannot load the tokenizer of {directory}", name="E-TOKENIZER", why=str(error)[:200]
            ) from error
        self._tokenizer: Any = tokenizer
        self._cut: dict[str, Pieces] = {}
        self.pad: int = tokenizer.pad_token_id or 0
        first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
        last = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        self.before: Pieces = () if first is None else (first,)
        self.after: Pieces = () if last is None else (last,)
        if tokenizer.unk_token_id is None:
            raise CheckpointError(f"the tokenizer of {directory} has no unknown token", name="E-TOKENIZER")
        self.unknown: int = tokenizer.unk_token_id
        self._special = frozenset(tokenizer.all_special_ids)
        self._model: Any = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
        self.wordpiece_only = wordpiece_only and type(self._model).__name__ == "WordPiece"

    def cut(self, sentences: Iterable[Sequence[str]]) -> list[list[Pieces]]:
        """The pieces of every word of every sentence; each word has at least one."""
        known = list(sentences)
        new = sorted({word for words in known for word in words} - self._cut.keys())
        if new:
            valid = [word.encode("utf-8", "replace").decode("utf-8") for word in new]
            self._cut.update(zip(new, map(self._checked, self._ids(valid)), strict=True))
        return [[self._cut[word] for word in words] for words in known]

    def _ids(self, words: Sequence[str]) -> list[list[int]]:
        if self.wordpiece_only:
            return [[token.id for token in self._model.tokenize(word)] for word in words]
        encoded = self._tokenizer(
            [[word] for word in words], is_split_into_words=True, add_special_tokens=False, verbose=False
        )
        found: list[list[int]] = encoded["input_ids"]
        return found

    def _checked(self, ids: Sequence[int]) -> Pieces:
        if not ids or (ids[0] in self._special and len(ids) == 1):
            return (self.unknown,)
        return tuple(self.unknown if piece in self._special else piece for piece in ids)

    def spelled(self, sentences: Iterable[Sequence[str]]) -> dict[str, tuple[str, ...]]:
        """The pieces of every distinct word as the vocabulary has them."""
        words = sorted({word for sentence in sentences for word in sentence})
        (cut,) = self.cut([words])
        return {
            word: tuple(self._tokenizer.convert_ids_to_tokens(list(pieces)))
            for word, pieces in zip(words, cut, strict=True)
        }

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Every piece with its id."""
        found: Mapping[str, int] = self._tokenizer.get_vocab()
        return found

    def statistics(self, sentences: Iterable[Sequence[str]]) -> TokenStatistics:
        """Fertility and unknown rate over all words as they occur (0 words: both 0)."""
        words = [pieces for sentence in self.cut(sentences) for pieces in sentence]
        return TokenStatistics(
            words=len(words),
            fertility=sum(map(len, words)) / max(1, len(words)),
            unk_rate=sum(self.unknown in pieces for pieces in words) / max(1, len(words)),
        )

    def unknown_words(self, sentences: Iterable[Sequence[str]]) -> frozenset[str]:
        """The distinct words that have an unknown piece."""
        words = {word for sentence in sentences for word in sentence}
        self.cut([sorted(words)])
        return frozenset(word for word in words if self.unknown in self._cut[word])
