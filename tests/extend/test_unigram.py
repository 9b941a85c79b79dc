"""Scores and choice of Unigram pieces, against enumeration and against tokenizers' own model."""

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from extend.tokenizer import fertility, kind_of, word_segmenter
from extend.types import VocabularyExtension
from extend.unigram import SHARES, choose_pieces, frontier, mixed, piece_scores
from extend.unigram.lattice import NOT_THERE, UNKNOWN, UNKNOWN_PENALTY, Lattice
from extend.unigram.scores import frequent_words
from tests.oracles import unigram as oracle
from tests.unigram_models import HANDFUL, handful_tokenizer

PIECES = st.dictionaries(
    st.text(alphabet="▁ab𐓷", min_size=1, max_size=4),
    st.integers(-12, -1).map(lambda number: number / 2),
    min_size=1,
    max_size=12,
)
WORDS = st.dictionaries(
    st.text(alphabet="▁ab𐓷é", min_size=1, max_size=7), st.integers(1, 5), min_size=1, max_size=6
)
NEW_WORDS = Counter(
    {
        "▁abcd": 9,
        "▁abcdeaf": 7,
        "▁hafe": 5,
        "▁hafeb": 3,
        "▁badhafe": 4,
        "▁ßab": 3,
        "▁abß": 2,
        "▁gg": 2,
        "▁a": 20,
    }
)
CANDIDATES = ("ß", "▁abcd", "▁hafe", "hafe", "eaf", "abc", "▁gg", "fe", "▁badhafe", "zz")


def scores_of(pieces):
    return np.array(list(pieces.values()))


def unigram_model(pieces):
    """tokenizers' model; its unknown piece scores what no other can reach, and is in no word."""
    return Tokenizer(models.Unigram([("\n", 0.0), *pieces.items()], 0, False)).model


class TestLattice:
    @given(pieces=PIECES, words=WORDS)
    @settings(max_examples=200)
    def test_best_paths_are_those_of_tokenizers(self, pieces, words):
        """Half scores make many ties: among equals the choice is the same too."""
        listed, unknown = list(words), min(pieces.values()) - UNKNOWN_PENALTY
        lattice = Lattice(listed, list(pieces), fixed=len(pieces))
        paths = lattice.best(lattice.edge_scores(scores_of(pieces), unknown=unknown))
        model = unigram_model(pieces)
        expected = [[token.id - 1 for token in model.tokenize(word)] for word in listed]
        assert paths.pieces.tolist() == [piece for way in expected for piece in way]
        assert paths.lengths(len(listed)).tolist() == list(map(len, expected))
        assert paths.unknown(len(listed)).tolist() == [UNKNOWN in way for way in expected]

    @given(pieces=PIECES, words=WORDS)
    def test_expectations_are_those_of_enumeration(self, pieces, words):
        listed, unknown = list(words), min(pieces.values()) - 2.0
        lattice = Lattice(listed, list(pieces), fixed=len(pieces))
        edges = lattice.edge_scores(scores_of(pieces), unknown=unknown)
        found, likelihood = lattice.expected(edges, np.array(list(words.values()), dtype=float))
        uses, expected_likelihood = oracle.expected(words, pieces, unknown=unknown)
        assert found == pytest.approx(np.array(list(uses.values())), rel=1e-9, abs=1e-9)
        assert likelihood == pytest.approx(expected_likelihood, rel=1e-9)

    @given(pieces=PIECES, words=WORDS, data=st.data())
    def test_a_piece_taken_away_is_as_if_it_had_not_been(self, pieces, words, data):
        away = data.draw(st.sets(st.sampled_from(sorted(pieces))))
        listed, unknown = list(words), min(pieces.values()) - UNKNOWN_PENALTY
        scores = np.array([NOT_THERE if piece in away else score for piece, score in pieces.items()])
        lattice = Lattice(listed, list(pieces), fixed=0)
        left = {piece: score for piece, score in pieces.items() if piece not in away}
        other = Lattice(listed, list(left), fixed=len(left))
        found = lattice.best(lattice.edge_scores(scores, unknown=unknown))
        expected = other.best(other.edge_scores(scores_of(left), unknown=unknown))
        shown = [None if piece == UNKNOWN else list(pieces)[piece] for piece in found.pieces]
        assert shown == [None if piece == UNKNOWN else list(left)[piece] for piece in expected.pieces]
        assert found.words.tolist() == expected.words.tolist()

    def test_no_words_and_no_pieces(self):
        empty = Lattice([], ["a"], fixed=1)
        assert empty.best(empty.edge_scores(np.array([-1.0]), unknown=-9.0)).pieces.size == 0
        lattice = Lattice(["ab", "c"], [], fixed=0)
        paths = lattice.best(lattice.edge_scores(np.zeros(0), unknown=-9.0))
        assert (paths.pieces.tolist(), paths.words.tolist()) == ([UNKNOWN, UNKNOWN], [0, 1])


class TestScores:
    @given(words=WORDS, known=PIECES, iterations=st.integers(0, 3))
    def test_scores_are_those_of_enumeration(self, words, known, iterations):
        known = {piece: score for piece, score in known.items() if piece != "ab"}
        added = [piece for piece in ("ab", "▁ab", "ba", "é", "zz") if piece not in known]
        lowest = min(known.values(), default=0.0)
        found = piece_scores(words, known, added, iterations=iterations)
        expected = oracle.trained(
            words, [*known, *added], unknown=lowest - UNKNOWN_PENALTY, iterations=iterations
        )
        for piece, score in zip(added, found, strict=True):
            assert max(score, -25.0) == pytest.approx(max(expected[piece], -25.0), abs=1e-9)

    def test_probabilities_of_all_pieces_sum_to_one(self):
        known = {piece: HANDFUL[piece] for piece in ("▁", *"abcdefgh")}
        everything = piece_scores(NEW_WORDS, {"\n": -20.0}, [*known, "ß", "▁abcd"])
        assert math.fsum(map(math.exp, everything)) == pytest.approx(1.0)

    def test_the_order_of_the_words_is_nothing(self):
        turned = dict(reversed(NEW_WORDS.items()))
        assert piece_scores(turned, HANDFUL, CANDIDATES) == piece_scores(NEW_WORDS, HANDFUL, CANDIDATES)

    def test_a_piece_that_never_occurs_has_no_probability(self):
        assert piece_scores({"▁ab": 2}, HANDFUL, ["zz"]) == [-math.inf]
        assert piece_scores({}, HANDFUL, ["zz"]) == [-math.inf]

    @pytest.mark.parametrize("added", [["▁ab"], ["zz", "zz"]])
    def test_a_known_or_repeated_piece_is_refused(self, added):
        with pytest.raises(ValueError, match="distinct and not in the base"):
            piece_scores(NEW_WORDS, HANDFUL, added)

    def test_words_are_bounded_and_decided_by_count_then_by_text(self):
        counts = {"b": 2, "a": 2, "c": 9, "d": 1, "": 5, "e": 0, "x" * 101: 7}
        assert frequent_words(counts) == ["a", "b", "c", "d"]
        assert frequent_words(counts, limit=2) == ["a", "c"]
        assert frequent_words(dict(reversed(counts.items())), limit=2) == ["a", "c"]


class TestMixing:
    def test_the_formula(self):
        assert mixed(-8.0, share=0.1, lowest=-20.0) == round(-8.0 + math.log(0.1), 6)
        assert mixed(-8.0, share=1.0, lowest=-20.0) == -8.0

    @given(score=st.floats(-40.0, 0.0), share=st.floats(1e-9, 1.0), lowest=st.floats(-20.0, -1.0))
    def test_scores_lie_between_the_bases_lowest_and_zero(self, score, share, lowest):
        assert lowest <= mixed(score, share=share, lowest=lowest) < 0.0

    def test_a_piece_without_probability_gets_the_lowest(self):
        assert mixed(-math.inf, share=0.5, lowest=-12.0) == -12.0

    @pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
    def test_a_share_outside_is_refused(self, share):
        with pytest.raises(ValueError, match="a share lies"):
            mixed(-8.0, share=share, lowest=-20.0)


def extended_with(pieces, scores):
    base = handful_tokenizer()
    kind = kind_of(base)
    extension = VocabularyExtension(kind.vocabulary(base), tuple(pieces))
    return base, kind.extended(base, extension, scores=scores)


class TestChoice:
    @pytest.mark.parametrize("size", [0, 1, 3, 5, 9])
    @pytest.mark.parametrize("min_count", [1, 2, 4])
    def test_every_chosen_piece_is_used_by_the_extended_tokenizer(self, size, min_count):
        chosen = choose_pieces(NEW_WORDS, HANDFUL, CANDIDATES, size=size, min_count=min_count)
        assert len(chosen.pieces) <= size
        assert list(chosen.pieces) == [piece for piece in CANDIDATES if piece in chosen.pieces]
        _, extended = extended_with(chosen.pieces, chosen.scores)
        spell, used = word_segmenter(extended), Counter()
        for word, count in NEW_WORDS.items():
            used.update(dict.fromkeys(spell(word), 0))
            for piece in spell(word):
                used[piece] += count
        assert all(used[piece] >= min_count for piece in chosen.pieces if len(piece) > 1)
        assert ("ß" in chosen.pieces) == (size > 0)

    def test_what_spares_most_stays(self):
        chosen = choose_pieces({"▁hafe": 50, "▁gg": 9, "▁cc": 30}, HANDFUL, ["▁gg", "▁hafe", "▁cc"], size=2)
        assert chosen.pieces == ("▁hafe", "▁cc")

    def test_a_character_stays_though_longer_pieces_cover_it(self):
        chosen = choose_pieces({"▁ßab": 9}, HANDFUL, ["ß", "▁ßab"], size=2)
        assert chosen.pieces == ("ß", "▁ßab")

    def test_what_occurs_twice_waits_for_what_occurs_three_times(self):
        words = {"▁hafefefe": 2, "▁cc": 3, "▁gg": 3}
        for size, kept in ((2, ("▁cc", "▁gg")), (3, ("▁hafefefe", "▁cc", "▁gg"))):
            assert choose_pieces(words, HANDFUL, ["▁hafefefe", "▁cc", "▁gg"], size=size).pieces == kept

    def test_scores_are_the_mixed_probabilities(self):
        chosen = choose_pieces(NEW_WORDS, HANDFUL, CANDIDATES, size=5, share=0.03)
        lowest = min(HANDFUL.values())
        assert chosen.scores == tuple(mixed(log, share=0.03, lowest=lowest) for log in chosen.logs)

    def test_a_piece_that_alone_spells_its_character_stays(self):
        """A character that always begins its word comes as `▁ß` only."""
        words = {"▁ß": 2, **{f"▁{a}{b}": 50 for a in "cdefgh" for b in "cdefgh"}}
        longer = [word for word in words if word != "▁ß"]
        chosen = choose_pieces(words, HANDFUL, [*longer, "▁ß"], size=3)
        assert "▁ß" in chosen.pieces

    def test_what_was_taken_away_comes_back_for_what_nobody_uses(self):
        """`ab` and `abc` are dear while the words are spelt with them, and idle beside `▁abcd`."""
        words = Counter({"▁abcd": 30, "▁hafe": 2, "▁gg": 2})
        candidates = ["▁abcd", "abcd", "abc", "▁abc", "▁hafe", "▁gg"]
        chosen = choose_pieces(words, HANDFUL, candidates, size=3)
        assert chosen.pieces == ("▁abcd", "▁hafe", "▁gg")

    def test_candidates_of_the_base_are_refused(self):
        with pytest.raises(ValueError, match="distinct and not in the base"):
            choose_pieces(NEW_WORDS, HANDFUL, ["▁ab"], size=1)
        with pytest.raises(ValueError, match="at least"):
            choose_pieces(NEW_WORDS, HANDFUL, ["zz"], size=-1)

    def test_hash_seed_and_order_are_nothing(self):
        program = (
            "from tests.extend.test_unigram import *\n"
            "words = {word: NEW_WORDS[word] for word in set(NEW_WORDS)}\n"
            "print(choose_pieces(words, HANDFUL, CANDIDATES, size=5))\n"
        )
        said = {
            subprocess.run(
                [sys.executable, "-c", program],
                env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": threads},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed, threads in (("1", "1"), ("2", "2"))
        }
        assert said == {f"{choose_pieces(NEW_WORDS, HANDFUL, CANDIDATES, size=5)}\n"}


class TestFrontier:
    def test_figures_are_those_of_the_extended_tokenizer(self):
        old = ["▁abba", "▁bad", "▁deaf", "▁abcd", "▁gag", "▁é", "▁abcdabcd", "▁hafebad", "▁¿"]
        logs = dict(zip(CANDIDATES, piece_scores(NEW_WORDS, HANDFUL, CANDIDATES), strict=True))
        points = frontier(logs, HANDFUL, held_out=NEW_WORDS, old_words=old)
        assert [point["share"] for point in points] == list(SHARES)
        lowest = min(HANDFUL.values())
        for point in points:
            scores = [mixed(log, share=point["share"], lowest=lowest) for log in logs.values()]
            base, extended = extended_with(logs, scores)
            before, after, total = word_segmenter(base), word_segmenter(extended), sum(NEW_WORDS.values())
            unknown = sum(count for word, count in NEW_WORDS.items() if "<unk>" in after(word))
            changed = sum(before(word) != after(word) for word in old)
            assert point["fertility"] == pytest.approx(fertility(extended, NEW_WORDS))
            assert point["unk_rate"] == pytest.approx(unknown / total)
            assert point["words_changed"] == pytest.approx(changed / len(old))
        assert points[0]["words_changed"] < points[-1]["words_changed"]

    def test_without_words_all_is_zero(self):
        (point,) = frontier({"zz": -3.0}, HANDFUL, held_out={}, old_words=[], shares=[0.1])
        assert point == {"share": 0.1, "fertility": 0.0, "unk_rate": 0.0, "words_changed": 0.0}
