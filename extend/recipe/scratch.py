"""A base from nothing: vocabulary, fresh weights, masked-language-model training on several languages."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from extend import store
from extend.architectures import new_model
from extend.config import expand
from extend.errors import UsageError
from extend.recipe.corpora import count_split, split_corpus
from extend.recipe.pretraining import (
    Plan,
    check_training,
    held,
    together,
    train_model,
    trained_already,
    training_settings,
)
from extend.recipe.run import OnProgress, Run, silent
from extend.tokenizer import (
    SPECIALS,
    kind_of,
    load_tokenizer,
    new_wordpiece_tokenizer,
    read_vocabulary,
    save_tokenizer,
    special_ids,
    tokenizer_settings,
    word_segmenter,
    word_splitter,
)
from extend.types import Progress, Vocabulary, WordCounts
from extend.vocab import cut_vocabulary
from extend.wordpiece import learn_subwords


def train_from_scratch(
    run: Run, on_progress: OnProgress = silent, *, accept_data_change: bool = False
) -> dict[str, Any]:
    """Train the base that `scratch` describes and publish `model/`; the same command resumes.

    The vocabulary is `scratch.vocabulary` cut to the pieces that occur, or learned from the corpora. With
    two languages, the source and the new one, this is the paper's bilingual baseline (B-BERT).
    Returns the content of pretrain/report.json.
    """
    corpora, wanted = run.settings.scratch.languages, run.settings.scratch
    if not corpora:
        raise no_text()
    check_training(run, grown=False)
    settings = {**training_settings(run, corpora), **wanted.model_dump()}
    with together(run) as team, held(run, team):
        done = team.once(lambda: trained_already(run, settings))
        if done is not None:
            return done
        team.once(lambda: _prepare(run, corpora, on_progress))
        folder = run.vocabulary / "tokenizer"
        model = new_model(
            wanted.architecture,
            special=special_ids(load_tokenizer(folder), tokenizer_settings(folder)),
            hidden=wanted.hidden_size,
            layers=wanted.layers,
            heads=wanted.heads,
            intermediate=wanted.intermediate_size,
            seed=run.settings.pretrain_seed,
        )
        plan = Plan(corpora, folder, None, settings, accept_data_change)
        return train_model(run, model, plan, team=team, on_progress=on_progress)


def _prepare(run: Run, corpora: Mapping[str, Sequence[str]], on_progress: OnProgress) -> None:
    """Settings saved and the tokenizer made, if that was not done before."""
    wanted = run.settings.scratch.model_dump()
    run.save_settings()
    if not run.finished("scratch-vocabulary", wanted):
        _make_tokenizer(run, corpora, on_progress)
        run.record("scratch-vocabulary", wanted, {"vocab": run.vocabulary})


def no_text() -> UsageError:
    """The refusal to train from nothing on nothing."""
    return UsageError(
        "training from scratch needs text",
        name="E-CORPUS-MISSING",
        next="give --corpus LANG=FILE once a language, or [scratch.languages] in the configuration",
    )


def _make_tokenizer(run: Run, corpora: Mapping[str, Sequence[str]], on_progress: OnProgress) -> None:
    wanted = run.settings.scratch
    given = read_vocabulary(Path(expand(wanted.vocabulary))) if wanted.vocabulary else None
    whole = new_wordpiece_tokenizer(given.pieces if given else SPECIALS)
    split = word_splitter(whole)
    counts: dict[str, WordCounts] = {}
    for number, (language, patterns) in enumerate(corpora.items()):
        on_progress(Progress("vocab", number, len(corpora), f"counting {language}"))
        counts[language] = count_split(run, split_corpus(run, language, patterns), split, on_progress).words
    on_progress(Progress("vocab", len(corpora), len(corpora), "choosing pieces"))
    if given:
        pieces = _occurring(given, counts, word_segmenter(whole), least=wanted.min_count).pieces
    else:
        merged = _balanced(counts, exponent=run.settings.pretrain.mix_exponent)
        learned = learn_subwords(merged, size=wanted.vocab_size - len(SPECIALS), known=())
        pieces = (*SPECIALS, *map(kind_of(whole).spell, learned))
    with store.publish_directory(run.vocabulary) as folder:
        save_tokenizer(new_wordpiece_tokenizer(pieces), store.make_directory(folder / "tokenizer"), base=None)
    store.remove_directories([run.directory / "counts"])


def _occurring(
    given: Vocabulary, counts: Mapping[str, WordCounts], segment: Any, *, least: int
) -> Vocabulary:
    pieces: Counter[str] = Counter()
    for words in counts.values():
        for word, count in words.items():
            for piece in segment(word):
                pieces[piece] += count
    return cut_vocabulary(given, pieces, min_count=least, keep=SPECIALS)


def _balanced(counts: Mapping[str, WordCounts], *, exponent: float) -> WordCounts:
    """All languages' counts in one, each language weighted to its (words)^exponent share."""
    sizes = {language: sum(words.values()) for language, words in counts.items()}
    raised = {language: size**exponent for language, size in sizes.items()}
    largest = max(sizes[language] / raised[language] for language in sizes)
    merged: Counter[str] = Counter()
    for language, words in counts.items():
        scale = raised[language] / sizes[language] * largest
        for word, count in words.items():
            merged[word] += math.ceil(count * scale)
    return merged
