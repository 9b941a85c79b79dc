"""What a speaker or a project gives beside the corpus: pieces never to take, text never to cut otherwise."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from extend import store
from extend.config import expand
from extend.corpus import corpus_sha256, count_words, find_files, read_corpus
from extend.errors import DataError, escaped
from extend.recipe.run import Run
from extend.tokenizer import AbstractTokenizerKind, word_splitter
from extend.types import Subword, WordCounts

COMMENT = "# "
MAX_VETO_BYTES = 64 << 20


@dataclass(frozen=True)
class VocabularyInputs:
    """`vetoed` are pieces as the file spells them, `protected` pre-tokenized words of each file by name."""

    vetoed: tuple[str, ...] = ()
    protected: Mapping[str, WordCounts] = field(default_factory=dict)


def read_inputs(run: Run, base: Tokenizer) -> VocabularyInputs:
    """The files that `vocab.veto` and `vocab.protect` name, read. Raises PathError, DataError."""
    veto, split = run.settings.vocab.veto, word_splitter(base)
    protected = {
        path.name: count_words((document.text for document in read_corpus([path], "und")), split)
        for path in protect_files(run)
    }
    return VocabularyInputs(read_veto(Path(expand(veto))) if veto else (), protected)


def protect_files(run: Run) -> list[Path]:
    """Files of text whose words must keep their segmentation, in byte order of their paths."""
    patterns = run.settings.vocab.protect
    return find_files([expand(pattern) for pattern in patterns]) if patterns else []


def read_veto(path: Path) -> tuple[str, ...]:
    """Pieces as spelled, one a line; empty lines and those that start with `# ` are none.

    Raises PathError when it cannot be read, DataError E-VETO with the line when it is not text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise store.as_extend_error(error, path) from error
    try:
        text = data[: MAX_VETO_BYTES + 1].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{escaped(str(path))}:{line}: line is not UTF-8", name="E-VETO") from error
    if len(data) > MAX_VETO_BYTES or "\0" in text:
        raise DataError(f"{escaped(str(path))} is not a list of pieces", name="E-VETO")
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return tuple(dict.fromkeys(line for line in lines if line and not line.startswith(COMMENT)))


def forbidden_subwords(kind: AbstractTokenizerKind, pieces: tuple[str, ...]) -> frozenset[Subword]:
    """The vetoed pieces as the learner sees them; what is no part of a word could not be learned anyway."""
    found = set()
    for piece in pieces:
        try:
            found.add(kind.parse(piece))
        except ValueError:
            continue
    return frozenset(found)


def input_settings(run: Run) -> dict[str, Any]:
    """What identifies these files in the manifest: their contents."""
    veto = run.settings.vocab.veto
    files = protect_files(run)
    return {
        "vocab.veto": hashlib.sha256("\n".join(read_veto(Path(expand(veto)))).encode()).hexdigest()
        if veto
        else None,
        "vocab.protect": corpus_sha256(files) if files else None,
    }
