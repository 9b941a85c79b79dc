import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.types import Subword, Vocabulary
from extend.vocab import (
    cut_vocabulary,
    drift,
    drift_words,
    extend_vocabulary,
    least_harmful,
    lost_characters,
    measure,
    unused_pieces,
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
    words = {"a": 1, "bc": 2, "de!": 1, "слово": 1, "f?": 3}
    assert drift(words, by_character, whole, unknown="[UNK]") == {
        "sample": 8,
        "words_changed": 4 / 8,
        "words_newly_unk": 1 / 8,
        "words_longer": 0.0,
        "by_script": {"CYRILLIC": 1.0, "LATIN": 2 / 3},
    }
    assert drift({"bc": 3, "f?": 1}, whole, by_character, unknown="[UNK]")["words_longer"] == 3 / 4
    assert drift({}, whole, by_character, unknown="[UNK]")["words_changed"] == 0.0


def test_a_word_that_was_unknown_does_not_drift():
    assert drift({"f?": 3}, by_character, whole, unknown="[UNK]")["words_changed"] == 0.0


def test_least_harmful_leaves_out_what_words_use_least_until_the_bound_holds():
    def extended(word: str) -> list[str]:
        return [piece for piece in (word[:2], word[2:]) if piece]

    protected, words = {"abx": 3, "cdx": 3, "efx": 4, "z": 90}, {"ab": 50, "cd": 5, "ef": 20}
    found = [
        least_harmful(
            protected,
            words,
            by_character,
            extended,
            added=("ab", "cd", "ef"),
            unknown="[UNK]",
            max_share=share,
        )
        for share in (0.1, 0.07, 0.06, 0.0)
    ]
    assert found == [set(), {"cd"}, {"cd", "ef"}, {"ab", "cd", "ef"}]


def test_lost_characters_are_those_that_do_not_come_back():
    texts = ["Ab\u200dc \t", "e\u0301"]
    assert lost_characters(texts, str.lower) == (6, Counter({"A": 1}))
    assert lost_characters(texts, lambda text: text.replace("\u200d", "")) == (6, Counter({"\u200d": 1}))
    assert lost_characters(texts, lambda text: unicodedata.normalize("NFC", text)) == (6, Counter())


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
