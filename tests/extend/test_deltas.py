"""Deltas as files: what is written is read, what is damaged is told, nothing in them is trusted."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from extend.deltas import DELTA, Delta, DeltaFacts, RowBlock, read_delta, write_delta
from extend.errors import CheckpointError, ExtendError, PathError, RefusedError
from tests.extend.delta_runs import BASE_FACTS, change_json, drawn, made_delta

PIECES = ("ර", "##ර", "කර")
FILES = (DELTA, "added.txt", "rows.safetensors", "scores.json")


def written(folder: Path, delta: Delta | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    write_delta(folder, delta or made_delta(PIECES, scores=(-1.5, -2.25, -0.1)))
    return folder


def rehash(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and its sha256 in delta.json."""
    (folder / name).write_bytes(data)
    stated = json.loads((folder / DELTA).read_text(encoding="utf-8"))["files"]
    change_json(folder / DELTA, {"files": {**stated, name: hashlib.sha256(data).hexdigest()}})


def outcome(folder: Path) -> Delta | ExtendError:
    try:
        return read_delta(folder)
    except ExtendError as told:
        return told


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scores", [(), (-1.5, -2.25, -0.1)])
@pytest.mark.parametrize("tied", [True, False])
def test_what_is_written_is_read(tmp_path, dtype, scores, tied):
    block = drawn(3, 5, seed=4, dtype=dtype)
    block = block if tied else RowBlock(block.rows, block.bias, block.rows.flip(0))
    delta = made_delta(PIECES, scores=scores, block=block)
    found = read_delta(written(tmp_path / "delta", delta))
    assert (found.facts, found.pieces, found.scores) == (delta.facts, delta.pieces, delta.scores)
    assert found.block.same_as(delta.block)
    assert found.block.dtype == dtype
    assert found.content_sha256() == found.facts.sha256


def test_the_same_delta_gives_the_same_bytes(tmp_path):
    folders = [written(tmp_path / name) for name in "ab"]
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1]
    assert set(contents[0]) == set(FILES)


def test_the_sha256_is_that_of_the_content_and_not_of_where_it_was_made():
    one = made_delta(PIECES)
    assert one.facts.sha256 == made_delta(PIECES, language="ug").facts.sha256
    others = [made_delta(PIECES, seed=2), made_delta(PIECES[::-1]), made_delta(PIECES, scores=(-1.0,) * 3)]
    others.append(
        made_delta(PIECES, block=RowBlock(drawn(3, 5, seed=1).rows.abs(), drawn(3, 5, seed=1).bias))
    )
    assert len({one.facts.sha256, *(other.facts.sha256 for other in others)}) == 5


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "longer", "gone", "folder"])
def test_a_damaged_file_is_named(tmp_path, name, damage):
    path = written(tmp_path / "delta") / name
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes({"cut": data[:-3], "empty": b"", "longer": data + b"x"}[damage])
    with pytest.raises(CheckpointError, match=name) as told:
        read_delta(path.parent)
    assert (told.value.name, told.value.exit_code) == ("E-DELTA", 8)
    assert told.value.why


@pytest.mark.parametrize("name", FILES[1:])
def test_every_flipped_bit_is_found(tmp_path, name):
    path = written(tmp_path / "delta") / name
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        with pytest.raises(CheckpointError, match=name):
            read_delta(path.parent)


def test_a_flipped_bit_of_the_facts_is_found_or_changes_nothing(tmp_path):
    delta = read_delta(written(tmp_path / "delta"))
    path = tmp_path / "delta" / DELTA
    data, refused = path.read_bytes(), 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 7)]) + data[place + 1 :])
        found = outcome(path.parent)
        if isinstance(found, ExtendError):
            assert (found.name, DELTA in found.what) == ("E-DELTA", True)
            refused += 1
        else:  # a blank between two values became another blank
            assert found.facts == delta.facts
    assert refused > 0.8 * len(data)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from(["schema", "language", "base", "added", "width", "dtype", "sha256", "files",
                            "checkpoint", "versions", "new"]), value=json_values)  # fmt: skip
def test_forged_facts_are_refused_or_change_no_row(tmp_path_factory, key, value):
    folder = tmp_path_factory.mktemp("forged")
    delta = read_delta(written(folder))
    change_json(folder / DELTA, {key: value})
    found = outcome(folder)
    if isinstance(found, ExtendError):
        assert found.exit_code in (8, 11)
    else:
        assert found.block.same_as(delta.block)
        assert found.pieces == delta.pieces


@given(data=st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_facts_are_told(tmp_path_factory, data):
    folder = written(tmp_path_factory.mktemp("any"))
    (folder / DELTA).write_bytes(data)
    with pytest.raises(CheckpointError, match=DELTA):
        read_delta(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"schema": ' + "9" * 6000 + "}"])
def test_facts_without_end_are_told(tmp_path, text):
    (written(tmp_path / "delta") / DELTA).write_text(text)
    with pytest.raises(CheckpointError, match=DELTA):
        read_delta(tmp_path / "delta")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_links_are_refused(tmp_path, name, target):
    path = written(tmp_path / "delta") / name
    (tmp_path / "elsewhere").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / target)
    with pytest.raises(RefusedError, match=name) as told:
        read_delta(path.parent)
    assert told.value.exit_code == 11


def test_a_pipe_is_not_waited_for(tmp_path):
    path = written(tmp_path / "delta") / "rows.safetensors"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match=r"rows\.safetensors"):
        read_delta(path.parent)


def test_no_folder_is_a_wrong_path(tmp_path):
    with pytest.raises(PathError):
        read_delta(tmp_path / "nothing")


def test_a_pickle_is_never_read(tmp_path):
    class Canary:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    folder = written(tmp_path / "delta")
    torch.save({"rows": Canary()}, tmp_path / "pickle")
    rehash(folder, "rows.safetensors", (tmp_path / "pickle").read_bytes())
    with pytest.raises(CheckpointError, match=r"rows\.safetensors"):
        read_delta(folder)
    assert not (tmp_path / "ran").exists()


def test_names_of_files_come_from_nowhere_else(tmp_path):
    folder = written(tmp_path / "delta")
    (tmp_path / "secret").write_text("secret")
    stated = json.loads((folder / DELTA).read_text(encoding="utf-8"))["files"]
    change_json(folder / DELTA, {"files": {**stated, "../secret": "0" * 64}})
    with pytest.raises(CheckpointError, match=DELTA):
        read_delta(folder)


def _rows(**changes: torch.Tensor) -> bytes:
    return save({"rows": torch.ones(3, 5), "bias": torch.ones(3), **changes})


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.safetensors", _rows(rows=torch.full((3, 5), float("nan")))),
        ("rows.safetensors", _rows(bias=torch.tensor([0.0, 1.0, float("inf")]))),
        ("rows.safetensors", _rows(rows=torch.ones(3, 4))),
        ("rows.safetensors", _rows(rows=torch.ones(4, 5))),
        ("rows.safetensors", _rows(rows=torch.ones(15))),
        ("rows.safetensors", _rows(rows=torch.ones(3, 5).half())),
        ("rows.safetensors", _rows(rows=torch.ones(3, 5).double(), bias=torch.ones(3).double())),
        ("rows.safetensors", _rows(more=torch.ones(1))),
        ("rows.safetensors", _rows(output=torch.ones(2, 5))),
        ("rows.safetensors", save({"rows": torch.ones(3, 5)})),
        ("added.txt", b"a\nb\nb\n"),
        ("added.txt", b"a\nb\n"),
        ("added.txt", b"a\nb c\nd\n"),
        ("added.txt", "a\n\u2028\nd\n".encode()),
        ("added.txt", b"a\n\x1b[2J\nd\n"),
        ("added.txt", b"a\n\xff\nd\n"),
        ("scores.json", b"[1.0, 2.0]"),
        ("scores.json", b"[1.0, 2.0, NaN]"),
        ("scores.json", b'{"a": 1.0}'),
        ("scores.json", b'[1.0, 2.0, "3"]'),
        ("scores.json", b"[" * 100_000),
    ],
)  # fmt: skip
def test_content_that_cannot_be_a_delta_is_told(tmp_path, name, data):
    folder = written(tmp_path / "delta")
    rehash(folder, name, data)
    with pytest.raises(CheckpointError) as told:
        read_delta(folder)
    assert told.value.name == "E-DELTA"


def test_exchanged_rows_are_found_though_every_hash_of_a_file_is_right(tmp_path):
    folder = written(tmp_path / "delta")
    rehash(folder, "rows.safetensors", _rows())
    with pytest.raises(CheckpointError, match="damaged") as told:
        read_delta(folder)
    assert "sha256" in told.value.why


def test_facts_are_json_and_back():
    facts = made_delta(PIECES).facts
    assert DeltaFacts.from_json(json.loads(json.dumps(facts.as_json()))) == facts
    for key in facts.as_json():
        with pytest.raises(ValueError, match=key):
            DeltaFacts.from_json({k: v for k, v in facts.as_json().items() if k != key})


def test_bases_differ_in_their_files_and_not_in_their_names():
    base = BASE_FACTS
    other = type(base)("other", "abc", base.weights, base.tokenizer, base.kind, base.size)
    assert base.differing(other) == []
    changed = type(base)("base", None, {"model.safetensors": "2" * 64}, base.tokenizer, base.kind, 71)
    assert base.differing(changed) == ["model.safetensors", "size"]
