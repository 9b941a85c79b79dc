"""Trained vectors, kept by what they were made of, so that the same ones are not trained twice."""

import dataclasses
import hashlib
import importlib.metadata
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from extend import store
from extend.errors import ExtendError
from extend.vectors.nouns import PieceVectors
from extend.vectors.training import Cbow

_SCHEMA = 1
_FACTS, _IDS, _ROWS = "facts.json", "ids.npy", "rows.npy"


def vectors_key(*, corpus: str, tokenizer: str, first_new: int, seed: int, cbow: Cbow) -> str:
    """The sha256, in hexadecimal, of all that trained vectors depend on.

    `corpus` is the fingerprint of the text, `tokenizer` the sha256 of tokenizer.json. The versions of gensim
    and numpy count too: either may draw or add up otherwise.
    """
    versions = {name: importlib.metadata.version(name) for name in ("gensim", "numpy")}
    made_of = {
        "schema": _SCHEMA,
        "corpus": corpus,
        "tokenizer": tokenizer,
        "first_new": first_new,
        "seed": seed,
        "cbow": dataclasses.asdict(cbow),
        "versions": versions,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode("utf-8")).hexdigest()


def cached_vectors(directory: Path, key: str, make: Callable[[], PieceVectors]) -> PieceVectors:
    """What `make` gives, taken from `directory` when it lies there under `key`, every byte as it was written.

    Only the rows that are not zero are kept, in numpy's own form without pickles. A damaged entry is set
    aside as `*.bad` and made anew. Raises PathError or SpaceError when it cannot be written.
    """
    folder = directory / f"vectors-{key[:32]}"
    if store.is_published(folder):
        found = _read(folder, key)
        if found is not None:
            return found
        store.set_aside(folder)
    made = make()
    ids = np.flatnonzero(made.present)
    facts = {"schema": _SCHEMA, "key": key, "pieces": len(made.vectors), "dimension": made.vectors.shape[1]}
    with store.publish_directory(folder, manifest=True) as temporary:
        store.write_bytes(temporary / _IDS, _as_npy(ids.astype("<i8")))
        store.write_bytes(temporary / _ROWS, _as_npy(made.vectors[ids].astype("<f4")))
        store.write_json(temporary / _FACTS, facts)
    return made


def _as_npy(array: npt.NDArray[Any]) -> bytes:
    written = io.BytesIO()
    np.save(written, array, allow_pickle=False)
    return written.getvalue()


def _read(folder: Path, key: str) -> PieceVectors | None:
    """None when anything there is not as it was written."""
    try:
        if store.verify(folder):
            return None
        facts = store.read_json(folder / _FACTS)
        if (facts["schema"], facts["key"]) != (_SCHEMA, key):
            return None
        ids, rows = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (_IDS, _ROWS))
        vectors = np.zeros((facts["pieces"], facts["dimension"]), dtype=np.float32)
        vectors[ids] = rows
    except (ExtendError, OSError, ValueError, KeyError, IndexError, TypeError):
        return None
    return PieceVectors(vectors)
