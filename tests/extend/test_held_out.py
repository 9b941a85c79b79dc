"""The held-out rule: against an oracle that holds everything in memory, and by its laws."""

import itertools
import random
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.corpus import (
    CountingLimits,
    HeldOut,
    find_held_out,
    held_out_documents,
    sample_held_out,
    training_documents,
)
from extend.corpus.held_out import LineSample
from extend.types import Document
from tests.oracles.held_out import held_out_texts


@dataclass
class Texts:
    texts: list[str]


TEXTS = st.lists(st.text(alphabet="abcd", min_size=1, max_size=2), max_size=80)


@given(
    texts=TEXTS,
    cuts=st.lists(st.integers(0, 80), max_size=4),
    share=st.floats(0, 1),
    least=st.integers(1, 20),
    seed=st.integers(0, 9),
    order=st.randoms(use_true_random=False),
)
def test_the_rule_is_the_oracles_whatever_the_order_and_the_batches(texts, cuts, share, least, seed, order):
    expected = held_out_texts(texts, share=share, least=least, seed=seed)
    order.shuffle(texts)
    edges = sorted({0, len(texts), *(cut for cut in cuts if cut < len(texts))})
    batches = [Texts(texts[first:last]) for first, last in itertools.pairwise(edges)]
    rule = find_held_out(batches, share=share, least=least, seed=seed)
    assert {text for text in texts if text in rule} == expected
    assert sum(rule.mask(texts)) <= len(texts) // 2
    parts = LineSample(share=share, least=least, seed=seed)
    for batch in batches[::-1]:
        part = LineSample(share=share, least=least, seed=seed)
        part.add(batch.texts)
        parts.merge(part)
    assert parts.rule() == rule


def lines(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


def test_the_share_is_a_share_of_the_lines_and_the_least_is_exact():
    texts = lines(20_000)
    by_share = find_held_out([Texts(texts)], share=0.02, least=200, seed=1)
    by_least = find_held_out([Texts(texts[:5000])], share=0.002, least=200, seed=1)
    other = find_held_out([Texts(texts)], share=0.02, least=200, seed=2)
    assert by_share.threshold == int(0.02 * 2**64)
    assert 320 < sum(by_share.mask(texts)) < 480
    assert sum(by_least.mask(texts[:5000])) == 200
    both = [one and two for one, two in zip(by_share.mask(texts), other.mask(texts), strict=True)]
    assert sum(both) < 40, "another seed, another sample"


def test_a_larger_sample_holds_the_smaller():
    texts = lines(3000)
    small = find_held_out([Texts(texts)], share=0.01, least=1, seed=4)
    large = find_held_out([Texts(texts)], share=0.2, least=1, seed=4)
    assert {text for text in texts if text in small} < {text for text in texts if text in large}


def test_at_most_half_is_held_out_even_when_one_line_is_most_of_the_corpus():
    texts = lines(50)
    for seed in range(30):
        corpus = [*texts, *["the same"] * 200]
        rule = find_held_out([Texts(corpus)], share=0.3, least=10, seed=seed)
        assert "the same" not in rule
        assert sum(rule.mask(corpus)) <= 125


def test_a_corpus_without_lines_holds_nothing_out():
    assert find_held_out([], share=0.02, least=200, seed=1).mask([]) == []


def test_memory_is_bounded_by_the_sample_not_by_the_corpus():
    batches = [Texts([f"{batch} {number}" for number in range(2000)]) for batch in range(60)]
    sample = LineSample(share=0.02, least=200, seed=1)
    tracemalloc.start()
    for batch in batches:
        sample.add(batch.texts)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sample.lines == 120_000
    assert held < 1 << 20


@pytest.mark.parametrize("threshold", [-1, 2**64 + 1])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        HeldOut(threshold, 1)


def test_the_ends_of_the_scale_hold_out_nothing_and_everything():
    assert HeldOut(0, 1).mask(lines(100)) == [False] * 100
    assert HeldOut(2**64, 1).mask(lines(100)) == [True] * 100


def test_membership_is_xxh3_of_the_text_under_the_seed():
    # xxhsum's own check value: XXH3_64bits of the empty input under seed 0
    assert "" in HeldOut(0x2D06800538D394C3, 0)
    assert "" not in HeldOut(0x2D06800538D394C2, 0)


@pytest.mark.parametrize("count", [1, 300])
def test_files_read_in_parts_give_the_rule_of_the_whole(count: int, tmp_path: Path) -> None:
    texts = [f"text {number} {'x' * (number % 7)}" for number in range(count * 10)]
    random.Random(1).shuffle(texts)
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, part in zip(paths, (texts[: count * 3], texts[count * 3 :]), strict=True):
        path.write_text("\n".join(part) + "\n\n", encoding="utf-8")
    whole = find_held_out([Texts(texts)], share=0.02, least=20, seed=3)
    whole_and_parts = (
        CountingLimits(),
        CountingLimits(processes=1, shard_bytes=97),
        CountingLimits(processes=2, shard_bytes=9000),
    )
    for limits in whole_and_parts:
        for files in (paths, paths[::-1]):
            assert sample_held_out(files, share=0.02, least=20, seed=3, limits=limits) == whole


class TestStreams:
    LINES = tuple(
        Document(f"text {text} line {line}", "xx", "f", starts_document=line == 0)
        for text in range(40)
        for line in range(3)
    )
    RULE = HeldOut(int(0.3 * 2**64), 1)

    def test_every_document_is_on_one_side_in_its_order(self):
        parts = [list(split(self.LINES, self.RULE)) for split in (training_documents, held_out_documents)]
        position = {document.text: place for place, document in enumerate(self.LINES)}
        places = [[position[document.text] for document in part] for part in parts]
        assert sorted(places[0] + places[1]) == list(range(len(self.LINES)))
        assert all(part == sorted(part) for part in places)
        assert all(document.text in self.RULE for document in parts[1])
        assert len(parts[1]) > 10

    def test_a_text_keeps_its_start_when_its_first_line_is_on_the_other_side(self):
        assert any(document.starts_document and document.text in self.RULE for document in self.LINES)
        for split in (training_documents, held_out_documents):
            part = list(split(self.LINES, self.RULE))
            texts = [document.text.split(" line ")[0] for document in part]
            firsts = [here != before for here, before in zip(texts, [None, *texts[:-1]], strict=True)]
            assert [document.starts_document for document in part] == firsts

    def test_nothing_else_of_a_document_changes(self):
        known = {document.text: document for document in self.LINES}
        for document in training_documents(self.LINES, self.RULE):
            assert replace(document, starts_document=known[document.text].starts_document) in self.LINES
