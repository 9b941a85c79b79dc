"""Folders read in a new process, which is how a user will read them, and what that process answered."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from extend.errors import escaped

PROGRAM = Path(__file__).with_name("reloader.py")
TIMEOUT_SECONDS = 300
_ALONE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class Reading:
    """A tokenizer as AutoTokenizer gives it.

    `special` has, by role, the token and its id; `ids` the ids of each text with the special tokens around
    them; `normal` the normal form of the text that was sent as `case`.
    """

    size: int
    vocabulary: Mapping[str, int]
    special: Mapping[str, tuple[str, int] | None]
    added: Mapping[str, int]
    ids: Sequence[Sequence[int]]
    normal: str

    @property
    def pieces(self) -> tuple[str, ...]:
        """In id order; a hole in the ids shows in `vocabulary` alone."""
        return tuple(sorted(self.vocabulary, key=lambda piece: self.vocabulary[piece]))


@dataclass(frozen=True)
class Answer:
    """What was read of one folder. A reading is None where there was none, or where `errors` says why."""

    fast: Reading | None
    direct: Mapping[str, Any] | None = None
    slow: Mapping[str, Any] | None = None
    proto: Mapping[str, Any] | None = None
    errors: Mapping[str, str] = field(default_factory=dict)

    def naming(self, directory: Path, copy: Path) -> "Answer":
        """The answer on a copy, as one on `directory`."""
        errors = {name: why.replace(str(copy), str(directory)) for name, why in self.errors.items()}
        return replace(self, errors={name: escaped(why, limit=160) for name, why in errors.items()})


def read_folders(
    folders: Mapping[Path, Sequence[str]],
    texts: Sequence[str],
    *,
    case: str,
    python: str = sys.executable,
) -> tuple[list[Answer], dict[str, str]]:
    """Each folder as a new process reads it, and the versions of what read it.

    `folders` has, by folder, the readings of `reloader.answer` that are wanted of it; `python` is the
    interpreter, this environment's or that of another with transformers in it. The process is offline, runs
    no code of the folder and has a time limit. When it fails as a whole, every answer carries the reason.
    """
    request = {
        "folders": [[str(folder.resolve()), list(readings)] for folder, readings in folders.items()],
        "texts": list(texts),
        "case": case,
    }
    try:
        answered = _ask(request, python)
    except _NoAnswerError as error:
        failed = Answer(fast=None, errors={"fast": escaped(str(error), limit=160)})
        return [failed] * len(folders), {}
    return [_answer(found) for found in answered["folders"]], answered["versions"]


class _NoAnswerError(Exception):
    """The process died, or took too long."""


def _ask(request: Mapping[str, Any], python: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    try:
        process = subprocess.run(
            [python, "-P", str(PROGRAM)],
            input=json.dumps(request).encode(),
            capture_output=True,
            env={**environment, **_ALONE},
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _NoAnswerError(f"no answer in {TIMEOUT_SECONDS} seconds") from error
    if process.returncode:
        last = process.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise _NoAnswerError("".join(last) or f"exit code {process.returncode}")
    answered: dict[str, Any] = json.loads(process.stdout)
    return answered


def _answer(found: Mapping[str, Any]) -> Answer:
    errors = {
        name: escaped(reading["error"], limit=400)
        for name, reading in found.items()
        if reading is not None and "error" in reading
    }
    sound: dict[str, Any] = {name: reading for name, reading in found.items() if name not in errors}
    fast = sound.pop("fast", None)
    return Answer(fast=_reading(fast) if fast else None, errors=errors, **sound)


def _reading(fast: Mapping[str, Any]) -> Reading:
    special = {role: (token[0], token[1]) if token else None for role, token in fast["special"].items()}
    return Reading(**{**fast, "special": special})
