from pathlib import Path

import numpy as np
import pytest

from extend.blocks import TRAINING, open_stream, write_range, write_stream
from extend.errors import DataError
from extend.masking import MaskingRule
from extend.sentence_pairs import SentencePairs, paired_batch
from extend.types import SpecialIds

SPECIAL = SpecialIds(mask=4, pad=0, unk=1, start=2, end=3, unmaskable=frozenset(range(5)), vocab_size=2000)


def pairs_of(
    folder: Path, *, documents: int = 80, length: int = 24, shard_tokens: int = 1 << 20, duplicates: int = 0
) -> SentencePairs:
    """Every token of document d is 5 + d, so that a label can be read off the ids."""
    generator = np.random.default_rng(0)
    lines = []
    for document in range(documents):
        for sentence in range(generator.integers(1, 5)):
            size = int(generator.integers(1, 30))
            lines.append(([5 + document] * size, [True] * size, sentence == 0))
    write_range(folder / "xx", [{TRAINING: lines}], special=SPECIAL, shard_tokens=shard_tokens)
    return SentencePairs(open_stream(folder / "xx", "xx"), length=length, seed=1, duplicates=duplicates)


def test_labels_tell_whether_both_halves_are_of_one_document(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path)
    labels = []
    for sample in range(2000):
        first, second, first_starts, second_starts, label = pairs.pair(sample)
        assert len(first) > 0
        assert len(second) > 0
        assert len(first) + len(second) <= pairs.length - 3
        assert (len(first_starts), len(second_starts)) == (len(first), len(second))
        assert (set(first) == set(second)) == (label == 0)
        labels.append(label)
    assert np.mean(labels) == pytest.approx(0.5, abs=0.04)


def test_shards_do_not_show(tmp_path: Path) -> None:
    whole, cut = pairs_of(tmp_path / "whole"), pairs_of(tmp_path / "cut", shard_tokens=70)
    assert len(cut.stream.shards) > 20
    for sample in range(500):
        first, second = whole.pair(sample), cut.pair(sample)
        assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_every_line_that_has_a_next_one_can_begin(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, documents=12, shard_tokens=70)
    lines, flags = pairs.stream.lines, pairs.stream.documents
    assert pairs.text.followers == (~flags).sum()
    begun = [place for place, flag in enumerate(flags) if flag]
    assert [pairs.text.begin(document) for document in range(13)] == [*begun, len(flags)]
    assert [pairs.text.document_of(line) for line in range(len(flags))] == (np.cumsum(flags) - 1).tolist()
    assert [pairs.text.follower(number) for number in range(pairs.text.followers)] == [
        line for line, flag in enumerate(flags) if not flag
    ]
    assert len(lines) == len(flags) + 1


def test_with_duplicates_a_pool_of_pairs_comes_again(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, duplicates=3)
    assert pairs.pool == 3 * (len(pairs.stream.ids) // 24)
    turns = np.arange(2 * pairs.pool)
    numbers = pairs.numbers(turns)
    assert sorted(numbers[: pairs.pool].tolist()) == list(range(pairs.pool))
    assert sorted(numbers[pairs.pool :].tolist()) == list(range(pairs.pool))
    assert numbers[: pairs.pool].tolist() != numbers[pairs.pool :].tolist()


def test_every_other_document_can_follow(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, documents=6)
    drawn = {(int(a[0]), int(b[0])) for a, b, *_, label in map(pairs.pair, range(3000)) if label == 1}
    starts = {first for first, _ in drawn}
    assert all(
        {other for first, other in drawn if first == start} == set(range(5, 11)) - {start} for start in starts
    )


def test_a_batch_is_laid_out_as_bert_reads_it(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path)
    batch = paired_batch(
        [pairs],
        (1.0,),
        np.arange(16),
        special=SPECIAL,
        rule=MaskingRule(mask_share=0.0, random_share=0.0),
        seed=1,
    )
    assert batch.segments is not None
    assert batch.attention_mask is not None
    for ids, segments, attended in zip(batch.input_ids, batch.segments, batch.attention_mask, strict=True):
        text = ids[attended].tolist()
        assert text[0] == SPECIAL.start
        assert text.count(SPECIAL.end) == 2
        assert text[-1] == SPECIAL.end
        boundary = text.index(SPECIAL.end) + 1
        assert segments[attended].tolist() == [0] * boundary + [1] * (len(text) - boundary)
        assert (ids[~attended] == SPECIAL.pad).all()


def test_a_batch_is_a_function_of_its_numbers(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path)
    settings = {"special": SPECIAL, "rule": MaskingRule(), "seed": 4}
    whole = paired_batch([pairs], (1.0,), np.arange(64), **settings)
    part = paired_batch([pairs], (1.0,), np.arange(40, 48), **settings)
    assert (part.input_ids == whole.input_ids[40:48]).all()


def test_text_without_documents_is_refused(tmp_path: Path) -> None:
    write_stream(tmp_path / "xx", [([7, 8], [True, True], True), ([9], [True], False)], special=SPECIAL)
    with pytest.raises(DataError, match="documents of several lines"):
        SentencePairs(open_stream(tmp_path / "xx", "xx"), length=16, seed=1)
