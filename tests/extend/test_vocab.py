from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.types import Subword, Vocabulary, VocabularyExtension
from extend.vocab import (
    corpus_facts,
    cut_vocabulary,
    drift,
    drift_words,
    extend_vocabulary,
    measure,
    unused_pieces,
    vocabulary_report,
)

BASE = Vocabulary(("[PAD]", "[UNK]", "a", "b", "##a"))
NAMES = st.text(alphabet="ab# \u2028\x00é", min_size=0, max_size=3)


def by_character(word: str) -> list[str]:
    return ["[UNK]"] if "?" in word else list(word)


def whole(word: str) -> list[str]:
    return ["[UNK]"] if "!" in word else [word]


@given(candidates=st.lists(NAMES), limit=st.integers(0, 6))
def test_extension_adds_the_first_that_are_new_and_fit_one_line(candidates, limit):
    extension = extend_vocabulary(BASE, candidates, limit=limit)
    assert extension.base is BASE
    fitting = [piece for piece in candidates if piece and not set(piece) & set(" \u2028\x00")]
    expected = [piece for piece in dict.fromkeys(fitting) if piece not in BASE.pieces]
    assert list(extension.added) == expected[:limit]
    assert list(extension.added_ids) == list(range(5, 5 + len(extension.added)))


def test_a_negative_limit_is_refused():
    with pytest.raises(ValueError, match="limit"):
        extend_vocabulary(BASE, ["x"], limit=-1)


def test_cut_keeps_order_specials_and_what_occurs():
    cut = cut_vocabulary(BASE, {"b": 3, "a": 2, "##a": 9, "x": 9}, min_count=3, keep=("[UNK]", "[PAD]"))
    assert cut.pieces == ("[PAD]", "[UNK]", "b", "##a")


def test_cut_leaves_out_what_never_occurs_whatever_the_minimum():
    assert cut_vocabulary(BASE, {"a": 1}, min_count=0, keep=()).pieces == ("a",)


def test_measure_weights_words_by_count():
    words = Counter({"abc": 3, "x?": 1, "d": 4})
    assert measure(words, by_character, unknown="[UNK]") == {
        "fertility": (3 * 3 + 1 + 4) / 8,
        "unk_rate": 1 / 8,
    }
    assert measure({}, by_character, unknown="[UNK]") == {"fertility": 0.0, "unk_rate": 0.0}


def test_unused_pieces_keep_their_order():
    assert unused_pieces({"ab": 1, "c": 2}, by_character, ["z", "a", "y", "c"]) == ["z", "y"]


def test_drift_counts_each_kind_of_change():
    measured = drift(["a", "bc", "de!", "слово", "f?"], by_character, whole, unknown="[UNK]")
    assert measured == {
        "sample": 5,
        "words_changed": 4 / 5,
        "words_newly_unk": 1 / 5,
        "words_longer": 0.0,
        "by_script": {"CYRILLIC": 1.0, "LATIN": 1 / 2},
    }
    assert drift(["bc", "f?"], whole, by_character, unknown="[UNK]")["words_longer"] == 1 / 2
    assert drift([], whole, by_character, unknown="[UNK]")["words_changed"] == 0.0


def test_drift_words_are_near_the_bases_own_and_no_pieces_themselves():
    pieces = ["house", "hous", "river", "дорога", "ab12", "abc", "mixд", "[MASK]"]
    known = [*(Subword(piece, False) for piece in pieces), Subword("inside", True)]
    assert drift_words(known) == ["hou", "rive", "дорог"]
    assert drift_words(reversed(known)) == ["hou", "rive", "дорог"]
    assert drift_words([]) == []


def test_drift_words_are_a_seeded_sample():
    known = [Subword(f"{a}{b}{c}zz", False) for a in "abcdefgh" for b in "ijklm" for c in "nopq"]
    first, again, other = (drift_words(known, size=50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert len(first) == len(other) == 50
    assert first != other


def test_report_has_the_names_that_scripts_rely_on():
    report = vocabulary_report(
        VocabularyExtension(BASE, ("x", "y")),
        corpus=corpus_facts(lines=3, words={"ab": 2, "c": 1}, size_bytes=20, sha256="0f"),
        base={"fertility": 2.0, "unk_rate": 0.5},
        extended={"fertility": 1.0, "unk_rate": 0.0},
        drift={"sample": 1, "words_changed": 0.0, "words_newly_unk": 0.0},
        unused=["y"],
        seconds=1.23456,
    )
    assert report == {
        "added": 2,
        "base_size": 5,
        "corpus": {"lines": 3, "words": 3, "distinct_words": 2, "bytes": 20, "sha256": "0f"},
        "held_out": {
            "base": {"fertility": 2.0, "unk_rate": 0.5},
            "extended": {"fertility": 1.0, "unk_rate": 0.0},
        },
        "drift": {"sample": 1, "words_changed": 0.0, "words_newly_unk": 0.0},
        "unused": 1,
        "seconds": 1.235,
    }
