import inspect
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer

import extend.tokenizer.kinds as kinds
from extend.errors import CheckpointError, DataError, PathError, RefusedError, UsageError
from extend.tokenizer import (
    SPECIALS,
    TOKENIZER_FILES,
    TOKENIZER_KINDS,
    WordPieceKind,
    encode,
    encode_batch,
    encode_words,
    fertility,
    kind_of,
    load_tokenizer,
    new_wordpiece_tokenizer,
    read_vocabulary,
    save_tokenizer,
    segment,
    special_ids,
    spell,
    subwords,
    word_segmenter,
    word_splitter,
)
from extend.types import Subword, Vocabulary, VocabularyExtension
from tests.models import write_tokenizer
from tests.oracles.wordpiece import longest_match

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
            assert not continues
            assert text.startswith("##")
            return
        assert kind.parse(piece) == subword

    @pytest.mark.parametrize("kind", TOKENIZER_KINDS)
    @given(piece=st.text(min_size=1))
    def test_spell_undoes_parse(self, kind, piece):
        assert kind.spell(kind.parse(piece)) == piece

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
        ],
    )
    def test_an_unsupported_kind_lists_the_supported(self, model):
        with pytest.raises(UsageError) as caught:
            kind_of(Tokenizer(model))
        assert (caught.value.name, caught.value.exit_code) == ("E-TOKENIZER", 2)
        assert "WordPiece" in caught.value.why

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

    def test_a_missing_special_token_is_named(self):
        with pytest.raises(CheckpointError, match=r"\[MASK\]"):
            special_ids(new_wordpiece_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"]))


class TestFolders:
    def test_transformers_loads_what_is_written(self, tmp_path):
        tokenizer = extended_tokenizer()
        save_tokenizer(tokenizer, tmp_path, base=None)
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        for text in ("abcd face, the House [MASK] é 中", "Ünï", "e\u0301 a", "x" * 200):
            assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
        assert len(loaded) == len(BASE) + len(ADDED)
        assert loaded.model_max_length == 512

    def test_saved_and_loaded_is_the_same(self, tmp_path):
        tokenizer = extended_tokenizer()
        save_tokenizer(tokenizer, tmp_path, base=None)
        assert load_tokenizer(tmp_path).to_str() == tokenizer.to_str()
        (tmp_path / "tokenizer.json").unlink()
        assert load_tokenizer(tmp_path).to_str() == tokenizer.to_str()

    def test_the_same_tokenizer_gives_the_same_bytes(self, tmp_path):
        for name in ("one", "two"):
            save_tokenizer(extended_tokenizer(), tmp_path / name, base=None)
        for name in TOKENIZER_FILES[:3]:
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_a_bert_folder_with_and_without_tokenizer_json_is_one_tokenizer(self, tmp_path):
        base = write_tokenizer(tmp_path)
        whole = load_tokenizer(base)
        (base / "tokenizer.json").unlink()
        built = load_tokenizer(base)
        for text in ("the house, walking stone.", "Résumé", "[MASK] x中y"):
            assert built.encode(text).ids == whole.encode(text).ids
        assert WordPieceKind().vocabulary(built) == WordPieceKind().vocabulary(whole)

    def test_settings_of_the_base_go_along(self, tmp_path):
        base = write_tokenizer(tmp_path / "base")
        config = json.loads((base / "tokenizer_config.json").read_text())
        config |= {"model_max_length": 77, "is_local": True, "local_files_only": True, "extra": [1]}
        (base / "tokenizer_config.json").write_text(json.dumps(config))
        (base / "special_tokens_map.json").write_text('{"mask_token": "[MASK]"}')
        save_tokenizer(load_tokenizer(base), tmp_path / "new", base=base)
        written = json.loads((tmp_path / "new" / "tokenizer_config.json").read_text())
        assert (written["model_max_length"], written["extra"]) == (77, [1])
        assert not {"is_local", "local_files_only"} & written.keys()
        assert (tmp_path / "new" / "special_tokens_map.json").read_text() == '{"mask_token": "[MASK]"}'

    @pytest.mark.parametrize(
        ("lowercase", "strip"), [(False, None), (True, None), (False, True), (True, False)]
    )
    def test_case_and_accents_survive_every_way_of_loading(self, lowercase, strip, tmp_path):
        pieces = (*SPECIALS, "Café", "café", "Cafe", "cafe", "é", "e")
        tokenizer = new_wordpiece_tokenizer(pieces, lowercase=lowercase, strip_accents=strip)
        save_tokenizer(tokenizer, tmp_path, base=None)
        expected = tokenizer.encode("Café é").ids
        assert AutoTokenizer.from_pretrained(tmp_path)("Café é")["input_ids"] == expected
        (tmp_path / "tokenizer.json").unlink()
        assert load_tokenizer(tmp_path).encode("Café é").ids == expected

    @pytest.mark.parametrize(("piece", "lowercase"), [("House", False), ("house", True)])
    def test_a_bare_vocabulary_tells_its_case(self, piece, lowercase, tmp_path):
        (tmp_path / "vocab.txt").write_text(
            "".join(f"{piece}\n" for piece in (*SPECIALS, "[unused1]", piece))
        )
        assert load_tokenizer(tmp_path).normalizer.lowercase is lowercase

    def test_truncation_and_padding_are_dropped(self, tmp_path):
        tokenizer = base_tokenizer()
        tokenizer.enable_truncation(3)
        tokenizer.enable_padding(length=3)
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        assert len(encode(load_tokenizer(tmp_path), "a b c d e")[0]) == 5

    def test_vocab_txt_has_one_line_a_piece_whatever_the_pieces(self, tmp_path):
        odd = ("\u200d", "\u202e", "\u0301", "##\u0301", "##", "\u3164", "a\u2028b")
        save_tokenizer(new_wordpiece_tokenizer((*SPECIALS, *odd)), tmp_path, base=None)
        assert read_vocabulary(tmp_path / "vocab.txt").pieces == (*SPECIALS, *odd)
        assert (tmp_path / "vocab.txt").read_bytes().count(b"\n") == len(SPECIALS) + len(odd)
        assert AutoTokenizer.from_pretrained(tmp_path).get_vocab()["a\u2028b"] == len(SPECIALS) + 6

    @pytest.mark.parametrize(
        ("data", "line"),
        [
            ("\ufeff[PAD]\n[UNK]\n", 1),
            ("[PAD]\n[UNK]\r\na\n", 2),
            ("[PAD]\n\n[UNK]\n", 2),
            ("[PAD]\n[UNK]\na\nb\na\n", 5),
            ("[PAD]\na\n", 2),
            (b"[UNK]\na\n\xff\n", 3),
            ("", 0),
        ],
    )
    def test_a_broken_vocabulary_is_told_with_its_line(self, data, line, tmp_path):
        path = tmp_path / "vocab.txt"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        with pytest.raises(DataError, match=rf"vocab\.txt:{line}: ") as caught:
            load_tokenizer(tmp_path)
        assert caught.value.name == "E-VOCABULARY"

    def test_no_tokenizer_is_told(self, tmp_path):
        with pytest.raises(PathError, match=r"tokenizer\.json"):
            load_tokenizer(tmp_path)

    @pytest.mark.parametrize("text", ["", "{}", "not json", '{"model": {"type": "WordPiece"}}'])
    def test_a_broken_tokenizer_json_is_told(self, text, tmp_path):
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(CheckpointError, match="cannot read"):
            load_tokenizer(tmp_path)

    def test_code_of_its_own_is_refused(self, tmp_path):
        base = write_tokenizer(tmp_path)
        (base / "tokenizer.json").unlink()
        (base / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "evil.Tokenizer"}}')
        with pytest.raises(RefusedError) as caught:
            load_tokenizer(base)
        assert caught.value.exit_code == 11

    def test_a_link_out_of_the_folder_is_refused(self, tmp_path):
        outside = tmp_path / "secret"
        outside.write_text("[UNK]\nsecret\n")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "vocab.txt").symlink_to(outside)
        with pytest.raises(RefusedError, match="link out"):
            load_tokenizer(tmp_path / "folder")

    def test_links_of_the_hubs_cache_are_followed(self, tmp_path):
        blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
        blobs.mkdir()
        snapshot.mkdir(parents=True)
        (blobs / "1f").write_text("[UNK]\nA\n")
        (snapshot / "vocab.txt").symlink_to(Path("../../blobs/1f"))
        assert load_tokenizer(snapshot).token_to_id("A") == 1

    def test_a_file_too_large_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr("extend.tokenizer.folders.MAX_FILE_BYTES", 10)
        write_tokenizer(tmp_path)
        with pytest.raises(RefusedError, match="larger"):
            load_tokenizer(tmp_path)


def test_new_tokenizer_needs_an_unknown_piece():
    with pytest.raises(ValueError, match=r"\[UNK\]"):
        new_wordpiece_tokenizer(["a"])
