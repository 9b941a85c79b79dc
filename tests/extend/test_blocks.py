from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from extend.blocks import (
    Mixture,
    Stream,
    in_order,
    language_turns,
    mixture_weights,
    open_stream,
    write_stream,
)
from extend.errors import CheckpointError, DataError
from extend.types import SpecialIds

SPECIAL = SpecialIds(mask=4, pad=0, unk=1, start=2, end=3, unmaskable=frozenset(range(5)), vocab_size=10_000)


def stream_of(folder: Path, language: str, tokens: int, first: int = 5) -> Stream:
    """Consecutive ids in lines of seven, each token a word."""
    ids = list(range(first, first + tokens))
    lines = [(ids[at : at + 7], [True] * len(ids[at : at + 7]), at % 21 == 0) for at in range(0, tokens, 7)]
    write_stream(folder / language, lines, special=SPECIAL)
    return open_stream(folder / language, language)


def test_streams_come_back_as_they_went(tmp_path: Path) -> None:
    lines = [([5, 6, 7], [True, False, True], True), ([], [], False), ([300_000], [True], False)]
    write_stream(tmp_path / "xx", lines, special=SPECIAL)
    stream = open_stream(tmp_path / "xx", "xx")
    assert stream.ids.tolist() == [5, 6, 7, SPECIAL.end, 300_000, SPECIAL.end]
    assert stream.starts.astype(bool).tolist() == [True, False, True, True, True, True]
    assert stream.lines.tolist() == [0, 4, 6]
    assert stream.documents.tolist() == [True, False]


def test_an_epoch_holds_every_block_once_and_blocks_move_between_epochs(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, "xx", 2000)
    mixture = Mixture((stream,), (1.0,), 17, seed=3)
    blocks = mixture.blocks_of(stream)
    first = Counter(mixture.locate(np.arange(blocks)))
    assert first == Counter((0, 0, turn) for turn in range(blocks))
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
    turns = language_turns(range(20_000), weights, seed=1)
    for language, weight in enumerate(weights):
        own = [turn for drawn, turn in turns if drawn == language]
        assert own == list(range(len(own))), "each turn once, in order"
        assert len(own) == pytest.approx(20_000 * weight, abs=200)
        quarter = sum(drawn == language for drawn, _ in turns[:1024])
        assert quarter == pytest.approx(1024 * weight, abs=2)


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


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    stream_of(tmp_path, "xx", 100)
    damaged = bytearray((tmp_path / "xx" / "ids.bin").read_bytes())
    damaged[17] ^= 1
    (tmp_path / "xx" / "ids.bin").write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"ids\.bin"):
        open_stream(tmp_path / "xx", "xx")
