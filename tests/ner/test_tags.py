"""Spans and tags: round trips in every scheme, repair, detection, legality; seqeval is the judge."""

import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB2, IOBES, Entities

from ner.tags import (
    MixedSchemesError,
    Scheme,
    Span,
    TaggedSentence,
    detect_scheme,
    illegal_transitions,
    keep_labels,
    may_follow,
    spans_of,
    tag_names,
    tags_of,
)

LABELS = ("PER", "LOC")
SEQEVAL = {Scheme.IOB2: (IOB2, "BI"), Scheme.BIOES: (IOBES, "BIES"), Scheme.BILOU: (BILOU, "BILU")}


@st.composite
def span_sets(draw: st.DrawFn) -> tuple[frozenset[Span], int]:
    spans, position = set(), 0
    for gap, size, label in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(LABELS)), max_size=5)
    ):
        spans.add(Span(position + gap, position + gap + size, label))
        position += gap + size
    return frozenset(spans), position + draw(st.integers(0, 2))


def garbage(prefixes: str) -> st.SearchStrategy[list[str]]:
    tags = ["O", *(f"{prefix}-{label}" for prefix in prefixes for label in LABELS)]
    return st.lists(st.sampled_from(tags), min_size=1, max_size=9)


def touching(spans: Iterable[Span]) -> bool:
    ordered = sorted(spans)
    return any((one.end, one.label) == (other.start, other.label) for one, other in pairwise(ordered))


@given(span_sets(), st.sampled_from(Scheme), st.booleans())
def test_tags_spell_spans_and_back(case: tuple[frozenset[Span], int], scheme: Scheme, strict: bool) -> None:
    spans, length = case
    if scheme is Scheme.IO and touching(spans):
        with pytest.raises(ValueError, match="IO cannot tell"):
            tags_of(spans, length, scheme=scheme)
        return
    tags = tags_of(spans, length, scheme=scheme)
    assert len(tags) == length
    assert spans_of(tags, scheme=scheme, strict=strict) == spans
    assert illegal_transitions(tags, scheme=scheme) == 0


@given(span_sets(), st.permutations([scheme for scheme in Scheme if scheme is not Scheme.IO]))
def test_a_round_through_every_scheme_loses_nothing(
    case: tuple[frozenset[Span], int], schemes: list[Scheme]
) -> None:
    spans, length = case
    first = tags = tags_of(spans, length, scheme=schemes[0])
    for before, after in pairwise([*schemes, schemes[0]]):
        tags = tags_of(spans_of(tags, scheme=before), length, scheme=after)
    assert tags == first


@given(st.lists(span_sets(), min_size=1, max_size=4), st.sampled_from(Scheme))
def test_a_file_read_in_the_scheme_it_shows_has_the_spans_it_was_written_with(
    cases: list[tuple[frozenset[Span], int]], scheme: Scheme
) -> None:
    """Detection may name a simpler scheme than the writer's, but never one that reads other spans."""
    cases = [(spans, length) for spans, length in cases if not (scheme is Scheme.IO and touching(spans))]
    sentences = [tags_of(spans, length, scheme=scheme) for spans, length in cases]
    found = detect_scheme(sentences)
    assert [spans_of(tags, scheme=found) for tags in sentences] == [spans for spans, _ in cases]


@given(garbage("BI"))
def test_repair_is_that_of_seqeval(tags: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {Span(start, end + 1, label) for label, start, end in get_entities(tags)}
    assert spans_of(tags) == expected


@pytest.mark.parametrize("scheme", SEQEVAL)
def test_strict_is_that_of_seqeval(scheme: Scheme) -> None:
    reference, prefixes = SEQEVAL[scheme]

    @settings(max_examples=150)
    @given(garbage(prefixes))
    def agrees(tags: list[str]) -> None:
        (found,) = Entities([tags], scheme=reference).entities
        assert spans_of(tags, scheme=scheme, strict=True) == {
            Span(entity.start, entity.end, entity.tag) for entity in found
        }

    agrees()


@given(garbage("BI"))
def test_repaired_tags_are_legal_and_keep_their_spans(tags: list[str]) -> None:
    mended = tags_of(spans_of(tags), len(tags))
    assert illegal_transitions(mended) == 0
    assert spans_of(mended) == spans_of(tags)


@pytest.mark.parametrize(
    ("scheme", "tags", "count"),
    [
        (Scheme.BILOU, ["B-LOC", "L-LOC", "B-LOC", "L-LOC"], 2),  # seqeval's default mode finds one
        (Scheme.BILOU, ["U-PER", "U-PER"], 2),  # and here too
        (Scheme.BIOES, ["S-PER", "S-PER", "B-PER", "E-PER"], 3),
        (Scheme.BMEWO, ["B-PER", "M-PER", "E-PER", "W-PER", "B-PER", "E-PER"], 3),
        (Scheme.BMES, ["S-PER", "B-PER", "M-PER", "E-PER", "S-PER"], 3),
        (Scheme.IOB1, ["I-PER", "B-PER", "I-PER"], 2),
        (Scheme.IOB1, ["I-PER", "I-PER", "I-LOC"], 2),
        (Scheme.IOB2, ["B-PER", "B-PER"], 2),
    ],
)
def test_adjacent_spans_stay_apart(scheme: Scheme, tags: list[str], count: int) -> None:
    assert len(spans_of(tags, scheme=scheme)) == count
    assert len(spans_of(tags, scheme=scheme, strict=True)) == count


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        ([["B-PER", "I-PER", "O"]], Scheme.IOB2),
        ([["O", "O"]], Scheme.IOB2),
        ([["I-PER", "O"], ["I-PER", "B-PER"]], Scheme.IOB1),
        ([["I-PER", "O"], ["O", "B-PER"]], Scheme.IOB2),  # a stray I beside an opening B: IOB2 with a fault
        ([["B-PER", "E-PER", "S-LOC"]], Scheme.BIOES),
        ([["O"], ["U-LOC"]], Scheme.BILOU),
        ([["B-LOC", "M-LOC", "E-LOC"]], Scheme.BMEWO),
        ([["W-LOC"], ["O"]], Scheme.BMEWO),
        ([["B-LOC", "M-LOC", "E-LOC"], ["S-LOC"]], Scheme.BMES),
        ([["I-PER", "I-LOC", "O"], ["O"]], Scheme.IOB1),
        ([["B-PER"], ["B-LOC", "O"]], Scheme.IOB2),
    ],
)
def test_scheme_is_detected(sentences: list[Sequence[str]], scheme: Scheme) -> None:
    assert detect_scheme(sentences) is scheme


@pytest.mark.parametrize(
    ("sentences", "told", "marks"),
    [
        ([["S-PER"], ["U-PER"]], r"BIOES \(S\) and of BILOU \(U\)", ("S", "U")),
        ([["S-PER"], ["W-PER"]], r"BIOES \(S\) and of BMEWO \(W\)", ("S", "W")),
        ([["B-PER", "I-PER", "M-PER"]], r"BIOES \(I\) and of BMEWO \(M\)", ("I", "M")),
    ],
)
def test_mixed_schemes_are_refused(sentences: list[list[str]], told: str, marks: tuple[str, str]) -> None:
    with pytest.raises(MixedSchemesError, match=told) as caught:
        detect_scheme(sentences)
    assert caught.value.marks == marks


@given(st.sets(st.sampled_from("BIESLUMW"), min_size=1))
def test_every_set_of_marks_has_a_scheme_or_two_marks_that_none_has(prefixes: set[str]) -> None:
    known = [*map(set, ("BI", "BIES", "BILU", "BMEW", "BMES"))]
    tags = [[f"{prefix}-PER"] for prefix in sorted(prefixes)]
    if any(prefixes <= one for one in known):
        assert detect_scheme(tags) in Scheme
        return
    with pytest.raises(MixedSchemesError) as caught:
        detect_scheme(tags)
    assert set(caught.value.marks) <= prefixes
    assert not any(set(caught.value.marks) <= one for one in known)


@given(garbage("BI"))
def test_illegal_transitions_are_the_inside_tags_that_continue_nothing(tags: list[str]) -> None:
    stray = sum(
        tag[0] == "I" and before[2:] != tag[2:] for before, tag in zip(["O", *tags], tags, strict=False)
    )
    assert illegal_transitions(tags) == stray


def test_open_ends_are_illegal_only_where_spans_are_closed() -> None:
    assert may_follow("I-PER", "O")
    assert not may_follow("I-PER", "O", scheme=Scheme.BIOES)
    assert illegal_transitions(["B-PER"], scheme=Scheme.BIOES) == 1
    assert illegal_transitions(["S-PER"], scheme=Scheme.BIOES) == 0
    assert illegal_transitions(["B-PER", "M-PER"], scheme=Scheme.BMEWO) == 1
    assert illegal_transitions(["W-PER", "M-PER", "O"], scheme=Scheme.BMEWO) == 2
    assert illegal_transitions(["I-PER", "I-PER", "B-PER"], scheme=Scheme.IO) == 1


@pytest.mark.parametrize("tag", ["PER", "b-PER", "B_PER", "B-", "O ", "", "B-P R", "X-PER", "B-" + "x" * 65])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="not a tag"):
        spans_of([tag])


def test_nouns_refuse_at_birth() -> None:
    with pytest.raises(ValueError, match="2 words, 1 tags"):
        TaggedSentence(("a", "b"), ("O",))
    with pytest.raises(ValueError, match="at least one word"):
        TaggedSentence((), ())
    with pytest.raises(ValueError, match="start < end"):
        Span(2, 2, "PER")
    with pytest.raises(ValueError, match="overlaps"):
        tags_of([Span(0, 2, "PER"), Span(1, 3, "LOC")], 3)
    with pytest.raises(ValueError, match="ends after"):
        tags_of([Span(0, 4, "PER")], 3)


def test_labels_are_kept_and_named() -> None:
    assert keep_labels(("B-PER", "I-PER", "B-MISC"), {"PER"}) == ("B-PER", "I-PER", "O")
    assert keep_labels(("B-PER",), ()) == ("B-PER",)
    assert tag_names(["PER", "LOC", "PER"]) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
