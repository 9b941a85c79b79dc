"""The text of a run: files as they are; streamed datasets spooled once into the run folder."""

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from extend import store
from extend.config import expand
from extend.corpus import find_files, read_corpus, split_held_out
from extend.hub import stream_dataset
from extend.recipe.run import Run
from extend.types import Document

STREAMED = "hf:"
WIKIPEDIA = "hf:wikimedia/wikipedia:20231101."
_BATCH = 1000


def corpus_patterns(run: Run) -> list[str]:
    """What the run's text is: `corpus`, by default the language's Wikipedia from the hub."""
    return run.settings.corpus or [f"{WIKIPEDIA}{run.language.code}"]


def text_files(run: Run, patterns: Sequence[str]) -> list[Path]:
    """Files for `patterns`, in byte order of their paths; `hf:` datasets are fetched once.

    A dataset lies in `corpus/` as plain text afterwards, its records apart by blank lines, because text is
    read several times (counts, held-out lines, training).
    """
    fetched = [_spooled(run, pattern) for pattern in patterns if pattern.startswith(STREAMED)]
    local = [expand(pattern) for pattern in patterns if not pattern.startswith(STREAMED)]
    return find_files([*local, *map(str, fetched)])


def held_out_split(run: Run, language: str, patterns: Sequence[str]) -> tuple[list[Document], list[Document]]:
    """A language's corpus in two: what is learned from, and the seeded sample that never is."""
    vocab = run.settings.vocab
    return split_held_out(
        read_corpus(text_files(run, patterns), language),
        share=vocab.held_out_share,
        least=vocab.held_out_lines,
        seed=run.settings.seed,
    )


def _spooled(run: Run, spec: str) -> Path:
    folder = run.directory / "corpus" / re.sub(r"[^\w.-]+", "_", spec.removeprefix(STREAMED))
    if not store.is_published(folder):
        with store.publish_directory(folder, manifest=True) as temporary:
            for batch in _batches(stream_dataset(spec, language=run.language.code)):
                text = "".join(f"{document.text}\n\n" for document in batch)
                store.append_bytes(temporary / "text.txt", text.encode("utf-8"))
    return folder / "text.txt"


def _batches(documents: Iterable[Document]) -> Iterable[list[Document]]:
    source = iter(documents)
    return iter(lambda: list(itertools.islice(source, _BATCH)), [])
