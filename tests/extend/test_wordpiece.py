import os
import random
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.types import Subword
from extend.wordpiece import Rules, learn_subwords
from tests.oracles import wordpiece as oracle

WORDS = st.dictionaries(
    st.text(alphabet="abcd1-", min_size=1, max_size=9), st.integers(1, 12), min_size=1, max_size=25
)
KNOWN = st.sets(st.tuples(st.text(alphabet="abc1", min_size=1, max_size=3), st.booleans()), max_size=10)


def as_pairs(subwords: list[Subword]) -> list[tuple[str, bool]]:
    return [(subword.text, subword.continues) for subword in subwords]


def as_subwords(pairs) -> list[Subword]:
    return [Subword(text, continues) for text, continues in sorted(pairs)]


@given(
    words=WORDS,
    known=KNOWN,
    size=st.integers(0, 40),
    min_count=st.integers(1, 4),
    max_length=st.sampled_from([2, 3, 64]),
    max_word_length=st.sampled_from([5, 100]),
    forbidden=st.one_of(st.just(set()), KNOWN),
)
def test_learner_is_the_slow_oracle(words, known, size, min_count, max_length, max_word_length, forbidden):
    bounds = {"min_count": min_count, "max_length": max_length, "max_word_length": max_word_length}
    rules = Rules(**bounds, forbidden=frozenset(as_subwords(forbidden)))
    learned = learn_subwords(words, size=size, known=as_subwords(known), rules=rules)
    expected = oracle.learn(words, size=size, known=known, forbidden=frozenset(forbidden), **bounds)
    assert as_pairs(learned) == expected


def test_learner_is_the_slow_oracle_when_many_candidates_compete():
    draw = random.Random(5)
    stems = ["".join(draw.choices("abcdefg", k=draw.randint(2, 5))) for _ in range(40)]
    endings = ["", "a", "ba", "ced", "fg", "gab"]
    words = {stem + ending: draw.randint(1, 60) for stem in stems for ending in endings}
    known = {(letter, continues) for letter in "abcdef" for continues in (False, True)} | {("ab", False)}
    bounds = {"min_count": 2, "max_length": 64, "max_word_length": 100}
    for size in (10, 45, 90):
        learned = learn_subwords(words, size=size, known=as_subwords(known), rules=Rules(**bounds))
        assert len(learned) == size
        assert as_pairs(learned) == oracle.learn(words, size=size, known=known, **bounds)


@given(words=WORDS, known=KNOWN, size=st.integers(0, 25))
def test_result_is_new_unique_bounded_and_used(words, known, size):
    learned = as_pairs(learn_subwords(words, size=size, known=[Subword(*piece) for piece in known]))
    assert len(learned) <= size
    assert len(set(learned)) == len(learned)
    assert not known & set(learned)
    used = oracle.usage(words, known | set(learned))
    assert all(used[piece] >= 2 for piece in learned if len(piece[0]) > 1)


def test_no_word_of_a_new_script_is_unknown():
    counts = {"සිංහල": 4, "භාෂාව": 3, "ලංකාව": 2}
    learned = set(as_pairs(learn_subwords(counts, size=60, known=[Subword("a", False)])))
    assert all(oracle.longest_match(word, learned) for word in counts)
    assert oracle.longest_match("වසිල", learned), "an unseen word of the same letters"


def test_a_character_that_always_stands_alone_has_no_form_inside_words():
    learned = as_pairs(learn_subwords({"。": 9, "ab": 9}, size=20, known=[]))
    assert ("。", False) in learned
    assert ("。", True) not in learned


def test_characters_below_the_minimum_are_left_out():
    learned = as_pairs(learn_subwords({"ab": 5, "aq": 1}, size=20, known=[], rules=Rules(min_count=2)))
    assert {text for text, _ in learned} == {"a", "b", "ab"}


@pytest.mark.parametrize("great", [1 << 31, 1 << 32, 1 << 40, (1 << 46) - 7])
def test_great_counts_are_exact(great):
    learned = as_pairs(learn_subwords({"ab": great, "cd": great + 1, "ef": great - 1}, size=15, known=[]))
    assert [piece for piece in learned if len(piece[0]) == 2] == [("cd", False), ("ab", False), ("ef", False)]


def test_ties_go_by_text():
    learned = as_pairs(learn_subwords({"zx": 3, "yx": 3, "bx": 3}, size=11, known=[]))
    assert [text for text, _ in learned if len(text) > 1] == ["bx", "yx", "zx"]


def test_digits_and_symbols_join_nothing():
    learned = as_pairs(learn_subwords({"1984": 50, "a1": 20, "x€": 20, "ab": 20}, size=50, known=[]))
    assert [text for text, _ in learned if len(text) > 1] == ["ab"]


def test_order_of_the_words_does_not_matter():
    counts = Counter({f"{a}{b}{c}": len(a + b) for a in "abc" for b in ("d", "ef") for c in "gh"})
    expected = learn_subwords(counts, size=30, known=[])
    for seed in range(5):
        items = list(counts.items())
        random.Random(seed).shuffle(items)
        assert learn_subwords(dict(items), size=30, known=[]) == expected


def test_hash_seed_does_not_matter():
    program = (
        "from extend.types import Subword; from extend.wordpiece import learn_subwords;"
        "words = {a + b + c + d: 3 for a in 'abcd' for b in 'efgh' for c in 'ijk' for d in ('l', 'mn')};"
        "known = {Subword(x, y) for x in ('a', 'b', 'ab', 'e') for y in (True, False)};"
        "print([(s.text, s.continues) for s in learn_subwords(words, size=60, known=known)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
    assert b"True" in outputs.pop()


@pytest.mark.parametrize(
    "bad", [{"min_count": 0}, {"max_length": 0}, {"max_word_length": 0}, {"max_drift": 2}]
)
def test_bounds_are_refused(bad):
    with pytest.raises(ValueError, match=r"at least|share"):
        Rules(**bad)


def test_what_cannot_be_counted_in_64_bits_is_refused():
    with pytest.raises(ValueError, match="at most"):
        learn_subwords({"ab": 1 << 60}, size=1, known=[])
    with pytest.raises(ValueError, match="at least"):
        learn_subwords({"ab": 1}, size=-1, known=[])
