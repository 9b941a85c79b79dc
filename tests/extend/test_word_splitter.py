"""Words as the tokenizer's own normalizer and pre-tokenizer give them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from extend.tokenizer import word_splitter
from tests.models import tiny_tokenizer
from tests.unigram_models import handful_tokenizer

TEXT = st.one_of(
    st.text(alphabet=st.characters(min_codepoint=0, max_codepoint=0x7F), max_size=30),
    st.text(alphabet="aB1 .-é中\u200d\u0301\t", max_size=20),
    st.text(max_size=20),
)


def bert(**options):
    tokenizer = tiny_tokenizer()
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    return tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [
        bert(lowercase=False, strip_accents=False),
        bert(lowercase=True),
        bert(lowercase=True, strip_accents=False, clean_text=False),
        handful_tokenizer(),
    ],
    ids=["cased", "lower-cased", "unclean", "unigram"],
)
@given(text=TEXT)
def test_words_are_those_of_the_two_steps(tokenizer, text):
    normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    assert word_splitter(tokenizer)(text) == [w for w, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]
