"""The verdict of a plan at the borders of its thresholds, and that it is one of five for any evidence."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.survey import Evidence, judge, verdict

READABLE = Evidence(
    words=2 * verdict.SHORT_OF_WORDS,
    near_share=0.0,
    other_share=0.0,
    unk_rate=0.0,
    fertility=2.2,
    extended_fertility=1.2,
    extended_unk_rate=0.0,
    seen=True,
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "plan.md"
RATES = st.floats(0, 1)
EVIDENCE = st.builds(
    Evidence,
    words=st.integers(0, 10**8),
    near_share=RATES,
    other_share=st.one_of(st.none(), RATES),
    unk_rate=RATES,
    fertility=st.floats(0, 10),
    extended_unk_rate=RATES,
    extended_fertility=st.floats(0, 10),
    seen=st.sampled_from([True, False, None]),
)


def below(value: float) -> float:
    return math.nextafter(value, -math.inf)


def above(value: float) -> float:
    return math.nextafter(value, math.inf)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({}, "may-help"),
        ({"other_share": verdict.OTHER_LANGUAGE}, "clean-first"),
        ({"other_share": below(verdict.OTHER_LANGUAGE)}, "may-help"),
        ({"other_share": None}, "may-help"),
        ({"near_share": verdict.DUPLICATED}, "clean-first"),
        ({"near_share": below(verdict.DUPLICATED)}, "may-help"),
        ({"words": verdict.FEW_WORDS - 1}, "too-small"),
        ({"words": verdict.FEW_WORDS}, "may-help"),
        ({"unk_rate": verdict.UNKNOWN}, "likely"),
        ({"unk_rate": below(verdict.UNKNOWN)}, "may-help"),
        ({"unk_rate": verdict.UNKNOWN, "fertility": 1.0}, "likely"),
        ({"seen": False}, "likely"),
        ({"seen": None}, "may-help"),
        ({"fertility": verdict.WELL_CUT}, "unlikely"),
        ({"fertility": above(verdict.WELL_CUT)}, "may-help"),
        ({"fertility": verdict.WELL_CUT, "seen": False}, "unlikely"),
        ({"fertility": verdict.WELL_CUT, "unk_rate": verdict.FEW_UNKNOWN}, "unlikely"),
        ({"fertility": verdict.WELL_CUT, "unk_rate": above(verdict.FEW_UNKNOWN)}, "may-help"),
        ({"fertility": 4.0, "extended_fertility": 4 * (1 - verdict.LITTLE_SHORTER)}, "may-help"),
        ({"fertility": 4.0, "extended_fertility": above(4 * (1 - verdict.LITTLE_SHORTER))}, "unlikely"),
        ({"fertility": 4.0, "extended_fertility": 4.0 * (1 - verdict.MUCH_SHORTER), "seen": False}, "likely"),
        (
            {"fertility": 4.0, "extended_fertility": above(4 * (1 - verdict.MUCH_SHORTER)), "seen": False},
            "may-help",
        ),
    ],
)
def test_a_border(changed, name):
    assert judge(replace(READABLE, **changed)).name == name


def test_what_is_wrong_with_the_text_comes_before_all_else():
    bad = replace(READABLE, other_share=0.9, near_share=0.9, words=5, unk_rate=0.9)
    found = judge(bad)
    assert (found.name, found.text) == ("clean-first", "clean the text first")
    assert found.reasons == (
        "90% of the lines look like another language",
        "90% of the lines repeat others, or nearly do",
    )
    assert judge(replace(bad, other_share=None, near_share=0.0)).name == "too-small"


def test_reasons_hold_the_figures():
    found = judge(replace(READABLE, unk_rate=0.867, extended_unk_rate=0.001, words=100_000, seen=False))
    assert found.text == "extension is likely to help"
    assert found.reasons[0] == "86.70% of held-out words hold an unknown piece, 0.10% with new pieces"
    assert found.reasons[1].startswith("100,000 words are few")
    assert "2.20 pieces a word to 1.20, 45% fewer" in judge(READABLE).reasons[0]


def test_the_documents_state_the_thresholds():
    table = next(part for part in DOCUMENT.read_text("utf-8").split("\n\n") if part.startswith("| verdict |"))
    stated = [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", table)]
    assert stated == pytest.approx(
        [
            100 * verdict.OTHER_LANGUAGE,
            100 * verdict.DUPLICATED,
            verdict.FEW_WORDS,
            100 * verdict.UNKNOWN,
            100 * verdict.FEW_UNKNOWN,
            verdict.WELL_CUT,
            100 * verdict.LITTLE_SHORTER,
            100 * verdict.MUCH_SHORTER,
        ]
    )


@given(EVIDENCE)
def test_any_evidence_has_a_verdict_with_reasons(evidence):
    found = judge(evidence)
    assert found.name in {"clean-first", "too-small", "likely", "may-help", "unlikely"}
    assert found.reasons
    assert all(found.reasons)


@given(EVIDENCE, RATES)
def test_more_unknown_words_never_make_extension_less_likely(evidence, more):
    order = ["unlikely", "may-help", "likely"]
    worse = replace(evidence, unk_rate=max(evidence.unk_rate, more))
    one, other = judge(evidence).name, judge(worse).name
    if one in order:
        assert order.index(other) >= order.index(one)
    else:
        assert one == other
