"""A delta's folder: delta.json, added.txt, rows.safetensors, and scores.json for kinds with scores.

Every file is read once, and what is parsed are the very bytes whose sha256 was compared. Nothing in
delta.json names a file to read, links are refused, and no pickle is involved.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from extend import store
from extend.deltas.block import RowBlock
from extend.deltas.nouns import Delta, DeltaFacts, checksum
from extend.errors import CheckpointError, PathError, RefusedError, escaped

DELTA, PIECES, ROWS, SCORES = "delta.json", "added.txt", "rows.safetensors", "scores.json"
SCHEMA = 1
_MOST = {DELTA: 1 << 20, PIECES: 256 << 20, SCORES: 256 << 20}
_BLANK = 64 << 10


def write_delta(directory: Path, delta: Delta) -> None:
    """Write a delta into a folder that is being published."""
    store.write_text(directory / PIECES, "".join(f"{piece}\n" for piece in delta.pieces))
    names = [PIECES, ROWS]
    store.write_bytes(directory / ROWS, tensor_bytes(delta.block.named()))
    if delta.scores:
        store.write_json(directory / SCORES, list(delta.scores))
        names.append(SCORES)
    write_checked(
        directory / DELTA,
        {
            "schema": SCHEMA,
            **delta.facts.as_json(),
            "files": {name: store.sha256_file(directory / name) for name in names},
        },
    )


def read_delta(directory: Path) -> Delta:
    """The delta in a folder, after every byte of it was compared with what delta.json says.

    Raises PathError for a folder that is not there, CheckpointError E-DELTA naming the file that is missing
    or damaged, RefusedError for a link or a file too large.
    """
    if not directory.is_dir():
        raise PathError(f"{directory} is not a folder", name="E-PATH", next="give a folder with a delta.json")
    path = directory / DELTA
    value = read_checked(path)
    try:
        facts = DeltaFacts.from_json(value)
        hashes = value["files"]
        names = [PIECES, ROWS, SCORES][: len(hashes)]
        if not isinstance(hashes, dict) or set(hashes) != set(names) or len(names) < 2:
            raise ValueError("files is missing or not what it should be")
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, str(error)) from error
    content = {name: read_bytes(directory / name, most=_most(name, facts)) for name in names}
    for name in names:
        if hashlib.sha256(content[name]).hexdigest() != hashes[name]:
            raise damaged(directory / name, f"its sha256 is not the one in {DELTA}")
    tensors = read_tensors(directory / ROWS, content[ROWS])
    try:
        pieces = tuple(content[PIECES].decode("utf-8").split("\n")[:-1])
        scores = _scores(content[SCORES]) if SCORES in content else ()
        delta = Delta(facts, pieces, scores, RowBlock.of(tensors))
    except (ValueError, KeyError, RecursionError) as error:
        raise damaged(path, f"its files do not fit each other: {error}") from error
    if delta.content_sha256() != facts.sha256:
        raise damaged(path, "its sha256 is not that of its rows and pieces")
    return delta


def write_checked(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with its own `checksum`."""
    store.write_json(path, {**value, "checksum": checksum(value)})


def read_checked(path: Path) -> dict[str, Any]:
    """A JSON object that `write_checked` wrote. Raises as `read_delta` does."""
    data = read_bytes(path, most=_MOST.get(path.name, 256 << 20))
    try:
        value = json.loads(data)
        if not isinstance(value, dict):
            raise ValueError("it does not hold a JSON object")
        if value.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {value.get('schema')!r}, this version of extend knows {SCHEMA}")
        if checksum(value) != value.get("checksum"):
            raise ValueError("its checksum is not that of its content")
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    return value


def read_bytes(path: Path, *, most: int) -> bytes:
    """The content of a plain file of at most `most` bytes."""
    if path.is_symlink():
        raise RefusedError(f"{path} is a link", name="E-LINK", why="a delta is made of plain files")
    if not path.is_file():
        raise damaged(path, "it is not there")
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size) if size <= most else b""
    except OSError as error:
        raise store.as_extend_error(error, path) from error
    if size > most:
        raise RefusedError(f"{path} is larger than it can be", name="E-SIZE", why=f"at most {most:,} bytes")
    return data


def read_tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file. Raises CheckpointError E-DELTA."""
    try:
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise damaged(path, str(error)) from error
    return tensors


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The safetensors file of `tensors`; two names may stand for one storage."""
    written: bytes = save({name: tensor.contiguous().clone() for name, tensor in tensors.items()})
    return written


def damaged(path: Path, why: str) -> CheckpointError:
    """The refusal of a delta for one of its files."""
    return CheckpointError(
        f"{path} is damaged",
        name="E-DELTA",
        why=escaped(why, limit=160),
        done="nothing was written",
        next="make the delta again with extend delta, or copy its folder anew",
    )


def _most(name: str, facts: DeltaFacts) -> int:
    if name == ROWS:
        return facts.added * (2 * facts.width + 1) * 4 + _BLANK
    return _MOST[name]


def _scores(data: bytes) -> tuple[float, ...]:
    listed = json.loads(data)
    if not isinstance(listed, list) or not all(isinstance(score, float) for score in listed):
        raise ValueError(f"{SCORES} is no list of numbers")
    return tuple(listed)
