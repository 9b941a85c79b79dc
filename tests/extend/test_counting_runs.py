"""Sorted runs on disk, and tables that spill to them: nothing lost, nothing out of order."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.corpus.counting_runs import (
    CountTable,
    decode_row,
    encode_row,
    merge_rows,
    merge_runs,
    read_run,
    write_run,
)
from extend.errors import PathError
from tests.extend.test_counting import AWKWARD

ROWS = st.tuples(st.text(alphabet=AWKWARD, min_size=1, max_size=5), st.integers(0), st.integers(1))


class TestRuns:
    @given(row=ROWS)
    def test_a_row_is_one_line_and_comes_back(self, row):
        line = encode_row(row)
        assert (line.count("\n"), line[-1]) == (1, "\n")
        assert decode_row(line) == row

    @given(streams=st.lists(st.lists(ROWS, max_size=8, unique_by=lambda row: row[0]), max_size=5))
    def test_merging_sums_and_keeps_code_point_order(self, streams):
        sums: dict[str, list[int]] = {}
        for text, counted, held_out in itertools.chain.from_iterable(streams):
            sums.setdefault(text, [0, 0])
            sums[text][0] += counted
            sums[text][1] += held_out
        merged = list(merge_rows([sorted(stream) for stream in streams]))
        assert merged == sorted((text, *both) for text, both in sums.items())
        assert [text for text, *_ in merged] == sorted(sums, key=str.encode)

    def test_a_run_that_is_gone_is_told(self, tmp_path):
        with pytest.raises(PathError, match=r"gone\.tsv"):
            list(read_run(tmp_path / "gone.tsv"))

    def test_many_runs_are_merged_in_levels(self, tmp_path):
        runs = [
            write_run(tmp_path / f"{number}.tsv", [("every", 1, 0), (f"n{number:04}", number, 1)])
            for number in range(70)
        ]
        rows = list(merge_runs(runs, tmp_path / "scratch"))
        assert rows[0] == ("every", 70, 0)
        assert rows[1:] == [(f"n{number:04}", number, 1) for number in range(70)]
        assert len(list((tmp_path / "scratch").iterdir())) == 3

    @settings(max_examples=20)
    @given(batches=st.lists(st.lists(st.text(alphabet=AWKWARD, min_size=1, max_size=4)), max_size=8))
    def test_a_table_that_spills_counts_like_one_that_does_not(self, batches, tmp_path_factory):
        scratch = tmp_path_factory.mktemp("scratch")
        small = CountTable(limit=0, scratch=scratch / "small")
        large = CountTable(limit=1 << 30, scratch=scratch / "large")
        for table in (small, large):
            for number, batch in enumerate(batches):
                (table.held_out if number % 3 == 2 else table.counted).update(batch)
                table.spill_when_full()
        assert small.spilled == bool(batches)
        assert not large.spilled
        assert list(small.rows()) == list(large.rows())
        assert not (scratch / "large").exists()


def test_a_run_is_readable_by_people(tmp_path):
    path = write_run(tmp_path / "run.tsv", [("a\tb", 1, 0), ("ක්ෂ", 2**40, 3)])
    assert path.read_text(encoding="utf-8") == "a\\tb\t1\t0\nක්ෂ\t1099511627776\t3\n"
    assert list(read_run(path)) == [("a\tb", 1, 0), ("ක්ෂ", 2**40, 3)]
