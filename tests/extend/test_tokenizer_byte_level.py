"""Byte-level BPE: extended by merges; the base, `tokenizers` and transformers judge."""

import collections
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from extend.errors import UsageError
from extend.tokenizer import (
    encode,
    encode_batch,
    encode_words,
    fertility,
    kind_of,
    segment,
    special_ids,
    special_tokens,
    subwords,
    word_segmenter,
    word_splitter,
)
from extend.tokenizer.byte_level_kind import BERT_NAMES, LETTERS, ByteLevelKind
from extend.types import Subword, Vocabulary, VocabularyExtension
from tests.extend.byte_level_tokenizers import (
    ADDED,
    FAMILIES,
    WORDS,
    base_tokenizer,
    extended_tokenizer,
    spelling,
)


@pytest.fixture(params=FAMILIES)
def base(request):
    return base_tokenizer(request.param)


def pieces_of(tokenizer, text):
    vocabulary = kind_of(tokenizer).vocabulary(tokenizer).pieces
    return [vocabulary[index] for index in encode(tokenizer, text)[0]]


def boundaries(pieces):
    return set(itertools.accumulate(map(len, pieces)))


class TestKind:
    def test_each_family_is_known_by_its_mask(self, base):
        kind = kind_of(base)
        assert isinstance(kind, ByteLevelKind)
        assert special_tokens(base) == dict(kind.special)
        ids = special_ids(base)
        assert base.id_to_token(ids.mask) == kind.special["mask"]
        assert {ids.mask, ids.pad, ids.unk, ids.start, ids.end} <= ids.unmaskable

    def test_the_letters_are_those_of_the_library(self):
        assert set(LETTERS.values()) == set(pre_tokenizers.ByteLevel.alphabet())
        assert len(LETTERS) == 256
        text = "".join(map(chr, range(0x800))) + "\U0001f600"
        assert "".join(LETTERS[byte] for byte in text.encode()) == spelling(text)

    @pytest.mark.parametrize(
        "change",
        [
            {"end_of_word_suffix": "</w>"},
            {"continuing_subword_prefix": "##"},
            {"dropout": 0.1},
            {"byte_fallback": True},
        ],
        ids=str,
    )
    def test_other_bpe_models_are_not_of_the_kind(self, change):
        tokenizer = base_tokenizer()
        tokenizer.model = models.BPE(tokenizer.get_vocab(), [], **change)
        with pytest.raises(UsageError, match="cannot be extended"):
            kind_of(tokenizer)

    @pytest.mark.parametrize(
        "splitter",
        [
            pre_tokenizers.Whitespace(),
            pre_tokenizers.Metaspace(),
            pre_tokenizers.ByteLevel(use_regex=False),
            None,
        ],
    )
    def test_nor_is_one_that_splits_otherwise(self, splitter):
        tokenizer = base_tokenizer()
        if splitter is None:
            tokenizer = Tokenizer(tokenizer.model)
        else:
            tokenizer.pre_tokenizer = splitter
        with pytest.raises(UsageError, match="cannot be extended"):
            kind_of(tokenizer)

    def test_nor_one_without_a_letter_or_a_mask(self):
        for lost in (LETTERS[0xE0], "[MASK]"):
            tokenizer = base_tokenizer()
            ids = {piece: index for piece, index in tokenizer.get_vocab().items() if piece != lost}
            other = Tokenizer(models.BPE(ids, []))
            other.pre_tokenizer = tokenizer.pre_tokenizer
            with pytest.raises(UsageError, match="cannot be extended"):
                kind_of(other)

    @given(text=st.text(min_size=1, max_size=8), continues=st.booleans())
    def test_parse_undoes_spell(self, text, continues):
        kind, subword = ByteLevelKind(BERT_NAMES), Subword(text, continues)
        if any(character.isspace() for character in text):
            with pytest.raises(ValueError, match="blank"):
                kind.spell(subword)
        else:
            assert kind.parse(kind.spell(subword)) == subword
            assert kind.spell(subword) == spelling(text if continues else f" {text}")
            assert kind.word_text(kind.marked(text)) == text

    @pytest.mark.parametrize("piece", ["Ġ", "ĠĠ", "Ċ", "aĠb", "à", "Ð", "\u4e2d", "a b"])
    def test_no_part_of_a_word(self, piece):
        with pytest.raises(ValueError, match=r"part of a word|letters of bytes|decode"):
            ByteLevelKind(BERT_NAMES).parse(piece)

    def test_the_learner_sees_text(self):
        base = base_tokenizer()
        kind = kind_of(base)
        found = subwords(kind, kind.vocabulary(base), special=special_ids(base).unmaskable)
        assert Subword("the", continues=False) in found
        assert Subword("м", continues=True) in found
        assert len(found) == len(set(found)) > 94
        words = [kind.word_text(word) for word in word_splitter(base)("Old house, дом\n\n රල 中.")]
        assert [word for word in words if word] == ["Old", "house", ",", "дом", "රල", "中", "."]


class TestEncoding:
    @given(texts=st.lists(WORDS, max_size=4))
    @settings(deadline=None)
    def test_pieces_of_words_are_those_of_the_text(self, texts):
        tokenizer = extended_tokenizer()
        split, segment_word = word_splitter(tokenizer), word_segmenter(tokenizer)
        for text, (ids, starts) in zip(texts, encode_batch(tokenizer, texts), strict=True):
            words = split(text)
            assert sum(starts) == len(words)
            assert ids == [index for word in encode_words(tokenizer, words) for index in word]
            assert pieces_of(tokenizer, text) == [piece for word in words for piece in segment_word(word)]
            normal = tokenizer.normalizer.normalize_str(text)
            assert "".join(words) == (spelling(normal) if normal else "")

    def test_special_tokens_in_a_text_are_text(self, base):
        mask = kind_of(base).special["mask"]
        assert special_ids(base).mask not in encode(base, f"the {mask} house")[0]
        assert "".join(pieces_of(base, mask)) == mask
        assert special_ids(base).mask in base.encode(f"the {mask} house").ids

    def test_what_no_text_gives_is_never_predicted(self):
        base = base_tokenizer()
        pieces, unmaskable = kind_of(base).vocabulary(base).pieces, special_ids(base).unmaskable
        never = {LETTERS[byte] for byte in (0xC0, 0xC1, *range(0xF5, 0x100))}
        assert {pieces[index] for index in unmaskable} == never | set(BERT_NAMES.values())

    def test_a_piece_the_merges_never_arrive_at_is_not_reachable(self):
        base = base_tokenizer()
        state = json.loads(base.to_str())
        state["model"]["vocab"]["walkhouse"] = len(state["model"]["vocab"])
        odd = Tokenizer.from_str(json.dumps(state))
        assert odd.token_to_id("walkhouse") in special_ids(odd).unmaskable

    def test_a_piece_is_spelt_by_the_base(self):
        base = base_tokenizer()
        for piece, ids in zip(ADDED, segment(base, ADDED), strict=True):
            assert "".join(base.id_to_token(index) for index in ids) == piece
            assert len(ids) > 1

    def test_nothing_is_unknown(self):
        base = base_tokenizer("eurobert")
        assert kind_of(base).unknown(base) == "<|end_of_text|>"
        assert fertility(base, {"the": 2, spelling("中"): 1}) == (2 * len(pieces_of(base, "the")) + 3) / 3


class TestCompletion:
    def test_characters_share_the_pieces_of_their_first_bytes(self):
        base = base_tokenizer()
        wanted = tuple(map(spelling, "කඛගඝරල"))  # E0 B6 xx, and two from E0 B7
        found = kind_of(base).completed(base, wanted)
        extra = [piece for piece in found if piece not in wanted]
        assert extra == [LETTERS[0xE0] + LETTERS[0xB6]]
        assert found == (*extra, *wanted)

    def test_what_is_there_is_used_before_anything_is_made(self):
        base = base_tokenizer()
        wanted = tuple(map(spelling, ("xyzq", "xy", "zq")))
        assert kind_of(base).completed(base, wanted) == wanted

    def test_pieces_of_the_base_are_left_out(self):
        base = base_tokenizer()
        assert kind_of(base).completed(base, ("Ġthe", "zq", "zq")) == ("zq",)

    def test_what_is_not_written_in_letters_is_left_out(self):
        base = base_tokenizer()
        assert kind_of(base).completed(base, ("▁x", "中", "zq")) == ("zq",)

    @pytest.mark.parametrize("limit", range(8))
    def test_a_limit_counts_them_all(self, limit):
        base = base_tokenizer()
        wanted = tuple(map(spelling, (" house", "ර", "ක", "ෆ", "weather")))
        found = kind_of(base).completed(base, wanted, limit=limit)
        whole = kind_of(base).completed(base, wanted)
        assert len(found) <= limit < len(whole) + 1
        asked = [piece for piece in found if piece in wanted]
        assert tuple(asked) == wanted[: len(asked)]
        one_more = kind_of(base).completed(base, wanted[: len(asked) + 1])
        assert len(one_more) > limit or found == whole
        extended_tokenizer(base, found)

    @given(wanted=st.lists(WORDS.filter(str.strip), max_size=12, unique=True))
    @settings(deadline=None, max_examples=200)
    def test_everything_it_gives_can_be_added_and_is_reached(self, wanted):
        base = base_tokenizer()
        kind = kind_of(base)
        asked = tuple(dict.fromkeys(map(spelling, wanted)))
        found = kind.completed(base, asked)
        assert kind.completed(base, found) == found
        extended = kind.extended(base, VocabularyExtension(kind.vocabulary(base), found))
        for piece in found:
            assert [token.value for token in extended.model.tokenize(piece)] == [piece]
        lost = set(asked) - set(found) - set(kind.vocabulary(base).pieces)
        for piece in lost:  # only new ways to old pieces would build these
            parts = [token.value for token in extended.model.tokenize(piece)]
            assert any(left + right in kind.vocabulary(base) for left, right in itertools.pairwise(parts))


class TestExtension:
    def test_the_base_stays_and_pieces_follow(self, base):
        before = base.to_str()
        extended = extended_tokenizer(base)
        assert base.to_str() == before
        size = base.get_vocab_size()
        old, new = json.loads(before)["model"], json.loads(extended.to_str())["model"]
        assert new["merges"][: len(old["merges"])] == old["merges"]
        assert old["vocab"].items() <= new["vocab"].items()
        assert set(ADDED) <= set(kind_of(extended).vocabulary(extended).pieces[size:])
        assert special_tokens(extended) == special_tokens(base)
        assert all(pieces_of(extended, word) == [spelling(word)] for word in (" house", "ර", " дома"))

    @given(text=WORDS)
    @settings(deadline=None, max_examples=300)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_text_changes_only_where_a_new_merge_applies(self, family, text):
        """Its pieces are the base's, some joined: no split moves, none is added."""
        base, extended = base_tokenizer(family), extended_tokenizer(base_tokenizer(family))
        size = base.get_vocab_size()
        for word in word_splitter(base)(text):
            (old,), (new,) = encode_words(base, [word]), encode_words(extended, [word])
            if max(new) < size:
                assert new == old
            before, after = word_segmenter(base)(word), word_segmenter(extended)(word)
            assert boundaries(after) <= boundaries(before)
            kept = [piece for piece in after if base.token_to_id(piece) is not None]
            assert collections.Counter(kept) <= collections.Counter(before)

    def test_a_piece_that_needs_another_is_refused(self):
        base = base_tokenizer()
        with pytest.raises(ValueError, match="not made of two pieces"):
            kind_of(base).extended(
                base, VocabularyExtension(kind_of(base).vocabulary(base), (spelling("ර"),))
            )

    def test_another_base_and_scores_are_refused(self):
        base = base_tokenizer()
        with pytest.raises(ValueError, match="another vocabulary"):
            kind_of(base).extended(base, VocabularyExtension(Vocabulary(("a",)), ("x",)))
        extension = VocabularyExtension(kind_of(base).vocabulary(base), ())
        with pytest.raises(ValueError, match="no scores"):
            kind_of(base).extended(base, extension, scores=(-1.0,))

    def test_extended_twice(self, base):
        once = extended_tokenizer(base)
        twice = extended_tokenizer(once, tuple(map(spelling, (" houses", "රල"))))
        assert pieces_of(twice, " houses රල")[0] == spelling(" houses")
        assert pieces_of(twice, " house") == [spelling(" house")]

    def test_added_tokens_beyond_the_model_keep_their_ids(self):
        base = base_tokenizer()
        base.add_tokens(["   ", "<tab>"])
        old = kind_of(base).vocabulary(base)
        extended = extended_tokenizer(base)
        assert kind_of(extended).vocabulary(extended).pieces[: len(old)] == old.pieces
        assert encode(extended, "a   b<tab>")[0][1::2] == [old.ids["   "], old.ids["<tab>"]]
