"""BERT's WordPiece: the only place that knows `##`."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, final

from tokenizers import Tokenizer, models

from extend.tokenizer.kind import AbstractTokenizerKind
from extend.types import Segmentation, Subword, Vocabulary, VocabularyExtension


@final
class WordPieceKind(AbstractTokenizerKind):
    """BERT's WordPiece: `##` marks a piece inside a word, the longest known prefix is taken first."""

    name = "WordPiece"
    mark = "##"
    special = MappingProxyType(
        {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    )
    tokenizer_class = "BertTokenizer"
    lists_pieces = True
    needs_scores = False

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

    def word_text(self, word: str) -> str:
        return word

    def marked(self, text: str) -> str:
        return text

    def extended(
        self, tokenizer: Tokenizer, extension: VocabularyExtension, *, scores: Sequence[float] = ()
    ) -> Tokenizer:
        """Raises ValueError when `extension.base` is not the vocabulary of `tokenizer`, or for any score."""
        if scores:
            raise ValueError("WordPiece has no scores")
        if self.vocabulary(tokenizer) != extension.base:
            raise ValueError("the extension was made for another vocabulary than this tokenizer's")
        state = json.loads(tokenizer.to_str())
        # Added tokens that the model itself lacks get an id by counting when the file is read,
        # so they are written into the model's own list, where their ids are fixed.
        pieces = extension.base.pieces + extension.added
        state["model"]["vocab"] = {piece: index for index, piece in enumerate(pieces)}
        return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))

    def scores(self, tokenizer: Tokenizer) -> dict[str, float]:
        return {}

    def unknown(self, tokenizer: Tokenizer) -> str:
        return str(tokenizer.model.unk_token)

    def segment(self, tokenizer: Tokenizer, pieces: Sequence[str]) -> list[Segmentation]:
        vocabulary = self.vocabulary(tokenizer)
        unknown = vocabulary.ids[self.unknown(tokenizer)]
        longest = max(map(len, vocabulary.pieces), default=0)
        return [
            self._longest_match(self.parse(piece), vocabulary, longest=longest) or (unknown,)
            for piece in pieces
        ]

    def unreachable(self, tokenizer: Tokenizer, vocabulary: Vocabulary) -> set[int]:
        """Bracketed pieces that the pre-tokenizer takes apart, such as `[unused7]`."""
        normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
        found: set[int] = set()
        for index, piece in enumerate(vocabulary.pieces):
            if len(piece) > 1 and piece[0] in "[<":
                normal = normalizer.normalize_str(piece) if normalizer else piece
                words = [word for word, _ in pre_tokenizer.pre_tokenize_str(normal)] if pre_tokenizer else []
                if (words or [normal]) != [piece]:
                    found.add(index)
        return found

    def readable_special(self, tokenizer: Tokenizer) -> frozenset[str]:
        """None: the pre-tokenizer takes brackets apart."""
        return frozenset()

    def plain(self, tokenizer: Tokenizer) -> Tokenizer:
        return tokenizer

    def restored(self, tokenizer: Tokenizer, state: Mapping[str, Any]) -> Tokenizer:
        return tokenizer

    def settings(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Transformers 5 builds a BertTokenizer's normalizer from these keys, not from tokenizer.json."""
        normalizer = state["normalizer"] or {}
        if normalizer.get("type") != "BertNormalizer":
            return {}
        return {
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer["strip_accents"],
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
        }

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
