"""Word vectors kept on disk, shared by all seeds and by later commands.

An entry is named by the hash of all its vectors follow from: weights, configuration and tokenizer of the
encoder, the words, what is read, the kind of device, the version of torch. So a changed file is never met
with old vectors. Entries are read by mapping: they take no memory that the system cannot have back.
"""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from extend import store
from extend.errors import PathError, SpaceError
from ner.features import WordFeatures, word_offsets

SCHEMA = 1
VECTORS = "vectors.bin"
LIMIT = 20 << 30
"""Bytes a cache holds by default."""

_OF_A_CHECKPOINT = {".json", ".txt", ".safetensors", ".model"}
_USED = ".used"
_NAME_LENGTH = 32

Compute = Callable[[], Iterator[Tensor]]


def checkpoint_facts(directory: Path) -> dict[str, str]:
    """sha256 by name of the files of a checkpoint folder that vectors depend on. Raises PathError."""
    paths = sorted(path for path in directory.glob("*") if path.suffix in _OF_A_CHECKPOINT and path.is_file())
    return dict(zip([path.name for path in paths], store.sha256_files(paths), strict=True))


def words_sha256(sentences: Iterable[Sequence[str]]) -> str:
    """One hash of all words in their sentences."""
    digest = hashlib.sha256()
    for words in sentences:
        digest.update("\x1f".join(words).encode("utf-8", "surrogatepass") + b"\x1e")
    return digest.hexdigest()


@dataclass
class FeatureCache:
    """A folder of word vectors that holds at most `limit` bytes; what was used longest ago goes first.

    `told` counts what happened: `found`, `made`, `removed`, `damaged` (set aside and made again), `not kept`
    (larger than the limit, or the disk refused it; the vectors are then held in memory).
    """

    directory: Path
    limit: int = LIMIT
    told: Counter[str] = field(default_factory=Counter)

    def features(
        self, facts: Mapping[str, Any], sentences: Sequence[Sequence[str]], compute: Compute
    ) -> WordFeatures:
        """The vectors that `compute` gives in chunks, from disk when they are there.

        Args:
            facts: all that the vectors follow from but the words; JSON.
            sentences: the words. compute: called when there is no sound entry; each call begins anew.
        """
        whole = {"schema": SCHEMA, **facts, "words": words_sha256(sentences)}
        whole["versions"] = {"torch": torch.__version__}
        offsets = word_offsets(sentences)
        if not offsets[-1]:
            return _in_memory(compute, offsets)
        key = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:_NAME_LENGTH]
        entry = self.directory / key
        if self._is_sound(entry, whole):
            self.told["found"] += 1
        elif not self._made(entry, whole, offsets, compute):
            self.told["not kept"] += 1
            return _in_memory(compute, offsets)
        self._use(key)
        return _mapped(entry, offsets)

    def _is_sound(self, entry: Path, whole: Mapping[str, Any]) -> bool:
        if not entry.exists():
            return False
        manifest = store.read_manifest(entry)
        if manifest and manifest.get("vectors") == whole and _shape(entry) and not store.verify(entry):
            return True
        store.set_aside(entry)
        self.told["damaged"] += 1
        return False

    def _made(self, entry: Path, whole: Mapping[str, Any], offsets: Sequence[int], compute: Compute) -> bool:
        """Whether a new entry was written. One that does not fit is not, and what makes no room stays."""
        chunks = compute()
        first = next(chunks)
        shape = [offsets[-1], *first.shape[1:]]
        size = first.element_size() * first[0].numel() * shape[0]
        if size > self.limit:
            return False
        facts = {"vectors": dict(whole), "shape": shape, "dtype": str(first.dtype).removeprefix("torch.")}
        try:
            self._make_room(size)
            store.require_space(self.directory, size)
            with store.publish_checked(entry, facts=facts) as publication:
                publication.write(VECTORS, map(_bytes, itertools.chain([first], chunks)))
        except (SpaceError, PathError):
            return False
        self.told["made"] += 1
        return True

    def _make_room(self, size: int) -> None:
        store.make_directory(self.directory)
        entries = [path for path in self.directory.iterdir() if path.is_dir() and path.name[0] != "."]
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in entries}
        stamps = self._stamps()
        for path in sorted(entries, key=lambda path: (stamps.get(path.name, 0), path.name)):
            if sum(sizes.values()) + size <= self.limit:
                return
            store.remove_directories([path])
            del sizes[path]
            self.told["removed"] += 1

    def _use(self, key: str) -> None:
        """Note that an entry was the last to be used. A count, not a time: clocks can be set."""
        stamps = self._stamps()
        latest = max(stamps.values(), default=0)
        if stamps.get(key) != latest or not latest:
            try:
                store.write_text(self.directory / f"{key}{_USED}", str(latest + 1))
            except (SpaceError, PathError):
                self.told["not noted"] += 1

    def _stamps(self) -> dict[str, int]:
        stamps = {}
        for path in self.directory.glob(f"*{_USED}"):
            text = path.read_bytes()[:20]
            stamps[path.name.removesuffix(_USED)] = int(text) if text.isdigit() else 0
        return stamps


def _in_memory(compute: Compute, offsets: tuple[int, ...]) -> WordFeatures:
    chunks = list(compute())
    return WordFeatures(torch.cat(chunks) if chunks else torch.empty(0, 0), offsets)


def _bytes(chunk: Tensor) -> memoryview:
    return chunk.contiguous().numpy().data.cast("B")


def _shape(entry: Path) -> tuple[int, ...] | None:
    """The shape of an entry's vectors, when its file has just as many bytes."""
    manifest = store.read_manifest(entry) or {}
    shape, dtype = manifest.get("shape"), manifest.get("dtype")
    if not isinstance(shape, list) or not all(isinstance(side, int) and side > 0 for side in shape):
        return None
    if dtype not in ("float32", "float16") or not (entry / VECTORS).is_file():
        return None
    size = torch.Size(shape).numel() * (4 if dtype == "float32" else 2)
    return tuple(shape) if (entry / VECTORS).stat().st_size == size else None


def _mapped(entry: Path, offsets: tuple[int, ...]) -> WordFeatures:
    manifest, shape = store.read_manifest(entry) or {}, _shape(entry)
    if shape is None:
        raise PathError(f"cannot use {entry}: it changed while it was read", name="E-CACHE")
    dtype = torch.float32 if manifest["dtype"] == "float32" else torch.float16
    size = torch.Size(shape).numel()
    vectors = torch.from_file(str(entry / VECTORS), shared=False, size=size, dtype=dtype)
    return WordFeatures(vectors.view(shape), offsets)
