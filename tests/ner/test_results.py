"""A cell of the table: the score over the shared types equals seqeval on tags without the others."""

import pytest
from seqeval.metrics import f1_score

from ner.results import Outcome, TestSet, summarise
from ner.tags import TaggedSentence

GOLD = (("B-PER", "O", "B-MISC", "I-MISC"), ("B-LOC", "I-LOC", "O", "B-ORG"))
PREDICTED = (("B-PER", "O", "B-ORG", "I-ORG"), ("B-LOC", "O", "O", "B-MISC"))


def as_test(*tags: tuple[str, ...]) -> TestSet:
    sentences = tuple(TaggedSentence(tuple("abcd"[: len(one)]), one) for one in tags)
    return TestSet(sentences, {"e": 0.0}, {"e": 1.0}, {})


def outcome(*tags: tuple[str, ...]) -> Outcome:
    return Outcome("e", "xx", "xx", 1, tags, 0.0, 1)


def without_misc(tags: tuple[str, ...]) -> list[str]:
    return ["O" if tag.endswith("MISC") else tag for tag in tags]


def test_the_core_score_is_that_of_tags_without_the_other_types() -> None:
    core = summarise([outcome(*PREDICTED)], as_test(*GOLD), seed=1)["core"]
    expected = 100 * f1_score([without_misc(one) for one in GOLD], [without_misc(one) for one in PREDICTED])
    assert core["f1"] == [pytest.approx(expected, abs=1e-3)]
    assert core["types"] == ["PER", "LOC", "ORG"]


def test_a_set_of_shared_types_has_no_second_score() -> None:
    assert "core" not in summarise([outcome(("B-PER",))], as_test(("B-PER",)), seed=1)
