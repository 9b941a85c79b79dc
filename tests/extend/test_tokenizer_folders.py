"""Tokenizer folders: what is written loads everywhere, what others made is read with care."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import AutoTokenizer
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from extend.errors import CheckpointError, DataError, PathError, RefusedError
from extend.tokenizer import (
    SPECIALS,
    TOKENIZER_FILES,
    WordPieceKind,
    encode,
    load_tokenizer,
    new_wordpiece_tokenizer,
    read_vocabulary,
    save_tokenizer,
    tokenizer_settings,
)
from tests.extend.test_tokenizer import ADDED, BASE, base_tokenizer, extended_tokenizer
from tests.models import PIECES, write_tokenizer
from tests.unigram_models import write_trained


class TestWriting:
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

    # Characters that end a line, are blank, cannot be seen, join, or turn the direction; and marks.
    ODD = "\x0b\x0c\x1c\x85\u2028\u2029\u00a0\u3000\ufeff\u200b\u200d\u202e\u2066\u0301\u3164#[]MASKUN<>▁a"

    @given(
        added=st.sets(st.text(alphabet=ODD, min_size=1, max_size=6), max_size=8),
        text=st.text(alphabet=ODD + " \n", max_size=20),
    )
    @settings(max_examples=40, deadline=None)
    def test_odd_pieces_give_the_same_ids_in_every_reader(self, added, text, tmp_path_factory):
        """vocab.txt has a line a piece, whatever they are; the text may name special tokens.

        The slow tokenizer composes letters and accents first, which the others never did.
        """
        pieces = (*SPECIALS, "##", *sorted(added.difference(("##", *SPECIALS))))
        folder = tmp_path_factory.mktemp("odd")
        save_tokenizer(new_wordpiece_tokenizer(pieces), folder, base=None)
        assert (folder / "vocab.txt").read_bytes().count(b"\n") == len(pieces)
        whole = load_tokenizer(folder)
        library = Tokenizer.from_file(str(folder / "tokenizer.json"))
        fast = AutoTokenizer.from_pretrained(folder)
        slow = BertTokenizerLegacy(str(folder / "vocab.txt"), do_lower_case=False)
        (folder / "tokenizer.json").unlink()
        bare = load_tokenizer(folder)
        for text_ in (text, " ".join(pieces), "".join(pieces), "a [MASK] b"):
            expected = library.encode(text_).ids
            assert whole.encode(text_).ids == expected
            assert bare.encode(text_).ids == expected
            assert fast(text_)["input_ids"] == expected
            if unicodedata.is_normalized("NFC", text_):
                assert slow(text_)["input_ids"] == expected
        assert fast.get_vocab() == {piece: index for index, piece in enumerate(pieces)}
        assert slow.vocab == fast.get_vocab()

    @pytest.mark.parametrize("piece", ["a\nb", "\r", "a\r", ""])
    def test_a_piece_that_breaks_its_line_is_refused_before_anything_is_written(self, piece, tmp_path):
        with pytest.raises(DataError, match=r"vocab\.txt cannot hold"):
            save_tokenizer(new_wordpiece_tokenizer((*SPECIALS, piece)), tmp_path / "new", base=None)
        assert not (tmp_path / "new").exists()


class TestReading:
    @pytest.mark.parametrize(
        ("data", "line"),
        [
            ("\ufeff[PAD]\n[UNK]\n", 1),
            ("[PAD]\n[UNK]\r\na\n", 2),
            ("[PAD]\n\n[UNK]\n", 2),
            ("[PAD]\n[UNK]\n[CLS]\n\n\n", 4),
            ("\n[PAD]\n[UNK]\n", 1),
            ("\r\n", 1),
            ("[PAD]\n[UNK]\na\nb\na\n", 5),
            ("[PAD]\n[PAD]\n[UNK]\n", 2),
            ("[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", 5),
            ("[PAD]\n[CLS]\n[SEP]\n[MASK]\na\n", 5),
            ("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[mask]\n", 5),
            (b"[UNK]\na\n\xff\n", 3),
            ("[PAD]\n".encode("utf-16"), 1),
            ("", 0),
        ],
    )
    def test_a_broken_vocabulary_is_told_with_its_line(self, data, line, tmp_path):
        path = tmp_path / "vocab.txt"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        with pytest.raises(DataError, match=rf"vocab\.txt:{line}: ") as caught:
            load_tokenizer(tmp_path)
        assert (caught.value.name, caught.value.exit_code) == ("E-VOCABULARY", 3)

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
        (blobs / "1f").write_text("".join(f"{piece}\n" for piece in (*SPECIALS, "A")))
        (snapshot / "vocab.txt").symlink_to(Path("../../blobs/1f"))
        assert load_tokenizer(snapshot).token_to_id("A") == len(SPECIALS)

    def test_a_file_too_large_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr("extend.tokenizer.untrusted.MAX_FILE_BYTES", 10)
        write_tokenizer(tmp_path)
        with pytest.raises(RefusedError, match="larger"):
            load_tokenizer(tmp_path)


SECRET = "canary-1c9f"
NAMES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json")


def _settings_naming(**keys):
    def attack(folder: Path, secret: Path) -> None:
        path = folder / "tokenizer_config.json"
        named = {key: value.format(secret=secret) for key, value in keys.items()}
        path.write_text(json.dumps(json.loads(path.read_text()) | named))

    return attack


def _link(name):
    def attack(folder: Path, secret: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(secret)

    return attack


def _huge(name):
    def attack(folder: Path, secret: Path) -> None:
        with open(folder / name, "wb") as file:
            file.truncate(1 << 30)

    return attack


def _pattern(pattern):
    def attack(folder: Path, secret: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "removed")
        tokenizer.save(str(folder / "tokenizer.json"))

    return attack


HARMLESS = {
    "a hidden file named": _settings_naming(vocab_file=".env"),
    "a file above named": _settings_naming(vocab_file="../../secret"),
    "an absolute file named": _settings_naming(vocab_file="{secret}", tokenizer_file="{secret}"),
    "merges and maps named": _settings_naming(merges_file="{secret}", special_tokens_map_file="{secret}"),
    "a template": _settings_naming(chat_template="{{{{ cycler.__init__.__globals__ }}}}" + SECRET),
    "a template beside": lambda folder, secret: (folder / "chat_template.jinja").write_text(SECRET),
    "code beside": lambda folder, secret: (folder / "tokenization.py").write_text(
        f"raise SystemExit('{SECRET}')"
    ),
}
REFUSED = {
    **{f"link for {name}": _link(name) for name in NAMES},
    **{f"huge {name}": _huge(name) for name in NAMES},
    "code named": _settings_naming(auto_map="tokenization.Evil"),
    "groups repeated": _pattern("(a+)+$"),
    "alternatives repeated": _pattern("(a|a)*$"),
    "several repetitions": _pattern("a*a*a*$"),
    "a back reference": _pattern(r"a+\\1"),
}


class TestAttacks:
    """Folders made for somebody else to load: nothing outside them is read, nothing runs, nothing hangs."""

    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "deep" / "er").mkdir(parents=True)
        return write_tokenizer(tmp_path / "deep" / "er" / "base")

    @pytest.fixture
    def secret(self, tmp_path, folder):
        path = tmp_path / "secret"
        path.write_text("".join(f"{piece}\n" for piece in (*SPECIALS, SECRET)))
        for other in (folder.parent.parent / "secret", folder / ".env"):
            other.write_text(path.read_text())
        return path

    @pytest.mark.parametrize("bare", [False, True], ids=["tokenizer.json", "vocab.txt"])
    @pytest.mark.parametrize("attack", HARMLESS.values(), ids=HARMLESS)
    def test_what_settings_name_is_not_read_and_not_passed_on(self, attack, bare, folder, secret, tmp_path):
        attack(folder, secret)
        if bare:
            (folder / "tokenizer.json").unlink()
        tokenizer = load_tokenizer(folder)
        assert WordPieceKind().vocabulary(tokenizer).pieces == PIECES
        written = tmp_path / "written"
        save_tokenizer(tokenizer, written, base=folder)
        said = b"".join(path.read_bytes() for path in written.iterdir())
        assert SECRET.encode() not in said
        assert not any(key.endswith("_file") for key in tokenizer_settings(written))
        ids = AutoTokenizer.from_pretrained(written).get_vocab()
        assert ids == {piece: index for index, piece in enumerate(PIECES)}

    @pytest.mark.parametrize("attack", REFUSED.values(), ids=REFUSED)
    def test_refused_with_exit_code_11(self, attack, folder, secret, tmp_path):
        if "vocab.txt" in str(attack.__closure__[0].cell_contents):
            (folder / "tokenizer.json").unlink()
        attack(folder, secret)
        with pytest.raises(RefusedError) as caught:
            save_tokenizer(load_tokenizer(folder), tmp_path / "written", base=folder)
        assert caught.value.exit_code == 11
        assert SECRET not in caught.value.message("vocab")

    @pytest.mark.parametrize("attack", [_link, _huge])
    def test_a_proto_too(self, attack, secret, tmp_path):
        folder = write_trained(tmp_path / "unigram")
        attack("sentencepiece.bpe.model")(folder, secret)
        with pytest.raises(RefusedError):
            load_tokenizer(folder)

    def test_the_pattern_of_xlm_r_is_taken(self, tmp_path):
        tokenizer = load_tokenizer(write_trained(tmp_path / "proto"))
        assert " {2,}" in tokenizer.to_str()
        save_tokenizer(tokenizer, tmp_path / "saved", base=None)
        assert load_tokenizer(tmp_path / "saved").to_str() == tokenizer.to_str()

    def test_settings_must_be_an_object(self, folder):
        (folder / "special_tokens_map.json").write_text("[1]")
        with pytest.raises(CheckpointError, match="not a JSON object"):
            tokenizer_settings(folder)
