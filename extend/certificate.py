"""Proof that a written tokenizer, and the model grown for it, are what was meant.

Eight assertions, each of which caught a real failure of some published extension. The tokenizer is read
back by `AutoTokenizer` in a new process, which is how a user will read it.
"""

import json
import mmap
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from extend import store
from extend.errors import CheckpointError, escaped
from extend.types import VocabularyExtension

CASE_PROBE = "Hello Ünïcode ọ̀"
PROBES = (
    CASE_PROBE,
    "The quick brown fox, 1984: 3.14%!",
    "Съешь ещё этих мягких булок",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "نص عربي قصير",
    "می\u200cخواهم بدانم",
    "שלום עולם",
    "हिन्दी में एक वाक्य",
    "தமிழ் மொழி",
    "ภาษาไทย",
    "中文和日本語のテスト",
    "한국어 문장",
    "ქართული ენა",
    "emoji 👩\u200d👩\u200d👧 🇰🇿 ✓",
    "e\u0301 n\u0303 (decomposed)",
    "literal ##ing and ▁word and Ġword",
    "a [MASK] written out, [UNK] too",
    "x" * 600,
    "tabs\tand\u00a0blanks\u3000and\u2028separators",
    "",
)
_RELOAD = """
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
probes = json.load(sys.stdin)
normalizer = tokenizer.backend_tokenizer.normalizer
names = ("pad", "unk", "cls", "sep", "mask")
json.dump(
    {
        "size": len(tokenizer),
        "vocabulary": tokenizer.get_vocab(),
        "special": {name: getattr(tokenizer, name + "_token_id") for name in names},
        "added": tokenizer.get_added_vocab(),
        "ids": [tokenizer(probe)["input_ids"] for probe in probes],
        "normal": normalizer.normalize_str(probes[0]) if normalizer else probes[0],
    },
    sys.stdout,
)
"""
_ROLES = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_EMBEDDINGS = ("embeddings.word_embeddings.weight", "embeddings.tok_embeddings.weight")
_BIASES = ("cls.predictions.bias", "cls.predictions.decoder.bias", "decoder.bias")
_DECODERS = ("cls.predictions.decoder.weight", "decoder.weight")
_COMPARED = 1 << 24


def certify_tokenizer(
    directory: Path,
    extension: VocabularyExtension,
    *,
    base: Tokenizer,
    extended: Tokenizer,
    held_out: Mapping[str, Mapping[str, float]],
    drift: Mapping[str, Any],
    texts: Sequence[str] = (),
) -> dict[str, Any]:
    """Assertions 1 to 4 and 6 to 8 on the tokenizer folder `directory`, written from `extended`.

    `held_out` has `base` and `extended`, each with `fertility` and `unk_rate`; `texts` are lines of the new
    language, probed beside the fixed ones. Returns the assertions that held and how many texts were
    probed. Raises CheckpointError E-CERTIFICATE naming the first that did not.

    Assertion 6 asks for lower fertility only of words that were spelt before: in a new script every word
    was one [UNK], and a fertility of 1.0 was the failure.
    """
    before, after = held_out["base"], held_out["extended"]
    spelt = after["unk_rate"] < before["unk_rate"] or (
        after["unk_rate"] == before["unk_rate"] and after["fertility"] <= before["fertility"]
    )
    _hold(6, "held-out words", spelt, f"unk_rate and fertility went from {dict(before)} to {dict(after)}")
    measured = {"sample", "words_changed", "words_newly_unk"} <= drift.keys()
    _hold(8, "drift", measured, "the drift of the old languages was not measured")
    probes = [*PROBES, *texts]
    found = _reloaded(directory, probes)
    pieces = extension.base.pieces + extension.added
    _hold(1, "ids", found["size"] == len(pieces), f"{found['size']} pieces instead of {len(pieces)}")
    moved = [piece for index, piece in enumerate(pieces) if found["vocabulary"].get(piece) != index]
    _hold(1, "ids", not moved, f"{len(moved)} pieces have another id, the first {escaped(str(moved[:1]))}")
    special = {role: base.token_to_id(token) for role, token in _ROLES.items()}
    _hold(2, "special ids", found["special"] == special, f"{found['special']} instead of {special}")
    added = {token.content: index for index, token in base.get_added_tokens_decoder().items()}
    _hold(3, "added tokens", found["added"] == added, f"{len(found['added'])} instead of {len(added)}")
    for probe, ids in zip(probes, found["ids"], strict=True):
        same = ids == extended.encode(probe).ids
        _hold(4, "reload", same, f"a new process gives other ids for {escaped(probe, limit=40)}")
    normalizer = base.normalizer
    normal = normalizer.normalize_str(CASE_PROBE) if normalizer else CASE_PROBE
    _hold(7, "case and accents", found["normal"] == normal, f"{found['normal']!r} instead of {normal!r}")
    held = "ids, special ids, added tokens, reload, held-out words, case and accents, drift"
    return {"held": held.split(", "), "probes": len(probes)}


def certify_model(directory: Path, *, base: Path, old: int, size: int) -> dict[str, Any]:
    """Assertions 1 and 5 on a model folder grown from the folder `base`, both with model.safetensors.

    `old` pieces are the base tokenizer's, `size` the extended one's. The stored bytes are compared. Raises
    CheckpointError E-CERTIFICATE naming the first assertion that does not hold.
    """
    config = store.read_json(directory / "config.json")
    vocab_size = config.get("vocab_size")
    _hold(1, "ids", vocab_size == size, f"config.json has vocab_size {vocab_size}, the tokenizer {size}")
    grown, before = _Tensors(directory / "model.safetensors"), _Tensors(base / "model.safetensors")
    rows, bias = grown.one_of(_EMBEDDINGS), grown.one_of(_BIASES)
    for what, new, was in (
        ("embedding", rows, before.one_of(_EMBEDDINGS)),
        ("decoder bias", bias, before.one_of(_BIASES)),
    ):
        _hold(1, "ids", new.shape[0] == size, f"the {what} has {new.shape[0]} rows, not {size}")
        same = was.shape[0] >= old and new.starts_as(was, old)
        _hold(5, "old rows", same, f"old rows of the {what} are not bit-identical to the base's")
    decoder = grown.find(_DECODERS)
    tied = decoder is None or decoder.starts_as(rows, size)
    _hold(5, "old rows", tied, "the decoder is no longer the embedding")
    return {"held": ["ids", "old rows"], "rows": size, "old_rows": old}


def _hold(number: int, name: str, holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckpointError(
            f"assertion {number} ({name}) of the certificate does not hold: {otherwise}",
            name="E-CERTIFICATE",
            why="the folder would not do what it says; it was not published",
        )


def _reloaded(directory: Path, probes: Sequence[str]) -> dict[str, Any]:
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.run(
        [sys.executable, "-P", "-c", _RELOAD, str(directory)],
        input=json.dumps(list(probes)).encode(),
        capture_output=True,
        env={**os.environ, **offline},
        timeout=600,
        check=False,
    )
    if process.returncode:
        last = process.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        _hold(
            4, "reload", False, escaped(f"AutoTokenizer cannot load {directory}: {''.join(last)}", limit=160)
        )
    found: dict[str, Any] = json.loads(process.stdout)
    return found


@dataclass(frozen=True)
class _Stored:
    """One tensor as it lies in a file."""

    shape: tuple[int, ...]
    kind: str
    data: memoryview

    def starts_as(self, other: "_Stored", rows: int) -> bool:
        """Whether the first `rows` rows of both are the same bytes of the same kind."""
        mine, others = self._first(rows), other._first(rows)
        if (self.kind, self.shape[1:], len(mine)) != (other.kind, other.shape[1:], len(others)):
            return False
        steps = range(0, len(mine), _COMPARED)
        return all(bytes(mine[at : at + _COMPARED]) == bytes(others[at : at + _COMPARED]) for at in steps)

    def _first(self, rows: int) -> memoryview:
        return self.data[: len(self.data) // max(self.shape[0], 1) * rows]


class _Tensors:
    """A safetensors file as stored bytes: a header of names and offsets, then the data."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with open(path, "rb") as file:
                stored = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            length = int.from_bytes(stored[:8], "little")
            self._header: dict[str, Any] = json.loads(stored[8 : 8 + length])
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} is not a readable safetensors file", name="E-CHECKPOINT", why=escaped(str(error))
            ) from error
        self._data = memoryview(stored)[8 + length :]

    def find(self, endings: Sequence[str]) -> _Stored | None:
        """The tensor whose name ends as one of `endings`, the first ending first."""
        for ending in endings:
            for name, entry in self._header.items():
                if name == ending or name.endswith("." + ending):
                    start, end = entry["data_offsets"]
                    return _Stored(tuple(entry["shape"]), entry["dtype"], self._data[start:end])
        return None

    def one_of(self, endings: Sequence[str]) -> _Stored:
        found = self.find(endings)
        if found is None:
            raise CheckpointError(
                f"{self._path} has no tensor {endings[0]}", name="E-CHECKPOINT", why="it has no MLM head"
            )
        return found
