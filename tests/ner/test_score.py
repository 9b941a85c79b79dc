"""Span scores: equal to seqeval and to set arithmetic; intervals cover and order as they must."""

import random
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB2, IOBES

from ner.score import TagPair, average, count_spans, difference, holm, interval, rates, resampled_f1
from ner.tags import Scheme, illegal_transitions, spans_of, tags_of
from tests.oracles import conlleval
from tests.oracles import spans as oracle

TAGS = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-ORG"]
MARKS = {Scheme.IOB1: "BI", Scheme.IOB2: "BI", Scheme.BIOES: "BIES", Scheme.BILOU: "BILU"}

Tags = list[list[str]]


@st.composite
def pairs(draw: st.DrawFn, tags: list[str] = TAGS, longest: int = 8) -> tuple[Tags, Tags]:
    tag = st.sampled_from(tags)
    lengths = draw(st.lists(st.integers(1, longest), min_size=1, max_size=5))
    first, second = ([draw(st.lists(tag, min_size=n, max_size=n)) for n in lengths] for _ in range(2))
    return first, second


def tags_in(scheme: Scheme) -> list[str]:
    return ["O", *(f"{mark}-{label}" for mark in MARKS[scheme] for label in ("PER", "LOC"))]


def reference(gold: Tags, predicted: Tags, **options: object) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = [score(gold, predicted, **options) for score in (precision_score, recall_score, f1_score)]
    return [100 * value for value in scores]


@settings(max_examples=300, deadline=None)
@given(pairs(), st.booleans())
def test_scores_are_those_of_seqeval_and_of_sets(pair: tuple[Tags, Tags], strict: bool) -> None:
    gold, predicted = pair
    total = count_spans(gold, predicted, strict=strict).total()
    assert total.f1 == pytest.approx(oracle.f1(gold, predicted, strict=strict))
    options = {"mode": "strict", "scheme": IOB2} if strict else {}
    assert [total.precision, total.recall, total.f1] == pytest.approx(reference(gold, predicted, **options))


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from([Scheme.IOB2, Scheme.BIOES]))
def test_repaired_scores_are_those_of_conlleval(data: st.DataObject, scheme: Scheme) -> None:
    pair = data.draw(pairs(tags_in(scheme)))
    total, counted = count_spans(*pair, scheme=scheme).total(), conlleval.count(*pair)
    assert total.precision == pytest.approx(counted.precision)
    assert total.recall == pytest.approx(counted.recall)
    assert total.f1 == pytest.approx(counted.f1)


@pytest.mark.parametrize(("scheme", "other"), [(Scheme.BIOES, IOBES), (Scheme.BILOU, BILOU)])
def test_strict_scores_of_closed_schemes_are_those_of_seqeval(scheme: Scheme, other: type) -> None:
    draw = random.Random(7)
    for trial in range(300):
        lengths = [draw.randint(1, 9) for _ in range(draw.randint(1, 6))]
        gold, predicted = ([draw.choices(tags_in(scheme), k=n) for n in lengths] for _ in range(2))
        total = count_spans(gold, predicted, strict=True, scheme=scheme).total()
        expected = reference(gold, predicted, mode="strict", scheme=other)
        assert [total.precision, total.recall, total.f1] == pytest.approx(expected), (trial, gold, predicted)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(list(MARKS)), st.booleans())
def test_spans_are_those_found_sentence_by_sentence(
    data: st.DataObject, scheme: Scheme, strict: bool
) -> None:
    gold, predicted = data.draw(pairs(tags_in(scheme)))
    pair = TagPair.of(gold, predicted, scheme=scheme)
    counts = pair.counts(strict=strict)
    for number, tags in enumerate(zip(gold, predicted, strict=True)):
        wanted, found = (spans_of(one, scheme=scheme, strict=strict) for one in tags)
        alone = [len(wanted & found), len(found), len(wanted)]
        assert counts.by_sentence()[number].tolist() == alone
    assert pair.illegal() == sum(illegal_transitions(tags, scheme=scheme) for tags in predicted)
    assert (pair.sentences, pair.words) == (len(gold), sum(map(len, gold)))


@settings(max_examples=200, deadline=None)
@given(pairs())
def test_clean_tags_score_the_same_in_every_scheme_and_in_seqeval(pair: tuple[Tags, Tags]) -> None:
    """By spans: seqeval's default mode, which is right for IOB2 alone, sets the number."""
    expected = reference(*([list(tags_of(spans_of(tags), len(tags))) for tags in side] for side in pair))
    for scheme in MARKS:
        sides = [[tags_of(spans_of(tags), len(tags), scheme=scheme) for tags in side] for side in pair]
        for strict in (False, True):
            total = count_spans(*sides, strict=strict, scheme=scheme).total()
            assert [total.precision, total.recall, total.f1] == pytest.approx(expected)


@settings(max_examples=300, deadline=None)
@given(pairs(longest=7))
def test_lenient_scores_are_the_best_of_every_pairing(pair: tuple[Tags, Tags]) -> None:
    found = TagPair.of(*pair).lenient()
    assert (found.span.f1, found.overlap.f1, found.partial.f1) == pytest.approx(oracle.lenient_f1(*pair))


def test_what_seqevals_default_mode_gets_wrong() -> None:
    """Adjacent spans of BILOU that it merges (and so counts once) are counted one by one."""
    for tags, spans in ((["B-LOC", "L-LOC", "B-LOC", "L-LOC"], 2), (["U-PER", "U-PER"], 2)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert len(get_entities(tags)) < spans
        assert count_spans([tags], [tags], scheme=Scheme.BILOU).gold.sum() == spans
    stray = [["B-PER", "O", "O"]], [["B-PER", "O", "I-ORG"]]
    assert count_spans(*stray).total().f1 == pytest.approx(66.6667, abs=1e-3)
    assert count_spans(*stray, strict=True).total().f1 == 100


@given(pairs())
def test_counts_by_sentence_and_type_add_up(pair: tuple[Tags, Tags]) -> None:
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


def test_chunks_of_replicates_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [system(seed, 0.6, 50) for seed in (1, 2)]
    whole = resampled_f1(counts, seed=3, replicates=40)
    monkeypatch.setattr("ner.score.bootstrap.CELLS", 350)
    assert np.array_equal(resampled_f1(counts, seed=3, replicates=40), whole)


def test_resampling_is_drawing_sentences_with_replacement() -> None:
    counts = system(1, 0.6, 30)
    counts[:, 1] = np.arange(30) % 3
    draws = np.random.default_rng(5)
    for value in resampled_f1([counts], seed=5, replicates=20)[0]:
        matched, predicted, gold = counts[draws.integers(30, size=30)].sum(axis=0)
        assert value == pytest.approx(200 * matched / (predicted + gold))


def test_an_average_over_languages_is_narrower_than_its_parts() -> None:
    parts = [[system(seed, 0.6)] for seed in (1, 2, 3, 4)]
    whole, replicates = average(parts, seed=3)
    assert whole.mean == pytest.approx(np.mean([interval(part, seed=1).mean for part in parts]))
    alone = interval(parts[0], seed=3)
    assert whole.high - whole.low == pytest.approx((alone.high - alone.low) / 2, rel=0.2)
    assert np.array_equal(average(parts, seed=3)[1], replicates)
