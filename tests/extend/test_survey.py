"""The survey of a text: which lines are drawn, repeated lines, scripts, and what lines look like."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.survey import draw_lines, duplicates, identify_lines, line_lengths, script_of, script_shares
from extend.survey.identify import FEW_LINES, LEAST_LETTERS, RELATIVES, known_labels
from extend.survey.sample import LineSample, folded

LINES = st.lists(st.text("abc1,. \u00e9", min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=40)


@dataclass(frozen=True)
class Batch:
    texts: Sequence[str]


def drawn(lines: Sequence[str], most_bytes: int | None = None, *, seed: int = 1, size: int = 7) -> LineSample:
    batches = [Batch(lines[start : start + size]) for start in range(0, len(lines), size)]
    return draw_lines(batches, most_bytes=most_bytes, seed=seed)


class TestSample:
    @given(LINES)
    def test_without_a_bound_it_is_every_line_with_its_count(self, lines):
        sample = drawn(lines)
        assert sample.counts == Counter(lines)
        assert sorted(sample.texts()) == sorted(lines)
        assert (sample.lines, sample.drawn_lines, sample.whole) == (len(lines), len(lines), True)
        assert sample.bytes == sample.drawn_bytes == sum(len(line.encode()) for line in lines)

    @given(LINES, st.integers(0, 60), st.randoms())
    def test_neither_order_nor_batches_matter(self, lines, bound, shuffler):
        shuffled = list(lines)
        shuffler.shuffle(shuffled)
        one, other = drawn(lines, bound), drawn(shuffled, bound, size=3)
        assert one == other
        assert list(one.counts) == list(other.counts)

    @given(LINES, st.integers(0, 60), st.integers(0, 60))
    def test_a_smaller_sample_is_part_of_a_larger_one(self, lines, bound, more):
        small, large = drawn(lines, bound), drawn(lines, bound + more)
        assert small.counts.items() <= large.counts.items()

    @given(LINES, st.integers(0, 60))
    def test_copies_and_near_copies_come_together_within_the_bound(self, lines, bound):
        sample, every = drawn(lines, bound), Counter(lines)
        forms = {folded(line) for line in sample.counts}
        assert sample.counts == {line: every[line] for line in every if folded(line) in forms}
        assert len(forms) == 1 or sum(len(line.encode()) for line in sample.counts) <= bound
        assert sample.whole == (len(forms) == len({folded(line) for line in lines}))

    def test_another_seed_is_another_sample(self):
        lines = [f"line {word}" for word in "abcdefghijklmnopqrstuvwxyz"]
        assert drawn(lines, 60, seed=1).counts != drawn(lines, 60, seed=2).counts

    def test_the_share_of_duplicates_is_that_of_the_corpus(self):
        draw = random.Random(5)
        letters = "abcdefghijkl"
        lines = ["".join(draw.choices(letters, k=12)) for _ in range(4000)]
        lines += draw.choices(lines, k=2000)
        exact = duplicates(drawn(lines)).share
        assert exact == pytest.approx(1 / 3, abs=0.01)
        part = drawn(lines, 12_000)
        assert part.drawn_lines < len(lines) / 3
        assert duplicates(part).share == pytest.approx(exact, abs=0.05)


class TestDuplicates:
    @given(LINES)
    def test_counts_are_those_of_the_plain_definition(self, lines):
        found = duplicates(drawn(lines))
        seen: set[str] = set()
        forms: set[str] = set()
        exact = near = 0
        for line in lines:
            exact += line in seen
            near += folded(line) in forms
            seen.add(line)
            forms.add(folded(line))
        assert (found.lines, found.near_lines) == (exact, near)
        assert found.share == exact / len(lines)
        assert dict(found.most).items() <= Counter(lines).items()

    def test_near_ones_differ_in_case_digits_punctuation_and_blanks(self):
        assert folded("Page 12, of 340.") == folded("page 7 of 9")
        assert folded("كىتاب، 5") == folded("كىتاب ١٢؟")
        assert folded("කා") != folded("කි"), "vowel signs are not punctuation"

    def test_lines_are_escaped(self):
        ((shown, count),) = duplicates(drawn(["a\u202eb", "a\u202eb"])).most
        assert (shown, count) == ("a\\u202eb", 2)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=50))
def test_quantiles_of_lengths_are_those_of_the_sorted_list(lengths):
    lines = [" ".join(["w"] * length) for length in lengths]
    found, ordered = line_lengths(drawn(lines)), sorted(lengths)
    for share, value in ((0.05, found.p5), (0.5, found.median), (0.95, found.p95)):
        at_most = sum(length <= value for length in ordered) / len(ordered)
        below = sum(length < value for length in ordered) / len(ordered)
        assert below < share <= at_most or value == ordered[0]
    assert found.longest == ordered[-1]
    assert found.mean == pytest.approx(sum(lengths) / len(lengths))
    assert found.short_share == sum(length < 3 for length in lengths) / len(lengths)


class TestScripts:
    @pytest.mark.parametrize(
        ("letter", "script"),
        [
            ("a", "Latn"), ("ﬁ", "Latn"), ("ａ", "Latn"), ("д", "Cyrl"), ("ئ", "Arab"), ("ක", "Sinh"),
            ("ሀ", "Ethi"), ("中", "Hani"), ("ア", "Kana"), ("ｱ", "Kana"), ("ⵣ", "Tfng"), ("ߊ", "Nkoo"),
            ("ᥐ", "Tale"), ("ᨠ", "Lana"), ("𞤀", "Adlm"), ("1", "Zyyy"), ("٣", "Zyyy"), ("-", "Zyyy"),
            ("\u0301", "Zyyy"), ("ʼ", "Zyyy"), ("\ue000", "Zyyy"), ("ª", "Zyyy"),
        ],
    )  # fmt: skip
    def test_a_letter_has_its_script(self, letter, script):
        assert script_of(letter) == script

    def test_shares_are_of_letters_by_count(self):
        assert script_shares({"ab": 3, "да": 1, "12": 9}) == {"Latn": 0.75, "Cyrl": 0.25}
        assert script_shares({"12": 9}) == {}


UYGHUR = (
    "مەن بۈگۈن ئەتىگەن مەكتەپكە بارغاندا دوستۇمنى كۆردۈم",
    "بۇ يىل قىشتا ھاۋا بەك سوغۇق بولدى ۋە كۆپ قار ياغدى",
    "ئۇلار يېڭى ئۆيگە كۆچۈپ كېلىپ خۇشال بولۇشتى",
)
ENGLISH = (
    "the weather was very cold this winter and much snow fell in the hills",
    "they moved into the new house last week and were happy with it",
    "we saw an old friend on the way to school this morning",
)


def numbered(lines: Sequence[str], count: int) -> list[str]:
    """Different lines that say the same."""
    return [f"{lines[number % len(lines)]} ({number})" for number in range(count)]


class TestIdentify:
    def test_the_share_of_another_language_is_told_with_examples(self):
        lines = numbered(UYGHUR, 75) + numbered(ENGLISH, 25)
        found = identify_lines(drawn(lines), ("ug", "uig"), ("Arab",))
        assert (found.by, found.label, found.lines, found.few) == ("py3langid", "ug", 100, False)
        assert (found.own, found.other, found.relatives) == (0.75, 0.25, 0.0)
        (other,) = found.others
        assert (other.label, other.share, len(other.examples)) == ("en", 0.25, 3)
        assert set(other.examples) <= set(lines)

    def test_a_close_relative_is_no_other_language(self):
        lines = numbered(ENGLISH, 60)
        assert identify_lines(drawn(lines), ("en",), ()).other == 0.0
        group = next(group for group in RELATIVES if "no" in group)
        danish = "det var en meget kold vinter i år, og der faldt meget sne i bjergene (%d)"
        found = identify_lines(drawn([danish % number for number in range(60)]), ("no",), ("Latn",))
        assert "da" in group
        assert found.own + found.relatives > 0.9

    def test_every_relative_is_in_a_group_with_a_label(self):
        for group in RELATIVES:
            assert group & known_labels()
            assert len(group) > 1

    def test_a_language_without_a_label_is_told_by_script(self):
        tigrinya = "ሎሚ ንግሆ ናብ ቤት ትምህርቲ እናኸድኩ ዓርከይ ረኺበዮ"
        lines = [*(f"{tigrinya} {number}" for number in range(60)), *numbered(ENGLISH, 20)]
        found = identify_lines(drawn(lines), ("ti", "tir"), ("Ethi",))
        assert (found.by, found.label, found.lines) == ("script", "Ethi", 80)
        assert (found.own, found.other) == (0.75, 0.25)
        assert found.others[0].label == "Latn"
        unknown = identify_lines(drawn(lines), ("qaa",), ())
        assert (unknown.label, unknown.own) == ("Ethi", 0.75)

    def test_short_lines_are_not_judged_and_few_lines_say_little(self):
        short = ["ab " * (LEAST_LETTERS // 2 - 1) + str(number) for number in range(90)]
        found = identify_lines(drawn([*short, ENGLISH[0]]), ("en",), ())
        assert (found.lines, found.few) == (1, True)
        assert FEW_LINES > 1
        assert identify_lines(drawn(short), ("en",), ()).lines == 0
        assert identify_lines(drawn(short), ("tir",), ()).label == ""

    @given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.sampled_from(["ug", "ti"]))
    def test_any_text_is_judged(self, lines, code):
        lines = [line for line in lines if line.strip()] or ["x"]
        found = identify_lines(drawn([line * 20 for line in lines]), (code,), ("Arab",))
        assert found.own + found.relatives + found.other == pytest.approx(1.0 if found.lines else 0.0)
