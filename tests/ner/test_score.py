"""Span scores: equal to seqeval and to set arithmetic; intervals cover and order as they must."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from ner.score import count_spans, difference, holm, interval, rates
from tests.oracles import spans as oracle

TAGS = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-ORG"]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[list[str]], list[list[str]]]:
    tag = st.sampled_from(TAGS)
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=5))
    return tuple([draw(st.lists(tag, min_size=n, max_size=n)) for n in lengths] for _ in range(2))  # type: ignore[return-value]


@settings(max_examples=200)
@given(pairs(), st.booleans())
def test_scores_are_those_of_seqeval_and_of_sets(
    pair: tuple[list[list[str]], list[list[str]]], strict: bool
) -> None:
    gold, predicted = pair
    total = count_spans(gold, predicted, strict=strict).total()
    assert total.f1 == pytest.approx(oracle.f1(gold, predicted, strict=strict))
    options = {"mode": "strict", "scheme": IOB2} if strict else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = [score(gold, predicted, **options) for score in (precision_score, recall_score, f1_score)]
    assert [total.precision, total.recall, total.f1] == pytest.approx([100 * value for value in reference])


@given(pairs())
def test_counts_by_sentence_and_type_add_up(pair: tuple[list[list[str]], list[list[str]]]) -> None:
    gold, predicted = pair
    counts = count_spans(gold, predicted)
    for number, (wanted, found) in enumerate(zip(gold, predicted, strict=True)):
        alone = count_spans([wanted], [found]).by_sentence()[0]
        assert counts.by_sentence()[number].tolist() == alone.tolist()
    assert sum(counts.support().values()) == len(oracle.spans(gold, strict=False))


def test_by_hand() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-PER"]]
    predicted = [["B-PER", "O", "I-ORG", "B-LOC"], ["I-PER"]]
    repaired, strict = count_spans(gold, predicted), count_spans(gold, predicted, strict=True)
    assert (repaired.matched.sum(), repaired.predicted.sum(), repaired.gold.sum()) == (2, 4, 3)
    assert (strict.matched.sum(), strict.predicted.sum(), strict.gold.sum()) == (1, 2, 3)
    assert repaired.per_type()["LOC"].f1 == 100
    assert repaired.per_type()["ORG"].recall == 0
    assert repaired.support() == {"LOC": 1, "ORG": 0, "PER": 2}


def test_nothing_there_is_zero_not_an_error() -> None:
    assert count_spans([["O"]], [["O"]]).total() == rates(0, 0, 0)
    assert rates(0, 0, 0).f1 == 0


def test_spans_do_not_cross_sentences() -> None:
    assert count_spans([["B-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]]).gold.sum() == 2


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="same sentences"):
        count_spans([["O", "O"]], [["O"]])
    with pytest.raises(ValueError, match="same sentences"):
        count_spans([["O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="IOB2"):
        count_spans([["S-PER"]], [["O"]])


def system(seed: int, share: float, sentences: int = 300) -> np.ndarray:
    """Counts of a system that finds each of one gold span a sentence with probability `share`."""
    hit = np.random.default_rng(seed).random(sentences) < share
    return np.stack([hit, np.ones(sentences), np.ones(sentences)], axis=1).astype(np.int64)


def test_interval_has_the_width_of_the_binomial() -> None:
    found = interval([system(1, 0.6, 1000)], seed=3)
    assert found.low < found.mean < found.high
    deviation = 100 * (0.6 * 0.4 / 1000) ** 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_interval_grows_with_the_spread_over_seeds() -> None:
    same = interval([system(1, 0.6)] * 3, seed=3)
    spread = interval([system(1, share) for share in (0.4, 0.6, 0.8)], seed=3)
    assert spread.high - spread.low > 1.5 * (same.high - same.low)


def test_same_seed_same_interval() -> None:
    assert interval([system(1, 0.6)], seed=3) == interval([system(1, 0.6)], seed=3)


def test_difference_finds_what_is_there_and_no_more() -> None:
    clear = difference([system(1, 0.5)], [system(2, 0.8)], seed=3)
    assert 0 < clear.low < clear.mean < clear.high
    assert not clear.noise
    assert clear.p < 0.01
    none = difference([system(1, 0.5)], [system(1, 0.5)], seed=3)
    assert none.noise
    assert none.mean == 0
    assert none.p == 1
    mirrored = difference([system(2, 0.8)], [system(1, 0.5)], seed=3)
    assert mirrored.mean == pytest.approx(-clear.mean)


def test_pairing_is_on_sentences() -> None:
    """Two systems that differ on three sentences only: paired they are apart, unpaired they would not be."""
    first = system(1, 0.5)
    second = first.copy()
    second[np.flatnonzero(first[:, 0] == 0)[:12], 0] = 1
    assert not difference([first], [second], seed=3).noise


def test_other_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match="same test sentences"):
        difference([system(1, 0.5, 10)], [system(1, 0.5, 11)], seed=1)


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {"a": 0.03, "b": 0.06, "c": 0.06}
