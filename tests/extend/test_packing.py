"""Documents packed into samples: each token once, ends in place, little padding, nothing across documents."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extend.blocks import TRAINING, PackedMixture, Packs, Stream, open_stream, write_plan, write_range
from extend.errors import DataError
from extend.types import SpecialIds

SPECIAL = SpecialIds(mask=4, pad=0, unk=1, start=2, end=3, unmaskable=frozenset(range(5)), vocab_size=90_000)
Line = tuple[list[int], list[bool], bool]


def documents_of(sizes: list[list[int]]) -> list[Line]:
    """Documents of lines of these sizes; ids count up through the text, so that each token is known."""
    lines: list[Line] = []
    token = 5
    for document in sizes:
        for number, size in enumerate(document):
            ids = list(range(token, token + size))
            lines.append((ids, [one % 2 == 0 for one in ids], number == 0))
            token += size
    return lines


def stream_of(folder: Path, sizes: list[list[int]], shard_tokens: int = 1 << 20) -> Stream:
    write_range(folder, [{TRAINING: documents_of(sizes)}], special=SPECIAL, shard_tokens=shard_tokens)
    return open_stream(folder, "xx")


def packed(folder: Path, stream: Stream, length: int) -> PackedMixture:
    write_plan(folder, stream, length=length)
    return PackedMixture((Packs(folder, stream),), (1.0,), length, seed=1)


def read_all(mixture: PackedMixture) -> list[tuple[list[int], list[bool]]]:
    """Every document or piece of the first epoch, checked in form, without its start token."""
    ids, starts, documents = mixture.read(np.arange(len(mixture.packs[0])), SPECIAL)
    found = []
    for row in range(len(ids)):
        numbers = documents[row]
        text = int((numbers >= 0).sum())
        assert (numbers[:text] >= 0).all()
        assert (ids[row, text:] == SPECIAL.pad).all()
        assert (np.diff(numbers[:text]) >= 0).all()
        for number in range(numbers.max() + 1):
            piece, flags = ids[row][numbers == number], starts[row][numbers == number]
            assert (piece[0], piece[-1]) == (SPECIAL.start, SPECIAL.end)
            assert len(piece) > 2, "no piece is empty"
            found.append((piece[1:].tolist(), flags[1:].tolist()))
    return found


@settings(max_examples=15)
@example(53, 32, 60)  # the last document ends in a shard where none begins
@given(st.integers(0, 10**6), st.sampled_from([8, 13, 32]), st.sampled_from([60, 1 << 20]))
def test_every_token_is_in_one_piece_and_pieces_are_of_one_document(
    tmp_path_factory: pytest.TempPathFactory, seed: int, length: int, shard_tokens: int
) -> None:
    generator = np.random.default_rng(seed)
    sizes = [generator.integers(1, 25, generator.integers(1, 6)).tolist() for _ in range(12)]
    folder = tmp_path_factory.mktemp("packs")
    stream = stream_of(folder / "text", sizes, shard_tokens)
    pieces = read_all(packed(folder / "plan", stream, length))
    text = sorted(token for ids, _ in pieces for token in ids if token >= 5)
    assert text == list(range(5, 5 + sum(map(sum, sizes)))), "all of the text, each token once"
    edges = np.cumsum([0, *(sum(document) for document in sizes)]) + 5
    for ids, flags in pieces:
        tokens = [token for token in ids if token >= 5]
        assert tokens == list(range(tokens[0], tokens[0] + len(tokens))), "consecutive"
        first, last = np.searchsorted(edges, [tokens[0], tokens[-1]], side="right")
        assert first == last, "of one document"
        assert all(flag == (token % 2 == 0) for token, flag in zip(ids, flags, strict=True) if token >= 5)
    whole = {(int(begin), int(end)) for begin, end in itertools.pairwise(edges)}
    kept = {(min(t for t in ids if t >= 5), max(t for t in ids if t >= 5) + 1) for ids, _ in pieces}
    for document, bounds in zip(sizes, sorted(whole), strict=True):
        if sum(document) + len(document) + 1 <= length:
            assert bounds in kept, "a document that fits is not cut, not even by the end of a shard"


def test_a_plan_by_hand(tmp_path: Path) -> None:
    """Length 10. Sizes with both ends: 6, 14 -> 10 and 7 (8 of text + 5), 4, 3, 9."""
    stream = stream_of(tmp_path / "text", [[4], [13], [2], [1], [7]])
    packs = packed(tmp_path / "plan", stream, 10).packs[0]
    begins = [5, 9, 17, 22, 24, 25]
    offset = {token: int(place) for place, token in enumerate(stream.ids.tolist()) if token in begins}
    drawn = [[begin for begin, _ in packs.pieces(number)] for number in range(len(packs))]
    assert drawn == [[offset[5], offset[22]], [offset[9]], [offset[17], offset[24]], [offset[25]]]


def test_samples_are_filled(tmp_path: Path) -> None:
    """Documents of realistic length (log-normal, median 60 tokens) leave little padding."""
    generator = np.random.default_rng(5)
    sizes = [[int(size)] for size in np.clip(np.exp(generator.normal(4.1, 1.0, 400)), 3, 2000)]
    mixture = packed(tmp_path / "plan", stream_of(tmp_path / "text", sizes), 128)
    _, _, documents = mixture.read(np.arange(len(mixture.packs[0])), SPECIAL)
    assert (documents < 0).mean() < 0.04
    alone = sum(-(-(sizes[0]) // 126) for sizes in sizes)
    assert len(documents) < 0.75 * alone


def test_an_epoch_holds_every_sample_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    mixture = packed(tmp_path / "plan", stream_of(tmp_path / "text", [[9, 4]] * 90), 16)
    count = len(mixture.packs[0])
    epochs = [mixture.read(np.arange(count) + epoch * count, SPECIAL)[0].tolist() for epoch in range(3)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_plan_is_kept_and_made_anew_only_for_another_text_or_length(tmp_path: Path) -> None:
    sizes = [[5, 5], [7], [30]] * 10
    stream = stream_of(tmp_path / "text", sizes, 100)
    write_plan(tmp_path / "plan", stream, length=16)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "plan").rglob("*") if path.is_file()}
    first = {path: path.read_bytes() for path in files}
    write_plan(tmp_path / "plan", stream, length=16)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    removed = sorted((tmp_path / "plan").glob("00001-*"))[0]
    (removed / "MANIFEST.json").unlink()
    write_plan(tmp_path / "plan", stream, length=16)
    assert {path: path.read_bytes() for path in files} == first
    other = stream_of(tmp_path / "other", [[8, 8]] * 20)
    write_plan(tmp_path / "plan", other, length=16)
    assert sum(len(ids) - 1 for ids, _ in read_all(packed(tmp_path / "plan", other, 16))) >= 320


def test_a_damaged_plan_is_found_and_mended(tmp_path: Path) -> None:
    stream = stream_of(tmp_path / "text", [[5, 5], [7], [30]] * 10)
    mixture = packed(tmp_path / "plan", stream, 16)
    before = mixture.read(np.arange(5), SPECIAL)[0]
    path = next((tmp_path / "plan").glob("*/pieces.bin"))
    path.write_bytes(path.read_bytes()[:-8])
    damaged = PackedMixture((Packs(tmp_path / "plan", stream),), (1.0,), 16, seed=1)
    with pytest.raises(DataError, match="damaged") as told:
        damaged.read(np.arange(5), SPECIAL)
    assert told.value.name == "E-DATA-DAMAGED"
    mended = packed(tmp_path / "plan", stream, 16)
    assert (mended.read(np.arange(5), SPECIAL)[0] == before).all()
