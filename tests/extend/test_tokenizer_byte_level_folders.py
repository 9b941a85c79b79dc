"""Byte-level tokenizers written to folders and read by transformers."""

import functools
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from transformers import AutoTokenizer

from extend.tokenizer import (
    load_tokenizer,
    save_tokenizer,
    special_ids,
)
from tests.extend.byte_level_tokenizers import FAMILIES, WORDS, base_tokenizer, extended_tokenizer


class TestFolders:
    @given(text=WORDS)
    @settings(deadline=None, max_examples=40)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_transformers_loads_what_is_written(self, family, text):
        extended, loaded = written(family)
        assert loaded(text)["input_ids"] == extended.encode(text).ids

    @pytest.mark.parametrize("family", FAMILIES)
    def test_settings(self, family):
        extended, loaded = written(family)
        assert len(loaded) == extended.get_vocab_size()
        assert loaded.mask_token_id == special_ids(extended).mask
        assert loaded.pad_token_id == special_ids(extended).pad
        assert set(loaded("the house")) == {"input_ids", "attention_mask"}

    @pytest.mark.parametrize("family", ["bert", "roberta"])
    def test_saved_and_loaded_is_the_same(self, family, tmp_path):
        extended = extended_tokenizer(base_tokenizer(family))
        save_tokenizer(extended, tmp_path / "one", base=None)
        again = load_tokenizer(tmp_path / "one")
        assert again.to_str() == extended.to_str()
        save_tokenizer(again, tmp_path / "two", base=tmp_path / "one")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_a_class_that_would_build_another_tokenizer_is_not_kept(self, tmp_path):
        base = tmp_path / "base"
        save_tokenizer(base_tokenizer("roberta"), base, base=None)
        path = base / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": "RobertaTokenizer"}))
        extended = extended_tokenizer(load_tokenizer(base))
        save_tokenizer(extended, tmp_path / "new", base=base)
        loaded = AutoTokenizer.from_pretrained(tmp_path / "new")
        for text in ("the house දර <mask>", " дома"):
            assert loaded(text)["input_ids"] == extended.encode(text).ids


@functools.cache
def written(family):
    """An extended tokenizer, and what transformers makes of its files."""
    extended = extended_tokenizer(base_tokenizer(family))
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(extended, Path(folder), base=None)
        return extended, AutoTokenizer.from_pretrained(folder)
