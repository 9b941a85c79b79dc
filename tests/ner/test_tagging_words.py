"""Plain text to words: BERT's rule, character by character and beside the tokenizer's own splitter."""

import sys
import unicodedata
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers
from transformers import AutoTokenizer

from ner.tagging import word_bounds
from tests.ner.tiny import tiny_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@cache
def cut_otherwise() -> frozenset[str]:
    """What tokenizers' BertPreTokenizer classes otherwise than BERT's rule with Python's tables."""
    backend = pre_tokenizers.BertPreTokenizer()
    cleaning = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    found = []
    for character in map(chr, range(sys.maxunicode + 1)):
        if unicodedata.category(character)[0] not in "CZ":
            text = f"0{character}0"
            theirs = [word for word, _ in backend.pre_tokenize_str(cleaning.normalize_str(text))]
            if theirs != [text[start:end] for start, end in word_bounds(text)]:
                found.append(character)
    return frozenset(found)


SHOWN = st.characters(exclude_categories=["C", "Z"]).filter(
    lambda character: character not in cut_otherwise()
)
"""Of what is not shown, transformers knows other kinds of space than Python does."""


def test_every_character_is_classed_as_bert_does_but_for_what_tokenizers_has_wrong() -> None:
    """Its table of punctuation is older than Python's, and its CJK extension E begins 0x100 late."""
    extension = {chr(code) for code in range(0x2B820, 0x2B920)}
    assert extension <= cut_otherwise()
    no_longer_punctuation = {"\u166d", "\U000111c9"}
    others = cut_otherwise() - extension - no_longer_punctuation - {"\ufffd"}
    assert all(unicodedata.category(character)[0] == "P" for character in others)
    assert len(others) < 200


@given(
    st.lists(st.text(SHOWN, max_size=8) | st.sampled_from([".", "don't", "日本語", "ab,cd", "ක්‍රි"])).map(
        " ".join
    )
)
def test_words_are_those_of_the_tokenizer_s_own_splitter(encoder: Path, text: str) -> None:
    backend = AutoTokenizer.from_pretrained(encoder).backend_tokenizer
    encoded = backend.encode(text, add_special_tokens=False)
    own: dict[int, tuple[int, int]] = {}
    for word, (start, end) in zip(encoded.word_ids, encoded.offsets, strict=True):
        own[word] = (min(start, own.get(word, (start, end))[0]), max(end, own.get(word, (start, end))[1]))
    mine = [text[start:end] for start, end in word_bounds(text)]
    theirs = [text[start:end] for start, end in own.values()]
    hidden = "\u200d"  # the tokenizer takes it away, and with it what stands at a border
    assert [word.replace(hidden, "") for word in mine] == [word.replace(hidden, "") for word in theirs]


def test_words_by_hand() -> None:
    text = "\ufeffAda,  (B.) \u200blima\u200f\u00a0日本 \u200b ක්\u200dරි\tx\u2028y"
    assert [text[a:b] for a, b in word_bounds(text)] == [
        "Ada", ",", "(", "B", ".", ")", "lima", "日", "本", "ක්\u200dරි", "x", "y",
    ]  # fmt: skip
    assert word_bounds("") == word_bounds(" \u200b\x00 ") == ()
