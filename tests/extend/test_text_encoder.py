"""Remembered words give the ids that the tokenizer itself gives, for every kind of tokenizer."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from extend.recipe import encoding
from extend.recipe.encoding import text_encoder
from extend.tokenizer import encode_batch
from tests.extend.byte_level_tokenizers import base_tokenizer
from tests.models import tiny_tokenizer
from tests.unigram_models import handful_tokenizer

KINDS: dict[str, Callable[[], Tokenizer]] = {
    "wordpiece": tiny_tokenizer,
    "unigram": handful_tokenizer,
    "byte-level": base_tokenizer,
}
PARTS = (
    *("the", "house", "walking", " ", "  ", "\t", ".", "[MASK]", "<mask>", "[UNK]", "<s>", "##er", "x" * 120),
    *("▁", "Ġ", "a", "ø", "ჩ", "中", "e\u0301", "\u200d", "\u00a0"),
)
TEXTS = st.lists(st.lists(st.sampled_from(PARTS), max_size=9).map("".join), max_size=5)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_encoded_as_the_tokenizer_does(kind: str) -> None:
    tokenizer = KINDS[kind]()
    encode = text_encoder(tokenizer)

    @given(TEXTS | st.lists(st.text(max_size=20), max_size=4))
    def check(texts: list[str]) -> None:
        assert encode(texts) == encode_batch(tokenizer, texts)

    check()


def test_forgetting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_tokenizer()
    monkeypatch.setattr(encoding, "_MOST_WORDS", 3)
    encode, texts = text_encoder(tokenizer), ["the house", "walker stone river", "a b c d e f"]
    for _ in range(3):
        assert encode(texts) == encode_batch(tokenizer, texts)


def test_added_tokens_that_reach_over_words_are_found() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("the house")])
    texts = ["walk the house.", "the  house"]
    assert text_encoder(tokenizer)(texts) == encode_batch(tokenizer, texts)
    assert tokenizer.token_to_id("the house") in text_encoder(tokenizer)(texts)[0][0]
