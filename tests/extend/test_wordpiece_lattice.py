"""The lattice and what stands on it, against real tokenizers and the slow oracle."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models

from extend.types import Subword
from extend.wordpiece import Rules, learn_subwords
from extend.wordpiece.curve import SizePoint, knee, size_curve
from extend.wordpiece.lattice import build_lattice
from extend.wordpiece.order import sorted_rows, sums
from extend.wordpiece.protection import changed_share
from extend.wordpiece.segmentation import Segmentation
from tests.oracles import wordpiece as oracle

WORDS = st.dictionaries(st.text("abcdé", min_size=1, max_size=8), st.integers(0, 9), min_size=1, max_size=20)
PIECES = st.sets(st.tuples(st.text("abcdé", min_size=1, max_size=3), st.booleans()), max_size=12)
NO_RULES = {"min_count": 1, "max_length": 64, "only_closed": False}


def lattice_of(words, known, **rules):
    texts = sorted(words)
    counts = np.array([words[text] for text in texts], np.int64)
    pieces = [Subword(*piece) for piece in sorted(known)]
    return build_lattice(texts, counts, pieces, **{**NO_RULES, **rules}), counts


def pieces_on(segmentation) -> set[tuple[str, bool]]:
    candidates = segmentation.lattice.candidates
    found = candidates.subwords(np.flatnonzero(segmentation.on))
    return {(subword.text, subword.continues) for subword in found}


@given(
    texts=st.lists(st.text("abcdefghij", min_size=1, max_size=30), min_size=1, max_size=30),
    bits=st.sampled_from([4, 11, 31]),
    step=st.sampled_from([1, -1]),
)
def test_rows_are_sorted_as_python_sorts_strings(texts, bits, step):
    codes = np.array([ord(letter) - 96 for text in texts for letter in text], np.int32)
    lengths = np.array(list(map(len, texts)), np.int32)
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    order = sorted_rows(codes, starts if step > 0 else starts + lengths - 1, lengths, bits=bits, step=step)
    keys = [text[::step] for text in texts]
    assert order.tolist() == sorted(range(len(texts)), key=lambda index: keys[index])


@given(values=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1 << 55)), max_size=40))
def test_sums_are_exact(values):
    expected = [sum(value for index, value in values if index == place) for place in range(5)]
    index, amounts = (np.array([pair[side] for pair in values], np.int64) for side in (0, 1))
    assert sums(index.astype(np.int32), amounts, 5).tolist() == expected


@given(words=WORDS, known=PIECES, least=st.integers(1, 5), length=st.integers(1, 9), closed=st.booleans())
def test_candidates_are_the_oracles(words, known, least, length, closed):
    lattice, _ = lattice_of(words, known, min_count=least, max_length=length, only_closed=closed)
    candidates = lattice.candidates
    found = candidates.subwords(np.flatnonzero(~candidates.known))
    expected = oracle.candidates(words, known, least, length, only_closed=closed)
    assert {(subword.text, subword.continues) for subword in found} == expected
    assert len(found) == len(expected)


@given(words=WORDS, known=PIECES, most=st.integers(0, 30))
def test_the_rarest_candidates_are_left_out_all_of_one_count_or_none(words, known, most):
    counts = {}
    for limit in (None, most):
        candidates = lattice_of(words, known, max_candidates=limit)[0].candidates
        there = np.flatnonzero(~candidates.known)
        counts[limit] = dict(zip(candidates.subwords(there), candidates.count[there].tolist(), strict=True))
    bounds = sorted({0, *counts[None].values()})
    fitting = [
        {subword: count for subword, count in counts[None].items() if count > bound} for bound in bounds
    ]
    assert counts[most] == next(kept for kept in fitting if len(kept) <= most)


@given(words=WORDS, known=PIECES, most=st.sampled_from([0, 5, None]), data=st.data())
def test_every_state_segments_as_the_oracle(words, known, most, data):
    """After any additions and removals: pieces, flows, unknown words, gains and costs."""
    lattice, counts = lattice_of(words, known, max_candidates=most)
    segmentation = Segmentation(lattice, counts)
    free = np.flatnonzero(~lattice.candidates.known)
    for _ in range(3):
        if not len(free):
            break
        chosen = np.array(data.draw(st.lists(st.sampled_from(free.tolist()), unique=True)), np.int64)
        off = chosen[~segmentation.on[chosen]]
        segmentation.add(off)
        segmentation.remove(np.setdiff1d(chosen, off))
    on = pieces_on(segmentation)
    rest = segmentation.rest[lattice.nodes.first_word :]
    assert rest.tolist() == [oracle.cost(word, False, on | known) for word in sorted(words)]
    assert segmentation.pieces() == sum(words[word] * oracle.cost(word, False, on | known) for word in words)
    unspelt = [oracle.longest_match(word, on | known) is None for word in sorted(words)]
    assert segmentation.unspelt().tolist() == unspelt

    def named(numbers):
        there = np.flatnonzero(numbers)
        return {
            (c.text, c.continues): int(numbers[i])
            for i in there
            for c in lattice.candidates.subwords(np.array([i]))
        }

    counted = {word: count for word, count in words.items() if count}
    used = oracle.usage(counted, on | known)
    assert named(segmentation.usage(segmentation.flow)) == {
        p: n for p, n in used.items() if p not in known and n
    }
    costs = oracle.removal_costs(counted, known, on - known)
    assert named(segmentation.removal_costs()) == {piece: cost for piece, cost in costs.items() if cost}
    offered = ~lattice.candidates.known
    names = {
        (c.text, c.continues)
        for i in np.flatnonzero(offered)
        for c in lattice.candidates.subwords(np.array([i]))
    }
    gains = oracle.gains(counted, on | known, names - on)
    assert named(segmentation.gains(offered)) == {piece: gain for piece, gain in gains.items() if gain}


@given(words=WORDS, known=PIECES)
def test_a_fully_spelt_word_takes_the_pieces_that_the_tokenizer_gives(words, known):
    pieces = {("##" if continues else "") + text for text, continues in known}
    vocabulary = {piece: index for index, piece in enumerate(["[UNK]", *sorted(pieces)])}
    model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
    lattice, counts = lattice_of(words, known)
    segmentation = Segmentation(lattice, counts)
    rest, unspelt = segmentation.rest[lattice.nodes.first_word :], segmentation.unspelt()
    for word, pieces_taken, unknown in zip(sorted(words), rest, unspelt, strict=True):
        tokens = [token.value for token in model.tokenize(word)]
        assert unknown == ("[UNK]" in tokens)
        assert unknown or pieces_taken == len(tokens)


def stems_and_endings(seed: int) -> tuple[Counter[str], Counter[str]]:
    """A new language and an old one that share letters, stems and endings."""
    draw = random.Random(seed)
    stems = ["".join(draw.choices("abcdefg", k=draw.randint(2, 5))) for _ in range(60)]
    endings = ["", "a", "ba", "ced", "fg", "gab", "e"]
    new = Counter({stem + ending: draw.randint(1, 60) for stem in stems[:40] for ending in endings})
    old = Counter({stem + ending: draw.randint(1, 60) for stem in stems[30:] for ending in endings})
    return new, old


KNOWN = {(letter, continues) for letter in "abcdefg" for continues in (False, True)} | {("ab", False)}


def changed(words: Counter[str], added: set[tuple[str, bool]]) -> float:
    cut = [
        word
        for word in words
        if oracle.longest_match(word, KNOWN) != oracle.longest_match(word, KNOWN | added)
    ]
    return sum(words[word] for word in cut) / sum(words.values())


@pytest.mark.parametrize("bound", [0.0, 0.01, 0.1, 1.0])
def test_protected_words_keep_their_segmentation_within_the_bound(bound):
    new, old = stems_and_endings(1)
    free = learn_subwords(new, size=60, known=[Subword(*piece) for piece in KNOWN])
    free_pieces = {(subword.text, subword.continues) for subword in free}
    assert changed(old, free_pieces) > 0.1, "the test needs pieces that would do harm"
    learned = learn_subwords(
        new,
        size=60,
        known=[Subword(*piece) for piece in sorted(KNOWN)],
        rules=Rules(max_drift=bound),
        protected=[old],
    )
    pieces = {(subword.text, subword.continues) for subword in learned}
    assert changed(old, pieces) <= bound
    assert len(pieces) == 60, "what was left out is replaced"
    cost = sum(count * len(oracle.longest_match(word, KNOWN | pieces)) for word, count in new.items())
    least = sum(count * len(oracle.longest_match(word, KNOWN | free_pieces)) for word, count in new.items())
    most = sum(count * len(oracle.longest_match(word, KNOWN)) for word, count in new.items())
    assert least <= cost < (least + most) / 2


def test_each_text_is_kept_to_the_bound():
    new, old = stems_and_endings(1)
    many = Counter({"ggggg": 100 * old.total()})
    learned = learn_subwords(
        new, size=60, known=as_subwords(KNOWN), rules=Rules(max_drift=0.02), protected=[many, old]
    )
    pieces = {(subword.text, subword.continues) for subword in learned}
    assert changed(old, pieces) <= 0.02
    assert changed(many, pieces) <= 0.02
    together = learn_subwords(
        new, size=60, known=as_subwords(KNOWN), rules=Rules(max_drift=0.02), protected=[many + old]
    )
    looser = {(subword.text, subword.continues) for subword in together}
    assert changed(old, looser) > 0.02, "a small text hides in a large one"


def as_subwords(pairs) -> list[Subword]:
    return [Subword(*piece) for piece in sorted(pairs)]


def test_words_that_the_base_could_not_spell_are_not_guarded():
    learned = learn_subwords(
        {"žab": 9, "žcd": 9},
        size=9,
        known=as_known("abcd"),
        protected=[{"žab": 5}],
        rules=Rules(max_drift=0.0),
    )
    assert Subword("ž", False) in learned
    assert Subword("žab", False) in learned


def as_known(letters: str) -> list[Subword]:
    return [Subword(letter, continues) for letter in letters for continues in (False, True)]


def test_changed_share_counts_words_by_weight():
    lattice, counts = lattice_of({"ab": 3, "abc": 2, "ca": 5}, KNOWN - {("ab", False)})
    segmentation = Segmentation(lattice, counts)
    numbers = [
        i
        for i in range(len(lattice.candidates))
        if lattice.candidates.subwords(np.array([i])) == [Subword("ab", False)]
    ]
    segmentation.add(np.array(numbers))
    assert changed_share(segmentation, counts) == 0.5


class TestSizes:
    def test_each_point_is_what_the_oracle_measures(self):
        new, old = stems_and_endings(2)
        known = as_known("abcde")
        points = size_curve(new, old, known=known, rules=Rules(), sizes=(4, 10, 40, 9999))
        assert [point.size for point in points][:3] == [4, 10, 40]
        assert points[-1].size < 9999, "the corpus gives no more"
        assert all(a.fertility >= b.fertility for a, b in itertools.pairwise(points))
        before = {(subword.text, subword.continues) for subword in known}
        characters = {(letter, continues) for letter in "fg" for continues in (False, True)}
        spelt = {word: oracle.longest_match(word, before | characters) for word in old}
        expected = sum(old[word] * len(spelt[word]) for word in old) / sum(old.values())
        assert points[0] == SizePoint(4, expected, 0.0)

    def test_unknown_and_overlong_words_are_one_piece(self):
        points = size_curve(
            {"ab": 5}, {"ab": 2, "zz": 1, "abababab": 1}, known=(), rules=Rules(max_word_length=4), sizes=(5,)
        )
        assert points == [SizePoint(5, 1.0, 0.5)]

    def test_the_knee_is_farthest_below_the_chord(self):
        points = [
            SizePoint(size, fertility, 0.0) for size, fertility in [(1, 4.0), (2, 2.0), (3, 1.5), (9, 1.0)]
        ]
        assert knee(points).size == 3
        assert knee(points[:1]).size == 1
        assert knee([SizePoint(1, 1.0, 0.0), SizePoint(5, 1.0, 0.0)]).size == 1
        with pytest.raises(ValueError, match="points"):
            knee([])
