import inspect
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

import extend.tokenizer.kinds as kinds
from extend.errors import CheckpointError, UsageError
from extend.tokenizer import (
    SPECIALS,
    TOKENIZER_KINDS,
    WordPieceKind,
    encode,
    encode_batch,
    encode_words,
    fertility,
    kind_of,
    new_wordpiece_tokenizer,
    segment,
    special_ids,
    special_tokens,
    spell,
    subwords,
    word_segmenter,
    word_splitter,
)
from extend.tokenizer.byte_level_kind import ByteLevelKind
from extend.types import Subword, Vocabulary, VocabularyExtension
from tests.oracles.wordpiece import longest_match
from tests.unigram_models import handful_tokenizer

LETTERS = "abcdefg"
BASE = (
    *SPECIALS,
    "[unused1]",
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    *("the", "House", "##ing", "ab", "##cd", "bag", "#", ".", ",", "[", "]", "<", "é"),
)
ADDED = ("abc", "##dd", "##ge", "face")
TEXT = st.text(alphabet=LETTERS + "xé .,#[]\u200d\u0301ක中", max_size=30)


def base_tokenizer() -> Tokenizer:
    return new_wordpiece_tokenizer(BASE)


def extended_tokenizer(added: tuple[str, ...] = ADDED) -> Tokenizer:
    base = base_tokenizer()
    return kind_of(base).extended(base, VocabularyExtension(Vocabulary(BASE), added))


class TestKinds:
    def test_every_kind_is_registered(self):
        classes = {
            value
            for _, value in inspect.getmembers(kinds, inspect.isclass)
            if issubclass(value, kinds.AbstractTokenizerKind) and value is not kinds.AbstractTokenizerKind
        }
        assert classes == {type(kind) for kind in TOKENIZER_KINDS}
        assert classes == set(kinds.AbstractTokenizerKind.__subclasses__())

    @pytest.mark.parametrize("kind", TOKENIZER_KINDS)
    @given(text=st.text(min_size=1), continues=st.booleans())
    def test_parse_undoes_spell(self, kind, text, continues):
        subword = Subword(text, continues)
        try:
            piece = kind.spell(subword)
        except ValueError:
            marked = (text.startswith("##") and not continues) or "▁" in text or text.startswith("<0x")
            assert marked or any(map(str.isspace, text))
            return
        assert kind.parse(piece) == subword

    @pytest.mark.parametrize("kind", TOKENIZER_KINDS)
    @given(piece=st.text(min_size=1) | st.text(alphabet="▁#a", min_size=1, max_size=4))
    def test_spell_undoes_parse(self, kind, piece):
        try:
            subword = kind.parse(piece)
        except ValueError:
            of_bytes = isinstance(kind, ByteLevelKind)  # any text is not UTF-8 in letters of bytes
            assert of_bytes or "▁" in piece or piece.startswith("<0x")
            return
        assert kind.spell(subword) == piece

    @pytest.mark.parametrize(
        "tokenizer", [new_wordpiece_tokenizer(BASE), handful_tokenizer()], ids=["WordPiece", "Unigram"]
    )
    @given(text=st.text(max_size=30) | TEXT)
    def test_words_and_their_texts_are_inverse(self, tokenizer, text):
        kind = kind_of(tokenizer)
        for word in word_splitter(tokenizer)(text):
            assert kind.marked(kind.word_text(word)) == word
            assert kind.word_text(kind.marked(text)) == text

    def test_a_start_that_reads_as_a_continuation_is_refused(self):
        with pytest.raises(ValueError, match="would read as a continuation"):
            spell(Subword("##x", continues=False))
        assert spell(Subword("##", continues=False)) == "##"
        assert spell(Subword("#", continues=True)) == "###"

    @pytest.mark.parametrize(
        "model",
        [
            models.BPE(),
            models.Unigram([("a", 0.0)], 0),
            models.WordPiece({"a": 0}, continuing_subword_prefix="@@"),
            models.WordLevel({"a": 0}, "a"),
        ],
    )
    def test_an_unsupported_kind_lists_the_supported(self, model):
        with pytest.raises(UsageError) as caught:
            kind_of(Tokenizer(model))
        assert (caught.value.name, caught.value.exit_code) == ("E-TOKENIZER", 2)
        assert caught.value.why.startswith("supported kinds: WordPiece, Unigram, byte-level BPE with ")

    def test_a_hole_in_the_ids_is_told(self):
        tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 2}, unk_token="[UNK]"))
        with pytest.raises(CheckpointError, match="no piece with id 1"):
            WordPieceKind().vocabulary(tokenizer)

    def test_subwords_leave_out_the_special(self):
        tokenizer = base_tokenizer()
        found = subwords(WordPieceKind(), Vocabulary(BASE), special=special_ids(tokenizer).unmaskable)
        assert Subword("ing", continues=True) in found
        assert Subword("the", continues=False) in found
        assert not {"[MASK]", "[unused1]"} & {subword.text for subword in found}


class TestExtension:
    def test_old_ids_stay_and_new_ones_follow(self):
        vocabulary = WordPieceKind().vocabulary(extended_tokenizer())
        assert vocabulary.pieces == BASE + ADDED

    def test_the_base_is_left_alone(self):
        base = base_tokenizer()
        before = base.to_str()
        WordPieceKind().extended(base, VocabularyExtension(Vocabulary(BASE), ADDED))
        assert base.to_str() == before

    def test_another_base_is_refused(self):
        with pytest.raises(ValueError, match="another vocabulary"):
            WordPieceKind().extended(base_tokenizer(), VocabularyExtension(Vocabulary(BASE[:-1]), ADDED))

    def test_added_tokens_beyond_the_model_keep_their_ids(self):
        base = base_tokenizer()
        base.add_tokens(["<extra>"])
        base.add_special_tokens(["[ENT]"])
        kind = kind_of(base)
        old = kind.vocabulary(base)
        extended = kind.extended(base, VocabularyExtension(old, ADDED))
        assert old.pieces == (*BASE, "<extra>", "[ENT]")
        assert kind.vocabulary(extended).pieces == old.pieces + ADDED
        assert encode(extended, "a <extra> abc")[0] == [old.ids["a"], len(BASE), len(old)]

    @given(text=TEXT)
    def test_words_without_added_pieces_keep_their_ids(self, text):
        """The law of the toolkit; an unknown word may have met an added piece before its dead end."""
        base, extended = base_tokenizer(), extended_tokenizer()
        for word in word_splitter(base)(text):
            (old,), (new,) = encode_words(base, [word]), encode_words(extended, [word])
            parts = {piece.removeprefix("##") for piece in ADDED}
            if not any(part in word for part in parts):
                assert new == old
            if max(new) < len(BASE) and new != [1]:
                assert new == old

    def test_longest_match_can_worsen_a_word(self):
        pieces = (*SPECIALS, "ab", "##cdef", "##d", "##e", "##f")
        base = new_wordpiece_tokenizer(pieces)
        extended = WordPieceKind().extended(base, VocabularyExtension(Vocabulary(pieces), ("abc",)))
        assert encode(base, "abcdef")[0] == [5, 6]
        assert encode(extended, "abcdef")[0] == [10, 7, 8, 9]

    def test_scores_are_refused(self):
        base = base_tokenizer()
        with pytest.raises(ValueError, match="no scores"):
            WordPieceKind().extended(base, VocabularyExtension(Vocabulary(BASE), ("x",)), scores=[-1.0])
        assert WordPieceKind().scores(base) == {}


class TestSegment:
    def test_a_continuation_is_spelt_with_continuations(self):
        base = base_tokenizer()
        found = segment(base, ["abcd", "##abcd", "bag", "##bag", "##ing", "##xa", "x"])
        ids = {piece: index for index, piece in enumerate(BASE)}
        shown = [[BASE[index] for index in ids_of] for ids_of in found]
        assert shown == [
            ["ab", "##cd"],
            ["##a", "##b", "##cd"],
            ["bag"],
            ["##b", "##a", "##g"],
            ["##ing"],
            ["[UNK]"],
            ["[UNK]"],
        ]
        assert found[5] == (ids["[UNK]"],)

    @given(word=st.text(alphabet=LETTERS + "inghousetxé", min_size=1, max_size=12))
    def test_agrees_with_the_tokenizer_and_with_the_oracle(self, word):
        base = base_tokenizer()
        (found,) = segment(base, [word])
        assert list(found) == encode_words(base, [word])[0]
        pieces = {(piece.removeprefix("##"), piece.startswith("##")) for piece in BASE}
        expected = longest_match(word, pieces)
        spelt = ["[UNK]"] if expected is None else ["##" * inside + text for text, inside in expected]
        assert [BASE[index] for index in found] == spelt


class TestEncoding:
    def test_ids_and_word_starts(self):
        ids, starts = encode(base_tokenizer(), "abcd, the baging")
        assert [BASE[index] for index in ids] == ["ab", "##cd", ",", "the", "bag", "##ing"]
        assert starts == [True, False, True, True, True, False]

    def test_special_tokens_in_text_are_text(self):
        tokenizer = base_tokenizer()
        ids, starts = encode(tokenizer, "a [MASK] [SEP]")
        assert not set(ids) & special_ids(tokenizer).unmaskable - {1}
        assert [BASE[index] for index in ids] == ["a", "[", "[UNK]", "]", "[", "[UNK]", "]"]
        assert all(starts)
        assert tokenizer.encode("[MASK]", add_special_tokens=False).ids == [4], "the tokenizer is as it was"

    @given(texts=st.lists(TEXT, max_size=6))
    def test_batch_is_one_by_one_and_words_are_the_splitters(self, texts):
        tokenizer = base_tokenizer()
        split = word_splitter(tokenizer)
        batch = encode_batch(tokenizer, texts)
        assert batch == [encode(tokenizer, text) for text in texts]
        for text, (ids, starts) in zip(texts, batch, strict=True):
            words = split(text)
            assert sum(starts) == len(words)
            assert ids == [index for word in encode_words(tokenizer, words) for index in word]

    def test_batches_beyond_one_chunk_keep_order(self, monkeypatch):
        monkeypatch.setattr("extend.tokenizer.encoding.CHUNK", 3)
        texts = [letter * number for number in range(1, 4) for letter in LETTERS]
        tokenizer = base_tokenizer()
        assert encode_batch(tokenizer, texts) == [encode(tokenizer, text) for text in texts]

    def test_fertility_is_pieces_a_word_by_count(self):
        counts = Counter({"abcd": 3, "the": 5, "xx": 2})
        assert fertility(base_tokenizer(), counts) == (3 * 2 + 5 + 2) / 10
        assert fertility(base_tokenizer(), {}) == 0.0

    def test_word_segmenter_gives_pieces(self):
        assert word_segmenter(base_tokenizer())("baging") == ["bag", "##ing"]

    def test_special_ids(self):
        special = special_ids(base_tokenizer())
        assert (special.pad, special.unk, special.start, special.end, special.mask) == (0, 1, 2, 3, 4)
        assert special.unmaskable == {0, 1, 2, 3, 4, 5}
        assert special.vocab_size == len(BASE)

    def test_special_tokens_are_those_of_the_kind(self):
        expected = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
        assert special_tokens(base_tokenizer()) == expected

    def test_settings_may_name_other_special_tokens(self):
        base = new_wordpiece_tokenizer(["[PAD]", "[UNK]", "<c>", "<e>", "<m>", "a"])
        settings = {
            "bos_token": "[no]",
            "cls_token": "<c>",
            "eos_token": {"content": "<e>"},
            "mask_token": "<m>",
        }
        assert list(special_tokens(base, settings).values()) == ["[PAD]", "[UNK]", "<c>", "<e>", "<m>"]
        ids = special_ids(base, settings)
        assert (ids.pad, ids.unk, ids.start, ids.end, ids.mask) == (0, 1, 2, 3, 4)
        with pytest.raises(CheckpointError, match=r"\[no\]"):
            special_tokens(base, {**settings, "cls_token": "[no]"})

    def test_a_missing_special_token_is_named(self):
        with pytest.raises(CheckpointError, match=r"\[MASK\]"):
            special_ids(new_wordpiece_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"]))


def test_new_tokenizer_needs_an_unknown_piece():
    with pytest.raises(ValueError, match=r"\[UNK\]"):
        new_wordpiece_tokenizer(["a"])
