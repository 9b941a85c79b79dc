"""Byte-level BPE: the only place that knows `Ġ`, the letters bytes are written with, and merges.

Text is bytes, each written as one of 256 letters (Radford et al. 2019, GPT-2); a word is spelt by joining the
adjacent pair that stands first in a list of merges until no pair of it is left (Sennrich et al. 2016). Pieces
are added by merges at the end of that list. The base's merges then all come first, and none of them knows a
new piece, so that the pieces of a word are always those of the base, some of them joined: a word changes only
where a new merge applies, it never takes more pieces, and nothing is unknown.

A merge joins two pieces, so a piece can be added when the base and the shorter added pieces spell it with
two; a character of three bytes, for one, needs the piece of its first two. `completed` puts such pieces in.
"""

import functools
import itertools
import json
from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any, final

from tokenizers import Tokenizer, models

from extend.errors import escaped
from extend.tokenizer.kind import AbstractTokenizerKind
from extend.types import Segmentation, Subword, Vocabulary, VocabularyExtension

BERT_NAMES = MappingProxyType(
    {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
)
ROBERTA_NAMES = MappingProxyType(
    {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
)
EUROBERT_NAMES = MappingProxyType(
    {
        "pad": "<|end_of_text|>",
        "unk": "<|end_of_text|>",
        "cls": "<|begin_of_text|>",
        "sep": "<|end_of_text|>",
        "mask": "<|mask|>",
    }
)
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
LETTERS: Mapping[int, str] = MappingProxyType(
    {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + at) for at, byte in enumerate(_OTHERS)}
)
"""The letter each byte is written with: itself where it is printable in Latin-1, else one from U+0100 on."""

_BYTES: Mapping[str, int] = MappingProxyType({letter: byte for byte, letter in LETTERS.items()})
_Merge = tuple[str, str]
_NEVER_IN_TEXT = frozenset(LETTERS[byte] for byte in (0xC0, 0xC1, *range(0xF5, 0x100)))


@final
class ByteLevelKind(AbstractTokenizerKind):
    """BPE over bytes as GPT-2, RoBERTa, ModernBERT and EuroBERT have it: `Ġ`, a space, starts a word.

    `special` names the tokens of one family; a tokenizer is of the kind whose mask it has. A word at the
    start of a text or after a bracket has no space before it and is spelt like the inside of a word; the
    learner sees both forms as one word. Pieces that are no whole characters stand for no part of a word.
    """

    mark = " "
    tokenizer_class = "PreTrainedTokenizerFast"
    lists_pieces = False
    needs_scores = False

    def __init__(self, special: Mapping[str, str]) -> None:
        self.name = f"byte-level BPE with {special['mask']}"
        self.special = special

    def matches(self, tokenizer: Tokenizer) -> bool:
        """A BPE over all 256 letters, without word suffixes or dropout, after a ByteLevel pre-tokenizer."""
        model = tokenizer.model
        if not isinstance(model, models.BPE) or tokenizer.token_to_id(self.special["mask"]) is None:
            return False
        plain = not (model.continuing_subword_prefix or model.end_of_word_suffix or model.dropout)
        if not plain or model.byte_fallback or tokenizer.pre_tokenizer is None:
            return False
        pre_tokenizer = json.loads(tokenizer.pre_tokenizer.__getstate__())
        *splitters, last = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
        if last["type"] != "ByteLevel" or not (splitters or last["use_regex"]):
            return False
        return all(tokenizer.token_to_id(letter) is not None for letter in _BYTES)

    def spell(self, subword: Subword) -> str:
        if any(character.isspace() for character in subword.text):
            raise ValueError(f"{subword.text!r} holds a blank")
        return _written(subword.text if subword.continues else self.mark + subword.text)

    def parse(self, piece: str) -> Subword:
        text = _read(piece)
        word = text.removeprefix(self.mark)
        if not word or any(character.isspace() for character in word):
            raise ValueError(f"{piece!r} is no part of a word")
        return Subword(word, continues=word == text)

    def word_text(self, word: str) -> str:
        return _read(word).strip()

    def marked(self, text: str) -> str:
        return _written(self.mark + text)

    def completed(
        self, tokenizer: Tokenizer, pieces: Sequence[str], *, limit: int | None = None
    ) -> tuple[str, ...]:
        """What `extended` can add: `pieces` in their order, before each the shorter pieces it needs.

        A piece is built from the left out of the base's pieces, so that the characters of a script share the
        pieces of their first bytes. Left out are pieces of the base, pieces that only new ways to old pieces
        would build, and, so that there are at most `limit`, the last ones (found by bisection).
        """
        base, spell = frozenset(tokenizer.get_vocab()), functools.cache(_base_speller(tokenizer))
        found = _closed(spell, base, pieces)
        if limit is None or len(found) <= limit:
            return found
        fitting, low, high = tuple[str, ...](), 0, len(pieces)
        while high - low > 1:
            middle = (low + high) // 2
            found = _closed(spell, base, pieces[:middle])
            if len(found) <= limit:
                fitting, low = found, middle
            else:
                high = middle
        return fitting

    def extended(
        self, tokenizer: Tokenizer, extension: VocabularyExtension, *, scores: Sequence[float] = ()
    ) -> Tokenizer:
        """The same tokenizer with the added pieces, and a merge for each after the base's last.

        Merges are in order of length (then of id): each joins the two pieces that its piece is spelt with
        so far. Raises ValueError when `extension.base` is not the vocabulary of `tokenizer`, for any score,
        and for a piece that is not spelt with two (see `completed`).
        """
        if scores:
            raise ValueError("byte-level BPE has no scores")
        if self.vocabulary(tokenizer) != extension.base:
            raise ValueError("the extension was made for another vocabulary than this tokenizer's")
        plan = _Plan(_base_speller(tokenizer), extension.base, extension.added)
        if missing := [*plan.needed, *sorted(plan.impossible)]:
            raise ValueError(f"{escaped(missing[0])} is not made of two pieces of the base or the extension")
        state = json.loads(tokenizer.to_str())
        # Added tokens that the model itself lacks get an id by counting when the file is read,
        # so they are written into the model's own list, where their ids are fixed.
        pieces = extension.base.pieces + extension.added
        state["model"]["vocab"] = {piece: index for index, piece in enumerate(pieces)}
        state["model"]["merges"] = [*state["model"]["merges"], *map(list, plan.merges)]
        return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))

    def scores(self, tokenizer: Tokenizer) -> dict[str, float]:
        return {}

    def unknown(self, tokenizer: Tokenizer) -> str:
        """The model's unknown piece, else the family's, else its padding: bytes leave nothing unknown."""
        named = tokenizer.model.unk_token
        candidates = (named, self.special["unk"], self.special["pad"])
        return next(token for token in candidates if token and tokenizer.token_to_id(token) is not None)

    def segment(self, tokenizer: Tokenizer, pieces: Sequence[str]) -> list[Segmentation]:
        return [tuple(token.id for token in tokenizer.model.tokenize(piece)) for piece in pieces]

    def unreachable(self, tokenizer: Tokenizer, vocabulary: Vocabulary) -> set[int]:
        """Pieces with a byte that no text has, and those the merges never arrive at."""
        model, added = tokenizer.model, tokenizer.get_added_tokens_decoder()
        return {
            index
            for index, piece in enumerate(vocabulary.pieces)
            if index not in added
            and (
                not _NEVER_IN_TEXT.isdisjoint(piece)
                or [token.id for token in model.tokenize(piece)] != [index]
            )
        }

    def readable_special(self, tokenizer: Tokenizer) -> frozenset[str]:
        """None: no merges arrive at a special token."""
        return frozenset()

    def plain(self, tokenizer: Tokenizer) -> Tokenizer:
        return tokenizer

    def restored(self, tokenizer: Tokenizer, state: Mapping[str, Any]) -> Tokenizer:
        return tokenizer

    def settings(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The class that reads tokenizer.json as it is, and inputs that every such model takes."""
        return {
            "tokenizer_class": self.tokenizer_class,
            "model_input_names": ["input_ids", "attention_mask"],
        }


def _written(text: str) -> str:
    return "".join(LETTERS[byte] for byte in text.encode("utf-8"))


def _read(piece: str) -> str:
    if not all(letter in _BYTES for letter in piece):
        raise ValueError(f"{piece!r} is not written in letters of bytes")
    return bytes(_BYTES[letter] for letter in piece).decode("utf-8")


def _base_speller(tokenizer: Tokenizer) -> Callable[[str], list[str]]:
    """How the merges of `tokenizer` spell a piece, also where it looks whole words up first."""
    model = tokenizer.model
    if model.ignore_merges:
        model = Tokenizer.from_str(tokenizer.to_str()).model
        model.ignore_merges = False
    return lambda piece: [token.value for token in model.tokenize(piece)]


class _Plan:
    """The merges that build `pieces`, the shortest first, out of what the base spells them with.

    A piece whose spelling so far is two pieces needs one merge. One of more parts is joined at the first
    place that gives another of `pieces`, else at the first that gives no piece of the base: a new way to
    an old piece would change text that has no new one. `merges` are in order, `needed` are pieces to put
    before a piece, by that piece; `impossible` has no place to join.

    Once built, a piece stays so whatever merges follow: they come later in the list, and those before it
    suffice.
    """

    def __init__(
        self, spell: Callable[[str], list[str]], base: Container[str], pieces: Sequence[str]
    ) -> None:
        self.merges: dict[_Merge, int] = {}
        self.needed: dict[str, list[str]] = {}
        self.impossible: set[str] = set()
        known = set(pieces)
        for piece in sorted(pieces, key=len):
            parts = self._joined(spell(piece))
            while parts != [piece]:
                pairs = [pair for pair in itertools.pairwise(parts) if "".join(pair) not in base]
                if not pairs or "".join(parts) != piece:  # the model drops what is no letter of a byte
                    self.impossible.add(piece)
                    break
                pair = next((pair for pair in pairs if "".join(pair) in known), pairs[0])
                if "".join(pair) not in known:
                    known.add("".join(pair))
                    self.needed.setdefault(piece, []).append("".join(pair))
                self.merges[pair] = len(self.merges)
                parts = self._joined(parts)

    def _joined(self, parts: list[str]) -> list[str]:
        """`parts` after the merges so far, which are all later than the base's."""
        last = len(self.merges)
        while True:
            ranks = [self.merges.get(pair, last) for pair in itertools.pairwise(parts)]
            first = min(ranks, default=last)
            if first == last:
                return parts
            at = ranks.index(first)
            parts = [*parts[:at], parts[at] + parts[at + 1], *parts[at + 2 :]]


def _closed(
    spell: Callable[[str], list[str]], base: Container[str], pieces: Sequence[str]
) -> tuple[str, ...]:
    """`pieces` with all that they need; putting one in may change what others are joined from."""
    listed = list(dict.fromkeys(piece for piece in pieces if piece not in base))
    while True:
        plan = _Plan(spell, base, listed)
        if not (plan.needed or plan.impossible):
            return tuple(listed)
        kept = (piece for piece in listed if piece not in plan.impossible)
        listed = list(itertools.chain.from_iterable((*plan.needed.get(piece, ()), piece) for piece in kept))
