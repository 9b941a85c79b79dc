"""Unigram bases read from every form, extended and written; SentencePiece and transformers judge."""

import io
import json

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from extend.errors import CheckpointError, UsageError
from extend.tokenizer import (
    UnigramKind,
    encode,
    encode_batch,
    encode_words,
    fertility,
    kind_of,
    load_tokenizer,
    new_unigram_tokenizer,
    save_tokenizer,
    segment,
    special_ids,
    special_tokens,
    subwords,
    word_segmenter,
    word_splitter,
)
from extend.tokenizer.sentencepiece_file import read_model
from extend.types import Subword, Vocabulary, VocabularyExtension
from tests.unigram_models import HANDFUL, handful_tokenizer, trained_model, write_trained

ADDED, SCORES = ("▁abcd", "hh", "ß", "eaf"), (-7.25, -8.123456, -11.0, -16.0)
LITERALS = ["<s>", "</s>", "<unk>", "<mask>", "＜s＞", "<pad>"]
SIGNS = [*"badgkéñoдане. ,?<>▁", "\u200b", "Ａ", "ﬁ", "中", "\u2028", *LITERALS]
TEXT = st.lists(st.sampled_from(SIGNS), max_size=25).map("".join)
MARKED = st.lists(st.sampled_from([*SIGNS, "\u0301", "\u0323"]), max_size=25).map("".join)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return load_tokenizer(write_trained(tmp_path_factory.mktemp("trained")))


@pytest.fixture(scope="module")
def judge():
    return sentencepiece.SentencePieceProcessor(model_proto=trained_model())


def extended_tokenizer(base=None, added=ADDED, scores=SCORES):
    base = base or handful_tokenizer()
    kind = kind_of(base)
    return kind.extended(base, VocabularyExtension(kind.vocabulary(base), added), scores=scores)


def spelt(tokenizer, text):
    pieces = kind_of(tokenizer).vocabulary(tokenizer).pieces
    return [pieces[index] for index in encode(tokenizer, text)[0]]


class TestKind:
    @pytest.mark.parametrize("splits", [True, False])
    def test_both_layouts_of_xlm_r_are_of_the_kind(self, splits):
        tokenizer = handful_tokenizer()
        if not splits:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        assert kind_of(tokenizer).name == "Unigram"

    @pytest.mark.parametrize(
        ("model", "pre_tokenizer"),
        [
            (models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0, True), pre_tokenizers.Metaspace()),
            (models.Unigram([("a", -1.0)]), pre_tokenizers.Metaspace()),
            (models.Unigram([("<unk>", 0.0)], 0), pre_tokenizers.Metaspace(prepend_scheme="never")),
            (models.Unigram([("<unk>", 0.0)], 0), pre_tokenizers.Metaspace(replacement="_")),
            (models.Unigram([("<unk>", 0.0)], 0), pre_tokenizers.Metaspace(split=False)),
            (models.Unigram([("<unk>", 0.0)], 0), pre_tokenizers.Whitespace()),
            (models.BPE(), pre_tokenizers.Metaspace()),
        ],
    )
    def test_others_are_not(self, model, pre_tokenizer):
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizer
        with pytest.raises(UsageError, match="cannot be extended"):
            kind_of(tokenizer)

    def test_a_mark_says_where_a_piece_stands(self):
        kind = UnigramKind()
        assert kind.spell(Subword("x", continues=False)) == "▁x"
        assert kind.spell(Subword("x", continues=True)) == "x"
        assert kind.parse("▁<0x41>") == Subword("<0x41>", continues=False)

    @pytest.mark.parametrize("piece", ["▁", "▁▁", "a▁", "▁a▁b", "<0x0A>"])
    def test_no_part_of_a_word(self, piece):
        with pytest.raises(ValueError, match="no part of a word"):
            UnigramKind().parse(piece)

    def test_the_learner_sees_parts_of_words_only(self):
        pieces = ("<s>", "<pad>", "</s>", "<unk>", "▁", "<0x41>", "▁a", "b", "▁▁", "<b", "<mask>")
        tokenizer = new_unigram_tokenizer([(piece, -1.0) for piece in pieces])
        special = special_ids(tokenizer).unmaskable
        assert special == {0, 1, 2, 3, 5, 10}
        found = subwords(UnigramKind(), Vocabulary(pieces), special=special)
        assert found == [Subword("a", False), Subword("b", True), Subword("<b", True)]

    def test_special_tokens(self):
        expected = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
        assert special_tokens(handful_tokenizer()) == expected
        ids = special_ids(handful_tokenizer())
        assert (ids.start, ids.pad, ids.end, ids.unk, ids.mask) == (0, 1, 2, 3, len(HANDFUL) + 4)

    def test_a_layout_without_its_tokens_is_refused(self):
        with pytest.raises(ValueError, match="<mask>"):
            new_unigram_tokenizer([("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)])

    def test_scores_are_those_of_the_pieces_text_can_give(self):
        assert UnigramKind().scores(handful_tokenizer()) == dict(HANDFUL)


class TestEncoding:
    @given(text=TEXT)
    @settings(deadline=None)
    def test_pieces_are_those_of_sentencepiece(self, trained, judge, text):
        """Special tokens in the text are text for both; what is unknown SentencePiece shows as it is.

        Without combining marks: `tokenizers` drops a mark that follows a letter which the map replaces.
        """
        expected = judge.encode(text, out_type=str)
        known = {judge.id_to_piece(index) for index in range(3, judge.get_piece_size())}
        assert spelt(trained, text) == [piece if piece in known else "<unk>" for piece in expected]

    @given(texts=st.lists(MARKED, max_size=4))
    @settings(deadline=None)
    def test_words_are_those_the_tokenizer_makes(self, trained, texts):
        split, segment_word = word_splitter(trained), word_segmenter(trained)
        batch = encode_batch(trained, texts)
        assert batch == [encode(trained, text) for text in texts]
        for text, (ids, starts) in zip(texts, batch, strict=True):
            words = split(text)
            assert all(word.startswith("▁") for word in words)
            assert sum(starts) == len(words)
            assert ids == [index for word in encode_words(trained, words) for index in word]
            assert spelt(trained, text) == [piece for word in words for piece in segment_word(word)]

    def test_special_tokens_are_read_again_in_batches_of_any_size(self, monkeypatch):
        monkeypatch.setattr("extend.tokenizer.encoding.CHUNK", 2)
        tokenizer = handful_tokenizer()
        texts = ["bad", "a <s>", "ab", "x <unk>", "cd <mask>"]
        assert [spelt(tokenizer, text) for text in texts] == [
            ["▁bad"],
            ["▁a", "▁", "<", "s", ">"],
            ["▁ab"],
            ["▁", "<unk>", "▁", "<", "<unk>", ">"],
            ["▁", "cd", "▁", "<", "<unk>", "a", "s", "<unk>", ">"],
        ]
        assert [len(encode_batch(tokenizer, texts)[at][0]) for at in range(5)] == [1, 5, 1, 6, 9]
        assert tokenizer.encode("<mask>", add_special_tokens=False).ids == [len(HANDFUL) + 4]

    def test_fertility_takes_an_unknown_stretch_as_one_piece(self):
        counts = {"▁bad": 3, "▁ab中国": 1, "▁<s>": 1}
        assert fertility(handful_tokenizer(), counts) == (3 + 2 + 4) / 5

    def test_a_piece_is_spelt_in_its_own_position(self):
        tokenizer = handful_tokenizer()
        found = segment(tokenizer, ["▁abcd", "abcd", "▁bad", "bad", "▁<s>", "a中", "中"])
        pieces = kind_of(tokenizer).vocabulary(tokenizer).pieces
        assert [[pieces[index] for index in ids] for ids in found] == [
            ["▁a", "bcd"],
            ["ab", "cd"],
            ["▁bad"],
            ["b", "a", "d"],
            ["▁", "<", "s", ">"],
            ["<unk>"],
            ["<unk>"],
        ]


class TestExtension:
    def test_pieces_follow_the_mask_and_nothing_else_changes(self, trained):
        for base in (handful_tokenizer(), trained):
            before = base.to_str()
            extended = extended_tokenizer(base, ("▁xyz", "zx"), (-7.25, -8.125))
            assert base.to_str() == before
            state = json.loads(extended.to_str())
            assert state["model"]["vocab"][-3:] == [["<mask>", 0.0], ["▁xyz", -7.25], ["zx", -8.125]]
            rows = ',["▁xyz",-7.25],["zx",-8.125]'
            assert extended.to_str().replace(rows, "") == before
            size = base.get_vocab_size()
            assert kind_of(extended).vocabulary(extended).pieces[size:] == ("▁xyz", "zx")
            assert special_tokens(extended) == special_tokens(base)
            assert special_ids(extended).mask == size - 1

    @given(text=st.text(alphabet="abcdefghéß. 中<s>", max_size=30))
    def test_words_without_added_pieces_keep_their_ids(self, text):
        base, extended = handful_tokenizer(), extended_tokenizer()
        size = base.get_vocab_size()
        for word in word_splitter(base)(text):
            (old,), (new,) = encode_words(base, [word]), encode_words(extended, [word])
            if max(new) < size or not any(piece in word for piece in ADDED):
                assert new == old

    @pytest.mark.parametrize(
        "score", [0.0, 1.0, -1e-9, float("nan"), float("inf"), float("-inf"), min(HANDFUL.values()) - 1e-6]
    )
    def test_a_score_outside_is_refused(self, score):
        with pytest.raises(ValueError, match=r"lies between -16\.0 and 0\.0"):
            extended_tokenizer(added=("x", "y"), scores=(-7.0, score))

    def test_as_many_scores_as_pieces(self):
        with pytest.raises(ValueError, match="2 added pieces, 1 scores"):
            extended_tokenizer(added=("x", "y"), scores=(-7.0,))

    def test_another_base_is_refused(self):
        with pytest.raises(ValueError, match="another vocabulary"):
            UnigramKind().extended(
                handful_tokenizer(), VocabularyExtension(Vocabulary(("a",)), ("x",)), scores=(-7.0,)
            )

    def test_added_tokens_beyond_the_model_keep_their_ids(self):
        base = handful_tokenizer()
        base.add_tokens(["hhhh"])
        base.add_special_tokens(["<ent>"])
        old = kind_of(base).vocabulary(base)
        assert old.pieces[-2:] == ("hhhh", "<ent>")
        extended = extended_tokenizer(base)
        assert kind_of(extended).vocabulary(extended).pieces == old.pieces + ADDED
        assert spelt(extended, "a hhhh hh") == ["▁a", "hhhh", "▁", "hh"]
        assert "<ent>" not in spelt(extended, "<ent>")


class TestFolders:
    def test_transformers_loads_what_is_written(self, trained, tmp_path):
        extended = extended_tokenizer(trained, ("▁xyz", "中"), (-7.25, -8.5))
        save_tokenizer(extended, tmp_path, base=None)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        assert type(loaded).__name__ == "XLMRobertaTokenizer"
        assert len(loaded) == extended.get_vocab_size()
        for text in ("bada xyz 中. <mask> ﬁ", "＜s＞  x\u200by\u2028z", "a  b\tc"):
            assert loaded(text)["input_ids"] == extended.encode(text).ids
        assert loaded.mask_token_id == extended.token_to_id("<mask>")
        assert loaded.model_max_length == 512

    ODD = "\x0b\x1c\x85\u2028\u00a0\u3000\ufeff\u200b\u200d\u202e\u0301\u3164\n\r #[]MASKmask<>▁a"

    @given(
        added=st.sets(st.text(alphabet=ODD, min_size=1, max_size=6), max_size=8),
        text=st.text(alphabet=ODD, max_size=20),
    )
    @settings(max_examples=40, deadline=None)
    def test_odd_pieces_give_the_same_ids_in_every_reader(self, added, text, tmp_path_factory):
        special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
        tokenizer = handful_tokenizer({**HANDFUL, **dict.fromkeys(sorted(added.difference(special)), -6.5)})
        folder = tmp_path_factory.mktemp("odd")
        save_tokenizer(tokenizer, folder, base=None)
        readers = [load_tokenizer(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))]
        fast = AutoTokenizer.from_pretrained(folder)
        for words in (text, " ".join(added), "a <mask> [MASK] b"):
            expected = tokenizer.encode(words).ids
            assert fast(words)["input_ids"] == expected
            assert all(reader.encode(words).ids == expected for reader in readers)

    def test_a_normalizer_that_transformers_would_drop_goes_along(self, tmp_path):
        tokenizer = handful_tokenizer()
        tokenizer.normalizer = normalizers.NFKC()
        save_tokenizer(tokenizer, tmp_path, base=None)
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        assert loaded("ｂａｄ")["input_ids"] == tokenizer.encode("ｂａｄ").ids
        assert tokenizer.token_to_id("▁bad") in loaded("ｂａｄ")["input_ids"]

    def test_saved_and_loaded_is_the_same_to_the_last_bit(self, trained, tmp_path):
        save_tokenizer(trained, tmp_path / "one", base=None)
        again = load_tokenizer(tmp_path / "one")
        assert again.to_str() == trained.to_str()
        save_tokenizer(again, tmp_path / "two", base=tmp_path / "one")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_a_list_of_extra_tokens_is_left_out(self, tmp_path):
        base = tmp_path / "base"
        save_tokenizer(handful_tokenizer(), base, base=None)
        path = base / "tokenizer_config.json"
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"extra_special_tokens": ["<x>"], "kept": 1})
        )
        (base / "sentencepiece.bpe.model").write_bytes(trained_model())
        save_tokenizer(load_tokenizer(base), tmp_path / "new", base=base)
        written = json.loads((tmp_path / "new" / "tokenizer_config.json").read_text())
        assert written["kept"] == 1
        assert "extra_special_tokens" not in written
        assert not (tmp_path / "new" / "sentencepiece.bpe.model").exists()


class TestProto:
    def test_pieces_and_scores_are_the_files(self, trained, judge):
        model = read_model(trained_model())
        size = judge.get_piece_size()
        assert model.pieces == tuple((judge.id_to_piece(at), judge.get_score(at)) for at in range(size))
        listed = [tuple(row) for row in json.loads(trained.to_str())["model"]["vocab"]]
        special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
        assert listed == [*special, *model.pieces[3:], ("<mask>", 0.0)]

    def test_text_is_normalised_as_sentencepiece_does(self, trained, judge):
        """But for pairs of over five bytes, such as half-width ｶﾞ, that `tokenizers` takes one by one."""
        for text in ("ﬁ Ａ ㌔ ㎏", "e\u0301 é", "a\u00a0b\u3000c", "½ ™ ②"):
            assert trained.normalizer.normalize_str(text) == judge.normalize(text).replace("▁", " ").strip()

    def test_damage_is_told_wherever_it_is(self, tmp_path):
        data, path = trained_model(), tmp_path / "sentencepiece.bpe.model"
        cuts = [0, 1, 7, 100, len(data) // 2, len(data) - 1]
        for broken in [
            *(data[:cut] for cut in cuts),
            b"\xff" * 40,
            b"not a model",
            b"\x0a\xff\xff\xff\xff\x0f",
        ]:
            path.write_bytes(broken)
            with pytest.raises(CheckpointError, match="cannot read") as caught:
                load_tokenizer(tmp_path)
            assert caught.value.name == "E-TOKENIZER"

    @pytest.mark.parametrize(
        ("choices", "why"),
        [
            ({"model_type": "bpe"}, "not a SentencePiece model"),
            ({"byte_fallback": True, "vocab_size": 300}, "falls back to bytes"),
            ({"bos_id": -1}, "does not begin with"),
        ],
    )
    def test_another_sort_of_model_is_told(self, choices, why, tmp_path):
        written = io.BytesIO()
        lines = ["abc abd acd bcd aab bba ccd dda"] * 20
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            **({"vocab_size": 14, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1} | choices),
        )
        (tmp_path / "sentencepiece.bpe.model").write_bytes(written.getvalue())
        with pytest.raises(CheckpointError) as caught:
            load_tokenizer(tmp_path)
        assert why in caught.value.why
