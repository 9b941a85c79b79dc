"""Each encoder's own numbers on the new language: UNK rate, fertility, held-out MLM loss."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extend import store
from extend.blocks import open_stream, write_stream
from extend.corpus import count_words
from extend.hub import load_pretraining_model
from extend.pretrain import autocast_dtype, device_of_choice, held_out_loss
from extend.recipe.corpora import corpus_patterns, split_corpus
from extend.recipe.data import encoded_lines, masking_rule
from extend.recipe.run import OnProgress, Run, silent
from extend.tokenizer import (
    kind_of,
    load_tokenizer,
    special_ids,
    tokenizer_settings,
    word_segmenter,
    word_splitter,
)
from extend.types import Progress
from extend.vocab import measure


def measure_encoders(
    run: Run, encoders: Mapping[str, Path], on_progress: OnProgress = silent
) -> dict[str, Any]:
    """For every encoder: `unk_rate`, `fertility` and `mlm_loss` on the run's held-out lines.

    Losses over different vocabularies are means over different predictions: a base that reads most words as
    [UNK] predicts only the rest, and has no loss when it reads every word so. Written to encoders.json.
    """
    corpus = split_corpus(run, run.language.code, corpus_patterns(run))
    wanted, device, measured = run.settings.pretrain, device_of_choice(), {}
    for number, (name, folder) in enumerate(encoders.items()):
        on_progress(Progress("measure", number, len(encoders), name))
        tokenizer = load_tokenizer(folder)
        special = special_ids(tokenizer, tokenizer_settings(folder))
        words = count_words((document.text for document in corpus.unseen()), word_splitter(tokenizer))
        target = run.pretraining / "data" / f"{run.language.code}.{name}"
        write_stream(target, encoded_lines(tokenizer, corpus.unseen()), special=special)
        loss = held_out_loss(
            load_pretraining_model(folder).to(device),
            open_stream(target, run.language.code),
            length=wanted.length,
            special=special,
            rule=masking_rule(wanted),
            dtype=autocast_dtype(wanted.precision, device),
        )
        measured[name] = {
            **measure(words, word_segmenter(tokenizer), unknown=kind_of(tokenizer).unknown(tokenizer)),
            "mlm_loss": None if math.isnan(loss) else loss,
        }
    store.write_json(run.directory / "encoders.json", measured)
    on_progress(Progress("measure", len(encoders), len(encoders), "measured"))
    return measured
