"""Streams over shards, the order of samples, and what is read: the same bytes, each block once an epoch."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.blocks import (
    Mixture,
    Stream,
    in_order,
    language_turns,
    mixture_weights,
    open_stream,
    permuted,
    write_stream,
)
from extend.blocks.index import TRAINING, range_entry, stored_shards, write_range
from extend.blocks.shards import VerifiedFiles
from extend.errors import DataError
from extend.types import SpecialIds

SPECIAL = SpecialIds(mask=4, pad=0, unk=1, start=2, end=3, unmaskable=frozenset(range(5)), vocab_size=400_000)


def lines_of(tokens: int, first: int = 5) -> list[tuple[list[int], list[bool], bool]]:
    """Consecutive ids in lines of seven, every third token a word of its own, three lines a document."""
    ids = list(range(first, first + tokens))
    return [
        (ids[at : at + 7], [place % 3 == 0 for place in range(at, min(at + 7, tokens))], at % 21 == 0)
        for at in range(0, tokens, 7)
    ]


def stream_of(folder: Path, language: str, tokens: int, first: int = 5) -> Stream:
    write_stream(folder / language, lines_of(tokens, first), special=SPECIAL)
    return open_stream(folder / language, language)


def in_shards(folder: Path, lines: list, shard_tokens: int, pieces: int = 3) -> Stream:
    """The same lines handed over in `pieces`, in shards of about `shard_tokens`."""
    parts = np.array_split(np.arange(len(lines)), pieces)
    chunks = ({TRAINING: [lines[number] for number in part]} for part in parts)
    write_range(folder, chunks, special=SPECIAL, shard_tokens=shard_tokens)
    return open_stream(folder, "xx")


def test_streams_come_back_as_they_went(tmp_path: Path) -> None:
    lines = [([5, 6, 7], [True, False, True], True), ([], [], False), ([300_000], [True], False)]
    write_stream(tmp_path / "xx", lines, special=SPECIAL)
    stream = open_stream(tmp_path / "xx", "xx")
    assert stream.ids.tolist() == [5, 6, 7, SPECIAL.end, 300_000, SPECIAL.end]
    assert stream.read(0, 6)[1].tolist() == [True, False, True, True, True, True]
    assert stream.lines.tolist() == [0, 4, 6]
    assert stream.documents.tolist() == [True, False]


def test_an_epoch_holds_every_block_once_and_blocks_move_between_epochs(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, "xx", 2000)
    mixture = Mixture((stream,), (1.0,), 17, seed=3)
    blocks = mixture.blocks_of(stream)
    for epoch in range(3):
        languages, epochs, places = mixture.order.locate(np.arange(blocks) + epoch * blocks)
        assert sorted(places.tolist()) == list(range(blocks))
        assert (set(languages.tolist()), set(epochs.tolist())) == ({0}, {epoch})
    one, _ = mixture.read(np.arange(blocks), SPECIAL)
    epochs = [mixture.read(np.arange(blocks) + epoch * blocks, SPECIAL)[0] for epoch in range(4)]
    text = one[:, 1:].ravel()
    assert len(set(text[text >= 5])) == (text >= 5).sum(), "no token twice in one epoch"
    assert len({frozenset(map(tuple, rows.tolist())) for rows in epochs}) > 1, "cut elsewhere each epoch"
    assert len({tuple(rows[:, 1].tolist()) for rows in epochs}) == 4, "another order each epoch"
    assert (one[:, 0] == SPECIAL.start).all()


def test_a_batch_is_a_function_of_its_numbers(tmp_path: Path) -> None:
    mixture = Mixture(
        (stream_of(tmp_path, "xx", 900), stream_of(tmp_path, "yy", 3000, first=4000)), (0.3, 0.7), 16, seed=9
    )
    whole, starts = mixture.read(np.arange(5000), SPECIAL)
    later, later_starts = mixture.read(np.arange(4321, 4329), SPECIAL)
    assert (later == whole[4321:4329]).all()
    assert (later_starts == starts[4321:4329]).all()


def test_languages_come_in_their_shares_and_in_turn() -> None:
    weights = (0.1, 0.25, 0.65)
    languages, turns = language_turns(np.arange(20_000), weights, seed=1)
    for language, weight in enumerate(weights):
        own = turns[languages == language].tolist()
        assert own == list(range(len(own))), "each turn once, in order"
        assert len(own) == pytest.approx(20_000 * weight, abs=200)
        assert (languages[:1024] == language).sum() == pytest.approx(1024 * weight, abs=2)


def test_mixture_weights_follow_the_exponent() -> None:
    weights = mixture_weights({"en": 1000, "ug": 10}, exponent=0.7)
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["en"] / weights["ug"] == pytest.approx(100**0.7)
    assert mixture_weights({"en": 1000, "ug": 10}, exponent=0.0) == {"en": 0.5, "ug": 0.5}


def test_held_out_blocks_are_the_text_in_order(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, "xx", 100)
    blocks = list(in_order(stream, length=11, most=3, special=SPECIAL))
    assert len(blocks) == 3
    joined = np.concatenate([ids[1:] for ids, _ in blocks])
    assert joined.tolist() == stream.ids[:30].tolist()


def test_too_little_text_is_told(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, "xx", 20)
    with pytest.raises(DataError, match="too few for one block of 64"):
        Mixture((stream,), (1.0,), 64, seed=1)
    write_stream(tmp_path / "empty", [], special=SPECIAL)
    with pytest.raises(DataError, match="holds no token"):
        open_stream(tmp_path / "empty", "yy")


@settings(max_examples=12)
@given(st.integers(1, 60), st.integers(20, 200), st.integers(1, 5))
def test_shards_do_not_show(
    tmp_path_factory: pytest.TempPathFactory, lines: int, size: int, pieces: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    generator = np.random.default_rng(lines)
    text = []
    for _ in range(lines):
        length = int(generator.integers(0, 12))
        words = (generator.random(length) < 0.5).tolist()
        text.append((generator.integers(5, 99, length).tolist(), words, generator.random() < 0.4))
    if not any(line[0] for line in text):
        text.append(([7], [True], False))
    whole = in_shards(folder / "whole", text, 1 << 30, pieces=1)
    cut = in_shards(folder / "cut", text, size, pieces=pieces)
    assert len(whole.shards) == 1
    assert all(shard.facts.tokens >= size for shard in cut.shards[:-1])
    assert cut.ids.tolist() == whole.ids.tolist()
    assert cut.lines.tolist() == whole.lines.tolist()
    assert cut.documents.tolist() == whole.documents.tolist()
    assert (cut.active(100) == whole.active(100)).all()
    end = len(whole.ids)
    for begin, stop in generator.integers(0, end + 1, (6, 2)):
        ids, starts = cut.read(min(begin, stop), max(begin, stop))
        assert ids.tolist() == whole.ids.tolist()[min(begin, stop) : max(begin, stop)]
        assert starts.tolist() == whole.read(min(begin, stop), max(begin, stop))[1].tolist()
    first, stop = sorted(generator.integers(0, len(whole.lines), 2).tolist())
    assert cut.offsets(first, stop).tolist() == whole.lines[first : stop + 1].tolist()


def test_a_document_that_began_with_a_line_kept_elsewhere_starts_with_the_next_line() -> None:
    facts = [
        {TRAINING: {"shards": [[10, 2, 1, True]], "pending": True}},
        {TRAINING: {"shards": [], "pending": False}},
        {TRAINING: {"shards": [[10, 2, 0, False], [9, 1, 0, False]], "pending": False}},
        {TRAINING: {"shards": [[8, 1, 0, False]], "pending": False}},
    ]
    shards = stored_shards([Path(str(number)) for number in range(4)], facts, TRAINING)
    assert [(shard.facts.starts, shard.facts.documents) for shard in shards] == [
        (True, 1), (True, 1), (False, 0), (False, 0)
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 31, 64, 100, 1000, 1025, 65_537])
def test_permutations_are_permutations(size: int) -> None:
    for key in (0, 1, 2**63, 2**64 - 1):
        keys = np.full(size, key, dtype=np.uint64)
        assert sorted(permuted(np.arange(size), size, keys).tolist()) == list(range(size))


@given(st.integers(1, 10**12), st.lists(st.integers(0, 10**12 - 1), min_size=2, max_size=40, unique=True))
def test_large_permutations_stay_inside_and_apart(size: int, places: list[int]) -> None:
    inside = sorted({place % size for place in places})
    found = permuted(np.array(inside), size, np.full(len(inside), 77, dtype=np.uint64))
    assert len(set(found.tolist())) == len(inside)
    assert 0 <= found.min() <= found.max() < size


def test_each_place_is_equally_likely_everywhere() -> None:
    """Chi-square over 20,000 keys, and all 24 orders of four about equally often."""
    keys = np.random.default_rng(1).integers(0, 2**63, 20_000).astype(np.uint64)
    for size in (7, 50, 65, 100, 1000):
        for place in (0, 1, size - 1):
            found = permuted(np.full(len(keys), place), size, keys)
            expected = len(keys) / size
            chi = ((np.bincount(found, minlength=size) - expected) ** 2 / expected).sum()
            assert chi < size - 1 + 5 * (2 * (size - 1)) ** 0.5
    orders = np.stack([permuted(np.full(len(keys), place), 4, keys) for place in range(4)], axis=1)
    seen = Counter(map(tuple, orders.tolist()))
    assert len(seen) == 24
    assert all(abs(count - len(keys) / 24) < 5 * (len(keys) / 24) ** 0.5 for count in seen.values())
    pairs = np.stack([permuted(np.full(len(keys), place), 65, keys) for place in (0, 1)], axis=1)
    together = np.bincount((pairs[:, 1] - pairs[:, 0]) % 65, minlength=65)[1:]
    expected = len(keys) / 64
    assert ((together - expected) ** 2 / expected).sum() < 63 + 5 * 126**0.5


def test_neighbours_do_not_stay_neighbours() -> None:
    size = 10_000
    found = permuted(np.arange(size), size, np.full(size, 5, dtype=np.uint64))
    assert (np.abs(np.diff(found)) < 10).mean() < 0.01
    assert abs(np.corrcoef(np.arange(size), found)[0, 1]) < 0.05


def test_seeds_and_languages_have_orders_of_their_own(tmp_path: Path) -> None:
    streams = (stream_of(tmp_path, "xx", 3000), stream_of(tmp_path, "yy", 3000))
    orders = set()
    for seed in (1, 2, 3):
        mixture = Mixture(streams, (0.5, 0.5), 17, seed=seed)
        languages, _, places = mixture.order.locate(np.arange(200))
        orders |= {tuple(places[languages == language][:50].tolist()) for language in (0, 1)}
    assert len(orders) == 6


def test_duplicates_bring_back_cut_and_masks_and_not_the_order(tmp_path: Path) -> None:
    mixture = Mixture((stream_of(tmp_path, "xx", 2000),), (1.0,), 17, seed=3, duplicates=2)
    blocks = mixture.blocks_of(mixture.streams[0])
    seen = []
    for epoch in range(4):
        samples = np.arange(blocks) + epoch * blocks
        ids, _ = mixture.read(samples, SPECIAL)
        keys = mixture.order.mask_keys(samples)
        assert len(set(keys.tolist())) == blocks
        seen.append((ids.tolist(), sorted(zip(keys.tolist(), map(tuple, ids.tolist()), strict=True))))
    assert seen[0][1] == seen[2][1], "the same blocks under the same masks"
    assert seen[1][1] == seen[3][1]
    assert seen[0][1] != seen[1][1]
    assert seen[0][0] != seen[2][0], "in another order"


def test_only_shards_that_are_touched_are_read(tmp_path: Path) -> None:
    """Far into a large text a batch costs what it costs at its beginning: the shards its blocks lie in."""
    stream = in_shards(tmp_path / "xx", lines_of(20_000), 300)
    assert len(stream.shards) > 50
    mixture = Mixture((stream,), (1.0,), 17, seed=1)
    assert stream.files.touched() == set()
    mixture.read(np.arange(10**6 * 4, 10**6 * 4 + 4), SPECIAL)
    shards = {name.split("/")[2] for name in stream.files.touched()}
    assert 1 <= len(shards) <= 8, "four blocks lie in at most two shards each"


def test_opening_a_large_index_reads_no_shard(tmp_path: Path) -> None:
    known = in_shards(tmp_path / "xx", lines_of(700), 1 << 20)
    entry = range_entry(tmp_path / "xx")
    folders = [tmp_path / "xx", *(tmp_path / f"not-there-{number}" for number in range(20_000))]
    shards = stored_shards(folders, [entry.facts] * len(folders), TRAINING)
    stream = Stream("xx", shards, files=VerifiedFiles({}), sha256="")
    assert len(stream.ids) == 20_001 * len(known.ids)
    assert stream.files.touched() == set()
    assert stream.read(0, 10)[0].tolist() == known.ids.tolist()[:10]
    with pytest.raises(DataError, match="damaged"):
        stream.read(len(known.ids), len(known.ids) + 1)


@pytest.mark.parametrize("name", ["ids.bin", "starts.bin", "lines.bin", "documents.bin"])
def test_a_flipped_bit_is_found_when_it_is_touched(tmp_path: Path, name: str) -> None:
    in_shards(tmp_path / "xx", lines_of(900), 200)
    stream = open_stream(tmp_path / "xx", "xx")
    path = tmp_path / "xx" / "training" / "00002" / name
    path.chmod(0o600)
    flipped = bytearray(path.read_bytes())
    flipped[0] ^= 1
    path.write_bytes(flipped)
    before = int(stream.token_bounds[2])
    assert len(stream.read(0, before)[0]) == before, "what is sound can be read"
    with pytest.raises(DataError, match=rf"training/00002/{name}") as told:
        _ = (stream.read(before, before + 1), stream.lines, stream.documents)
    assert (told.value.name, told.value.exit_code) == ("E-DATA-DAMAGED", 3)
    assert (tmp_path / "xx.bad").is_dir()
    assert not (tmp_path / "xx").exists()


@pytest.mark.parametrize("damage", ["cut", "missing", "manifest", "no manifest"])
def test_other_damage_is_told_too(tmp_path: Path, damage: str) -> None:
    stream = stream_of(tmp_path, "xx", 300)
    ids, manifest = (tmp_path / "xx" / name for name in ("training/00000/ids.bin", "MANIFEST.json"))
    if damage == "cut":
        ids.write_bytes(ids.read_bytes()[:-4])
    elif damage == "missing":
        ids.unlink()
    elif damage == "manifest":
        other = stream_of(tmp_path, "yy", 200)
        assert other.ids
        manifest.write_bytes((tmp_path / "yy" / "MANIFEST.json").read_bytes())
    else:
        manifest.unlink()
    with pytest.raises(DataError, match="damaged"):
        stream.read(0, 5)
