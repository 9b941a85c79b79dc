"""What a delta is: facts about where it belongs, its pieces in id order, and their rows and biases."""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from extend.deltas.block import RowBlock, as_bytes

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
_LONGEST = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}")
_MOST = 1 << 31


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """The base a delta belongs to: what it was called, its commit, and the sha256 of the files that decide.

    `weights` are its safetensors files by name, `tokenizer` the files its tokenizer is read from, `kind` that
    tokenizer's kind (WordPiece, Unigram) and `size` its number of pieces: the id of the first new one.
    """

    name: str
    revision: str | None
    weights: Mapping[str, str]
    tokenizer: Mapping[str, str]
    kind: str
    size: int

    def differing(self, other: "BaseFacts") -> list[str]:
        """Names of the files in which two bases differ, or kind or size; names and commits do not count."""
        mine, others = self._decisive(), other._decisive()
        return sorted(name for name in mine.keys() | others.keys() if mine.get(name) != others.get(name))

    def _decisive(self) -> dict[str, object]:
        return {"kind": self.kind, "size": self.size, **self.weights, **self.tokenizer}


@dataclass(frozen=True, slots=True)
class DeltaFacts:
    """What delta.json says of a delta.

    `language` is a BCP 47 tag, `dtype` one of DTYPES, `checkpoint` what it was taken from (grown, model),
    `versions` those of the libraries it was made with, `sha256` that of pieces, scores, rows and biases
    together.
    """

    language: str
    base: BaseFacts
    added: int
    width: int
    dtype: str
    checkpoint: str
    versions: Mapping[str, str]
    sha256: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "DeltaFacts":
        """The inverse of `as_json`; keys it does not know are left. Raises ValueError naming the key."""
        return DeltaFacts(
            language=_taken(value, "language", _is_tag),
            base=_base_from_json(_taken(value, "base", _is_object)),
            added=_taken(value, "added", lambda found: _is_count(found) and found > 0),
            width=_taken(value, "width", lambda found: _is_count(found) and found > 0),
            dtype=_taken(value, "dtype", lambda found: isinstance(found, str) and found in DTYPES),
            checkpoint=_taken(value, "checkpoint", _is_name),
            versions=_taken(value, "versions", _is_names),
            sha256=_taken(value, "sha256", _is_sha256),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """The new pieces of one language in id order, with their scores where the kind has them, and their rows.

    The values of `block` have the type that `facts.dtype` names. Raises ValueError for parts that do not fit
    each other, a piece twice or with a blank or control character, and values that are not finite.
    """

    facts: DeltaFacts
    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    block: RowBlock

    def __post_init__(self) -> None:
        facts, pieces = self.facts, self.pieces
        if not pieces or len(set(pieces)) != len(pieces):
            raise ValueError("a delta has at least one piece, and each of them once")
        wrong = next((piece for piece in pieces if not piece or any(map(_breaks, piece))), None)
        if wrong is not None:
            raise ValueError(f"a piece has no blank and no control character, got {wrong!r}")
        if self.scores and len(self.scores) != len(pieces):
            raise ValueError(f"{len(pieces)} pieces, {len(self.scores)} scores")
        if not all(map(math.isfinite, self.scores)):
            raise ValueError("a score is not a finite number")
        if len(pieces) != facts.added or self.block.rows.shape != (facts.added, facts.width):
            raise ValueError(f"{len(pieces)} pieces and rows of shape {tuple(self.block.rows.shape)}")
        if self.block.dtype != DTYPES[facts.dtype]:
            raise ValueError(f"the rows are not {facts.dtype}")
        if not self.block.finite():
            raise ValueError("a value is not a finite number")

    def content_sha256(self) -> str:
        """Of pieces, scores, type, rows and biases: the same whatever library wrote the files."""
        return _content_sha256(self.pieces, self.scores, self.block)


def new_delta(
    pieces: Sequence[str],
    scores: Sequence[float],
    block: RowBlock,
    *,
    language: str,
    base: BaseFacts,
    checkpoint: str,
    versions: Mapping[str, str],
) -> Delta:
    """A delta with the facts that follow from its content. Raises ValueError for what cannot be one."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    if block.dtype not in names:
        raise ValueError(f"rows are of one of {', '.join(DTYPES)}, got {block.dtype}")
    facts = DeltaFacts(
        language=language,
        base=base,
        added=len(pieces),
        width=block.rows.shape[1],
        dtype=names[block.dtype],
        checkpoint=checkpoint,
        versions=versions,
        sha256=_content_sha256(pieces, scores, block),
    )
    return Delta(facts, tuple(pieces), tuple(scores), block)


def checksum(value: Mapping[str, Any]) -> str:
    """sha256 of a JSON object without its own `checksum`, independent of spaces and the order of keys."""
    content = {key: entry for key, entry in value.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _base_from_json(value: Mapping[str, Any]) -> BaseFacts:
    return BaseFacts(
        name=_taken(value, "name", _is_name),
        revision=_taken(value, "revision", lambda found: found is None or _is_name(found)),
        weights=_taken(value, "weights", _is_hashes),
        tokenizer=_taken(value, "tokenizer", _is_hashes),
        kind=_taken(value, "kind", _is_name),
        size=_taken(value, "size", _is_count),
    )


def _content_sha256(pieces: Sequence[str], scores: Sequence[float], block: RowBlock) -> str:
    tensors = block.named()
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    spelt = json.dumps([str(block.dtype), shapes, list(pieces), list(scores)], separators=(",", ":"))
    digest = hashlib.sha256(spelt.encode())
    for tensor in tensors.values():
        digest.update(as_bytes(tensor))
    return digest.hexdigest()


def _breaks(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cs")


def _taken(value: Mapping[str, Any], key: str, fits: Callable[[Any], bool]) -> Any:
    if key not in value or not fits(value[key]):
        raise ValueError(f"{key} is missing or not what it should be")
    return value[key]


def _is_object(found: Any) -> bool:
    return isinstance(found, dict)


def _is_name(found: Any) -> bool:
    return isinstance(found, str) and 0 < len(found) <= _LONGEST and found.isprintable()


def _is_tag(found: Any) -> bool:
    return isinstance(found, str) and _TAG.fullmatch(found) is not None


def _is_count(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and 0 <= found < _MOST


def _is_names(found: Any) -> bool:
    return isinstance(found, dict) and all(_is_name(key) and _is_name(entry) for key, entry in found.items())


def _is_sha256(found: Any) -> bool:
    return isinstance(found, str) and _SHA256.fullmatch(found) is not None


def _is_hashes(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and bool(found)
        and all(_is_name(k) and _is_sha256(v) for k, v in found.items())
    )
