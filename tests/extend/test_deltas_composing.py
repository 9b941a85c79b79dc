"""Several deltas on one base: one block of ids whatever the order, and each delta out of it again."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from extend.architectures import architecture_of
from extend.deltas import (
    RECORD,
    SHADOWED,
    Composition,
    Delta,
    RowBlock,
    compose,
    in_precision,
    moved_rows,
    new_rows,
    read_record,
    taken_apart,
    write_record,
)
from extend.deltas.block import rows_differ
from extend.errors import CheckpointError, ExtendError, RefusedError, UsageError
from extend.growth import grow_
from tests.extend.delta_runs import BASE_FACTS, change_json, drawn, made_delta
from tests.models import EVERY_ARCHITECTURE, UNTIED, tiny_model

SI = made_delta(["a", "b", "both"], language="si", seed=1)
UG = made_delta(["c", "both", "d"], language="ug", seed=2)
UG2 = made_delta(["both", "a", "e", "c"], language="ug", seed=3)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
piece_lists = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=6, unique=True)


def slowly(deltas: Sequence[Delta]) -> tuple[list[str], dict[str, tuple[list[float], float]]]:
    """Pieces in id order and their values, one by one: an oracle."""
    order: list[str] = []
    values: dict[str, tuple[list[float], float]] = {}
    for delta in sorted(deltas, key=lambda one: f"{one.facts.language} {one.facts.sha256}"):
        for place, piece in enumerate(delta.pieces):
            if piece not in order:
                order.append(piece)
                values[piece] = (delta.block.rows[place].tolist(), float(delta.block.bias[place]))
    return order, values


def several(draw: st.DataObject, *, scores: bool = False) -> list[Delta]:
    """One to three deltas that share some pieces, of three types and two languages."""
    deltas = []
    for seed in range(draw.draw(st.integers(1, 3))):
        pieces = draw.draw(piece_lists)
        dtype, language = draw.draw(st.sampled_from(DTYPES)), draw.draw(st.sampled_from(["si", "ug"]))
        listed = [-1.0 - seed - place / 8 for place in range(len(pieces))] if scores else []
        block = drawn(len(pieces), 5, seed=seed, dtype=dtype)
        deltas.append(made_delta(pieces, language=language, scores=listed, block=block))
    return deltas


@pytest.mark.parametrize("order", list(itertools.permutations([SI, UG, UG2])))
def test_the_order_of_the_deltas_does_not_matter(order):
    composed, wanted = compose(order), compose([SI, UG, UG2])
    assert composed.pieces == wanted.pieces
    assert composed.block.same_as(wanted.block)
    assert [part.ids for part in composed.parts] == [part.ids for part in wanted.parts]


def test_a_shared_piece_has_one_id_and_the_row_of_the_first():
    composed = compose([UG, SI])
    assert composed.pieces == ("a", "b", "both", "c", "d")
    assert composed.shared == 1
    assert torch.equal(composed.block.rows[2], SI.block.rows[2])
    assert composed.parts[1].ids == (73, 72, 74)
    assert composed.base_size == BASE_FACTS.size


@given(draw=st.data())
def test_composition_is_that_of_the_oracle(draw):
    deltas = several(draw)
    composed, (order, values) = compose(deltas), slowly(deltas)
    assert list(composed.pieces) == order
    for place, piece in enumerate(order):
        assert (composed.block.rows[place].tolist(), float(composed.block.bias[place])) == values[piece]
    ids = {index for part in composed.parts for index in part.ids}
    assert ids == set(range(composed.base_size, composed.base_size + len(order)))
    for part in composed.parts:
        assert [composed.pieces[index - composed.base_size] for index in part.ids] == list(part.delta.pieces)


@given(pieces=piece_lists, where=st.integers(1, 5))
def test_any_split_composes_to_the_same_set(pieces, where):
    where = min(where, len(pieces))
    whole = made_delta(pieces)
    halves = [list(range(where)), list(range(where, len(pieces)))]
    parts = [
        made_delta([pieces[place] for place in half], language=language, block=whole.block.at(half))
        for half, language in zip(halves, ("aa", "bb"), strict=True)
        if half
    ]
    composed = compose(parts[::-1])
    assert composed.pieces == whole.pieces
    assert composed.block.same_as(whole.block)


@given(draw=st.data(), scored=st.booleans())
def test_every_delta_comes_out_again_bit_by_bit(tmp_path_factory, draw, scored):
    deltas, folder = several(draw, scores=scored), tmp_path_factory.mktemp("record")
    composed = compose(deltas)
    write_record(folder, composed)
    record = read_record(folder)
    scores = dict(zip(composed.pieces, composed.scores, strict=False))
    found = taken_apart(record, composed.pieces, scores, composed.block)
    for delta, part in zip(found, composed.parts, strict=True):
        assert delta.facts == part.delta.facts
        assert (delta.pieces, delta.scores) == (part.delta.pieces, part.delta.scores)
        assert delta.block.same_as(part.delta.block)
    assert (folder / SHADOWED).exists() == (composed.shared > 0)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(UsageError, match="twice"):
        compose([SI, UG, SI])
    with pytest.raises(UsageError, match="no delta"):
        compose([])
    for change in ({"weights": {"model.safetensors": "5" * 64}}, {"size": 71}, {"kind": "Unigram"}):
        other = made_delta(["x"], language="ug", base=dataclasses.replace(BASE_FACTS, **change))
        with pytest.raises(CheckpointError, match="different bases") as told:
            compose([SI, other])
        assert (told.value.exit_code, told.value.name) == (8, "E-DELTA-BASE")
        assert next(iter(change.get("weights", change))) in told.value.why
    untied = RowBlock(UG.block.rows, UG.block.bias, UG.block.rows)
    with pytest.raises(CheckpointError, match="different bases"):
        compose([SI, made_delta(UG.pieces, language="ug", block=untied)])
    with pytest.raises(CheckpointError, match="different bases"):
        compose([SI, made_delta(["x"], language="ug", block=drawn(1, 4, seed=1))])


@pytest.fixture
def composed() -> Composition:
    return compose([SI, UG, UG2])


def part_again(folder: Path, composed: Composition, block: RowBlock | None = None) -> list[Delta]:
    record = read_record(folder)
    assert record is not None
    return taken_apart(record, composed.pieces, {}, block or composed.block)


def test_no_record_is_no_failure(tmp_path):
    assert read_record(tmp_path) is None


def test_a_trained_row_is_told(tmp_path, composed):
    write_record(tmp_path, composed)
    for name in ("rows", "bias"):
        moved = {key: tensor.clone() for key, tensor in composed.block.named().items()}
        moved[name][0] += 1e-6
        with pytest.raises(CheckpointError, match="si") as told:
            part_again(tmp_path, composed, RowBlock.of(moved))
        assert told.value.name == "E-DELTA-CHANGED"


def test_a_row_that_rounds_to_the_deltas_is_told_too(tmp_path):
    half = made_delta(["a", "b"], block=drawn(2, 5, seed=1, dtype=torch.float16))
    composed = compose([half])
    write_record(tmp_path, composed)
    with pytest.raises(CheckpointError, match="no longer"):
        part_again(tmp_path, composed, RowBlock(composed.block.rows * (1 + 1e-6), composed.block.bias))


@pytest.mark.parametrize("name", [RECORD, SHADOWED])
@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "gone", "link"])
def test_a_damaged_record_is_told_with_its_file(tmp_path, composed, name, damage):
    write_record(tmp_path, composed)
    path = tmp_path / name
    data = path.read_bytes()
    path.unlink()
    if damage == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to("elsewhere")
        with pytest.raises(RefusedError, match=name):
            read_record(tmp_path)
    elif damage == "gone" and name == RECORD:
        assert read_record(tmp_path) is None
    else:
        changed = {"cut": data[:-2], "empty": b"", "flip": data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]}
        if damage != "gone":
            path.write_bytes(changed[damage])
        with pytest.raises(CheckpointError, match=name) as told:
            read_record(tmp_path)
        assert told.value.name == "E-DELTA"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


RECORDED = ("shared", "shared_scores", "first_id", "added", "base", "width", "sha256", "dtype", "language")


@given(at=st.integers(0, 2), key=st.sampled_from(RECORDED), value=json_values)
def test_a_forged_record_is_told_or_changes_no_row(tmp_path_factory, at, key, value):
    folder, composed = tmp_path_factory.mktemp("forged"), compose([SI, UG, UG2])
    write_record(folder, composed)
    deltas = json.loads((folder / RECORD).read_text(encoding="utf-8"))["deltas"]
    deltas[at][key] = value
    change_json(folder / RECORD, {"deltas": deltas})
    try:
        found = part_again(folder, composed)
    except ExtendError as told:
        code = told.exit_code
    else:
        code = 0
        wanted = [part.delta for part in composed.parts]
        assert all(one.block.same_as(other.block) for one, other in zip(found, wanted, strict=True))
    assert code in (0, 8)


@pytest.mark.parametrize("positions", [[0, 0], [0], [9], [-1], ["0"], [True], 3, None])
def test_forged_places_are_told(tmp_path, composed, positions):
    write_record(tmp_path, composed)
    deltas = json.loads((tmp_path / RECORD).read_text(encoding="utf-8"))["deltas"]
    deltas[2]["shared"] = {"positions": positions, "ids": deltas[2]["shared"]["ids"]}
    change_json(tmp_path / RECORD, {"deltas": deltas})
    with pytest.raises(CheckpointError, match=RECORD):
        part_again(tmp_path, composed)


def test_a_value_that_a_type_cannot_hold_is_refused():
    block = RowBlock(torch.tensor([[1.0, 70_000.0]]), torch.zeros(1))
    with pytest.raises(UsageError, match="float16") as told:
        in_precision(block, "float16")
    assert told.value.name == "E-PRECISION"
    assert in_precision(block, "bfloat16").rows.tolist() == [[1.0, 70_144.0]]
    assert block.to(torch.bfloat16).largest_change(block) == 144.0
    assert in_precision(block, "float32").same_as(block)


def test_rows_are_compared_as_bytes():
    one = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    other = torch.tensor([[-0.0, 1.0], [2.0, 3.0], [4.0, 5.5]])
    assert rows_differ(one, other).tolist() == [True, False, True]
    assert rows_differ(one[:, 0], other[:, 0]).tolist() == [True, False, False]
    many = torch.zeros(20_000, 3)
    moved = many.clone()
    moved[[0, 16_383, 16_384, 19_999], 1] = 1.0
    assert rows_differ(many, moved).nonzero().flatten().tolist() == [0, 16_383, 16_384, 19_999]
    with pytest.raises(ValueError, match="float16"):
        rows_differ(one, one.half())


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_whatever_moved_in_a_grown_model_is_seen(architecture):
    known = 60
    base, grown = (tiny_model(architecture, vocab_size=64) for _ in range(2))
    parts = architecture_of(grown)
    block = drawn(3, parts.embedding(grown).shape[1], seed=1)
    bias = block.bias if parts.has_bias(grown) else torch.zeros(3)
    output = block.rows.flip(0) if architecture in UNTIED else None
    grow_(grown, block.rows, bias, output_rows=output, first_id=known)
    assert not moved_rows(base, grown, known=known)
    assert new_rows(grown, known=known).same_as(RowBlock(block.rows, bias, output))
    by_piece = parts.vocabulary_parameters(grown)
    with torch.no_grad():
        for row, parameter in enumerate(by_piece.values()):
            parameter[row] += 1.0
    assert moved_rows(base, grown, known=known).rows == len(by_piece)
    norm = next(parameter for name, parameter in grown.named_parameters() if "norm.weight" in name.lower())
    with torch.no_grad():
        norm[0] = 3.0
    moved = moved_rows(base, grown, known=known)
    assert (moved.rows, len(moved.tensors)) == (len(by_piece), 1)


def test_a_second_bias_that_parted_from_the_first_cannot_be_told():
    model = tiny_model("bert-untied", vocab_size=64)
    twin = architecture_of(model).vocabulary_parameters(model)["twin"]
    bias = architecture_of(model).bias(model)
    with torch.no_grad():
        twin.copy_(bias)
    new_rows(model, known=60)
    with torch.no_grad():
        twin[62] += 1.0
    with pytest.raises(CheckpointError) as told:
        new_rows(model, known=60)
    assert told.value.name == "E-DELTA-TWIN"


def test_another_model_is_told():
    with pytest.raises(CheckpointError, match="not grown from this base"):
        moved_rows(tiny_model("bert-mlm"), tiny_model("modernbert"), known=5)
    with pytest.raises(CheckpointError, match="not grown from this base"):
        moved_rows(tiny_model(hidden=32), tiny_model(hidden=16), known=5)
    with pytest.raises(CheckpointError, match="not grown from this base"):
        moved_rows(tiny_model(vocab_size=9), tiny_model(vocab_size=9), known=10)
