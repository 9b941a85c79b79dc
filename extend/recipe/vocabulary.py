"""Corpus to extended tokenizer: count, learn what the base lacks, append it, prove it."""

import time
from typing import Any

from extend import store
from extend.certificate import certify_tokenizer
from extend.corpus import corpus_sha256, count_words
from extend.hub import resolve_base
from extend.recipe.data import held_out_split
from extend.recipe.run import OnProgress, Run, silent
from extend.tokenizer import (
    kind_of,
    load_tokenizer,
    save_tokenizer,
    special_ids,
    subwords,
    word_segmenter,
    word_splitter,
)
from extend.types import Progress
from extend.vocab import extend_vocabulary
from extend.wordpiece import learn_subwords

STAGE = "vocab"


def vocabulary_settings(run: Run) -> dict[str, Any]:
    """What the extended tokenizer depends on."""
    settings = run.settings
    return {
        "lang": run.language.code,
        "base": settings.base,
        "revision": settings.revision,
        "corpus": settings.corpus,
        "run_seed": settings.seed,
        **{f"vocab.{key}": value for key, value in settings.vocab.model_dump().items()},
    }


def added_pieces(run: Run) -> tuple[str, ...]:
    """The new pieces in id order, from vocab/added.txt."""
    text = (run.vocabulary / "added.txt").read_text(encoding="utf-8")
    return tuple(text.split("\n")[:-1])
