"""XLM-R's Unigram: the only place that knows `▁`.

The model lists `[piece, score]` in id order and spells a word by the segmentation of highest summed score
(Kudo 2018, equation 6). Its list holds the special tokens too, with score 0.0, so that the model itself reads
`<s>` written in a text as the special token; SentencePiece does not, and nor does anything here.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, final

from tokenizers import Tokenizer, models

from extend.tokenizer.kind import AbstractTokenizerKind
from extend.types import Segmentation, Subword, Vocabulary, VocabularyExtension

DECIMALS = 6
_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")
_HEAD = re.compile(rb'\{"type":"Unigram","unk_id":(\d+),"vocab":\[')
_TAIL = b'],"byte_fallback":false}'


@final
class UnigramKind(AbstractTokenizerKind):
    """SentencePiece's Unigram as XLM-R has it: `▁` marks the start of a word, the best summed score wins.

    A piece is part of a word unless it is `▁` alone, has `▁` after its first place, or is a byte (`<0x41>`).
    """

    name = "Unigram"
    mark = "▁"
    special = MappingProxyType(
        {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    )
    tokenizer_class = "XLMRobertaTokenizer"
    lists_pieces = False
    needs_scores = True

    def matches(self, tokenizer: Tokenizer) -> bool:
        """A Unigram model with an unknown piece, without bytes, whose every word starts with `▁`."""
        if not isinstance(tokenizer.model, models.Unigram) or tokenizer.pre_tokenizer is None:
            return False
        pre_tokenizer = json.loads(tokenizer.pre_tokenizer.__getstate__())
        parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
        if [part["type"] for part in parts] not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
            return False
        metaspace = {"prepend_scheme": "always", "split": True, **parts[-1]}
        wanted = {"replacement": self.mark, "prepend_scheme": "always", "split": True}
        return wanted.items() <= metaspace.items() and _unknown_id(tokenizer) is not None

    def spell(self, subword: Subword) -> str:
        if self.mark in subword.text:
            raise ValueError(f"{subword.text!r} holds the mark of a word's start")
        if subword.continues and _BYTE.fullmatch(subword.text):
            raise ValueError(f"{subword.text!r} inside a word would read as a byte")
        return subword.text if subword.continues else self.mark + subword.text

    def parse(self, piece: str) -> Subword:
        text = piece.removeprefix(self.mark)
        if not text or self.mark in text or _BYTE.fullmatch(piece):
            raise ValueError(f"{piece!r} is no part of a word")
        return Subword(text, continues=text == piece)

    def word_text(self, word: str) -> str:
        return word.removeprefix(self.mark)

    def marked(self, text: str) -> str:
        return self.mark + text

    def extended(
        self, tokenizer: Tokenizer, extension: VocabularyExtension, *, scores: Sequence[float] = ()
    ) -> Tokenizer:
        """The same tokenizer with `[piece, score]` for each added piece after the base's last.

        Scores are kept to six decimals. Raises ValueError when `extension.base` is not the vocabulary of
        `tokenizer`, when scores and pieces differ in number, and for a score that is not a negative number
        or lies under the base's lowest, which would move the penalty of unknown characters (the lowest
        score less ten) and with it words that have no added piece.
        """
        if self.vocabulary(tokenizer) != extension.base:
            raise ValueError("the extension was made for another vocabulary than this tokenizer's")
        if len(scores) != len(extension.added):
            raise ValueError(f"{len(extension.added)} added pieces, {len(scores)} scores")
        state = _state(tokenizer)
        listed = [(piece, score) for piece, score in state["vocab"]]
        lowest = min(score for _, score in listed)
        wrong = next((score for score in scores if not lowest <= score <= -(10.0**-DECIMALS)), None)
        if wrong is not None:
            raise ValueError(f"the score of an added piece lies between {lowest} and 0.0, got {wrong}")
        rounded = [max(round(score, DECIMALS), lowest) for score in scores]
        # Added tokens that the model itself lacks get an id by counting when the file is read,
        # so they are written into the model's own list, where their ids are fixed.
        listed += [(piece, lowest) for piece in extension.base.pieces[len(listed) :]]
        listed += zip(extension.added, rounded, strict=True)
        return _with_pieces(tokenizer, listed, unknown=state["unk_id"])

    def scores(self, tokenizer: Tokenizer) -> dict[str, float]:
        """Of every piece but the special tokens, which no text is spelt with."""
        special = self.readable_special(tokenizer)
        return {piece: score for piece, score in _state(tokenizer)["vocab"] if piece not in special}

    def unknown(self, tokenizer: Tokenizer) -> str:
        index = _unknown_id(tokenizer)
        if index is None:
            raise ValueError("a Unigram tokenizer of another kind: it has no unknown piece")
        return str(tokenizer.id_to_token(index))

    def segment(self, tokenizer: Tokenizer, pieces: Sequence[str]) -> list[Segmentation]:
        unknown, special = _unknown_id(tokenizer), self.readable_special(tokenizer)
        written = any(token in piece for piece in pieces for token in special)
        model = (self.plain(tokenizer) if written else tokenizer).model
        spelt = [tuple(token.id for token in model.tokenize(piece)) for piece in pieces]
        return [(unknown,) if unknown is not None and unknown in ids else ids for ids in spelt]

    def unreachable(self, tokenizer: Tokenizer, vocabulary: Vocabulary) -> set[int]:
        """Bytes: the model never takes text apart into them."""
        return {index for index, piece in enumerate(vocabulary.pieces) if _BYTE.fullmatch(piece)}

    def readable_special(self, tokenizer: Tokenizer) -> frozenset[str]:
        """Every special token of the list, for the model knows no difference."""
        added = tokenizer.get_added_tokens_decoder().values()
        return frozenset({*self.special.values(), *(token.content for token in added if token.special)})

    def plain(self, tokenizer: Tokenizer) -> Tokenizer:
        return _plain(self, tokenizer, tokenizer.get_vocab_size(with_added_tokens=True))

    def restored(self, tokenizer: Tokenizer, state: Mapping[str, Any]) -> Tokenizer:
        """The library reads numbers of many digits with an error in the last bit; these are exact."""
        model = state["model"]
        tokenizer.model = models.Unigram([(piece, score) for piece, score in model["vocab"]], model["unk_id"])
        return tokenizer

    def settings(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Transformers 5 makes an XLMRobertaTokenizer anew and keeps only pieces and character map.

        Any other normalizer or splitter needs the class that reads tokenizer.json as it is.
        """
        normalizer = state["normalizer"] or {"type": "Sequence", "normalizers": []}
        normalizers = normalizer.get("normalizers", [normalizer])
        kept = [part for part in normalizers if not _joins_spaces(part)]
        splitters = [part["type"] for part in state["pre_tokenizer"].get("pretokenizers", ())]
        rebuilt = (
            [part["type"] for part in kept] in ([], ["Precompiled"])
            and splitters == ["WhitespaceSplit", "Metaspace"]
            and state["model"]["unk_id"] == 3
        )
        return {} if rebuilt else {"tokenizer_class": "PreTrainedTokenizerFast"}


def _joins_spaces(normalizer: Mapping[str, Any]) -> bool:
    wanted = {"type": "Replace", "pattern": {"Regex": " {2,}"}}
    return wanted.items() <= normalizer.items()


def _state(tokenizer: Tokenizer) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(tokenizer.model.__getstate__())
    return state


def _unknown_id(tokenizer: Tokenizer) -> int | None:
    """The model's unknown id; None when it has none or falls back to bytes. Does not parse the pieces."""
    state = tokenizer.model.__getstate__()
    found = _HEAD.match(state)
    return int(found[1]) if found and state.endswith(_TAIL) else None


def _with_pieces(tokenizer: Tokenizer, listed: Sequence[tuple[str, float]], *, unknown: int) -> Tokenizer:
    """The tokenizer with another list of pieces, its scores exact: reading JSON may move the last bit."""
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"] = listed
    made = Tokenizer.from_str(json.dumps(state, ensure_ascii=False))
    made.model = models.Unigram([(piece, score) for piece, score in listed], unknown, False)
    return made


@functools.lru_cache(maxsize=2)
def _plain(kind: UnigramKind, tokenizer: Tokenizer, size: int) -> Tokenizer:
    """Special pieces get names with a blank, which no word has; making a large model takes a second."""
    state, special = _state(tokenizer), kind.readable_special(tokenizer)
    listed = [(f" {piece}" if piece in special else piece, score) for piece, score in state["vocab"]]
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.model = models.Unigram(listed, state["unk_id"], False)
    return plain
