"""JSON of unknown worth, read with its place: a wrong kind of value is told as `file: key`."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extend.errors import CheckpointError, escaped
from extend.store import as_extend_error, read_json

MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stood. Missing keys give None, "" or an empty node; wrong kinds raise."""

    value: Any
    place: str

    def __bool__(self) -> bool:
        return self.value not in (None, {}, [])

    def node(self, key: str) -> "Node":
        """The value under `key`, empty when there is none. Raises CheckpointError when this is no table."""
        return Node(self._table().get(key), f"{self.place}: {escaped(key)}")

    def items(self) -> Iterator[tuple[str, "Node"]]:
        for key in self._table():
            yield _text(key), self.node(key)

    def elements(self) -> Iterator["Node"]:
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self._wrong("a list")
        for index, element in enumerate(self.value):
            yield Node(element, f"{self.place}[{index}]")

    def as_number(self) -> float | None:
        """The number, or None when there is none or it is not finite: nothing was measured then."""
        if self.value is None:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self._wrong("a number")
        try:
            return float(self.value) if math.isfinite(self.value) else None
        except OverflowError:
            raise self._wrong("a number that fits in 64 bits") from None

    def as_text(self) -> str:
        if self.value is None:
            return ""
        if not isinstance(self.value, str):
            raise self._wrong("text")
        return _text(self.value)

    def number(self, key: str) -> float | None:
        return self.node(key).as_number()

    def whole(self, key: str) -> int | None:
        number = self.number(key)
        return None if number is None else round(number)

    def text(self, key: str) -> str:
        return self.node(key).as_text()

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(element.as_text() for element in self.node(key).elements())

    def numbers(self, key: str) -> tuple[float, ...]:
        """The finite numbers of a list."""
        found = (element.as_number() for element in self.node(key).elements())
        return tuple(number for number in found if number is not None)

    def leaves(self, depth: int = MAX_DEPTH) -> Iterator[tuple[str, "Node"]]:
        """Every value that is no table or list, with its dotted name."""
        if isinstance(self.value, dict) and depth:
            for key, node in self.items():
                for name, leaf in node.leaves(depth - 1):
                    yield (f"{key}.{name}" if name else key), leaf
        elif not isinstance(self.value, (dict, list)):
            yield "", self

    def numeric_leaves(self) -> dict[str, float]:
        pairs = ((name, leaf) for name, leaf in self.leaves() if _is_number(leaf.value))
        return {name: number for name, leaf in pairs if (number := leaf.as_number()) is not None}

    def text_leaves(self) -> dict[str, str]:
        return {name: leaf.as_text() for name, leaf in self.leaves() if isinstance(leaf.value, str)}

    def _table(self) -> dict[str, Any]:
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self._wrong("a table")
        return self.value

    def _wrong(self, expected: str) -> CheckpointError:
        got = escaped(repr(self.value), limit=40)
        return CheckpointError(
            f"{self.place}: expected {expected}, got {got}",
            name="E-RUN-FILE",
            why="the file was changed by hand, or by another version",
            next="run the stage that writes this file again",
        )


def leaf_text(leaf: Node) -> str:
    """A setting as TOML would write it, text without its quotes."""
    if isinstance(leaf.value, bool):
        return str(leaf.value).lower()
    return leaf.as_text() if isinstance(leaf.value, str) else str(leaf.value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(text: str) -> str:
    """Text that UTF-8 can hold: a lone surrogate from a JSON escape becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_node(path: Path) -> Node:
    """The file's value, or an empty node when there is no such file."""
    return Node(read_json(path) if path.is_file() else None, str(path))


def read_nodes(path: Path) -> Iterator[Node]:
    """One node a line of JSON. A last line without its line end was cut by a kill and is passed over."""
    if not path.is_file():
        return
    try:
        data = path.read_bytes()
    except OSError as error:
        raise as_extend_error(error, path) from error
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        if not line.strip():
            continue
        try:
            yield Node(json.loads(line), f"{path}:{number}")
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{path}:{number} is not valid JSON", name="E-JSON", why=escaped(str(error), limit=200)
            ) from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, none when there is no such file."""
    if not path.is_file():
        return []
    try:
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    except OSError as error:
        raise as_extend_error(error, path) from error
    return lines[:-1] if lines[-1] == "" else lines


def told(warnings: Node) -> tuple[str, ...]:
    """The texts of a list of warnings, each once; `{name, text}`, in older releases `{name, what}`."""
    texts = (node.text("text") or node.text("what") for node in warnings.elements())
    return tuple(dict.fromkeys(text for text in texts if text))
