"""Corpora to token streams on disk, and streams to batches."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from extend import store
from extend.blocks import EncodedLine, Ids, Mixture, Stream, mixture_weights, open_stream, write_stream
from extend.config import PretrainSettings
from extend.masking import MaskedBatch, MaskingRule, as_batch, mask_batch
from extend.recipe.corpora import split_corpus
from extend.recipe.run import OnProgress, Run
from extend.sentence_pairs import SentencePairs, paired_batch
from extend.tokenizer import encode_batch, special_ids
from extend.types import Document, Progress, SpecialIds

_CHUNK = 2000


@dataclass(frozen=True)
class Corpora:
    """What is trained on and what is only measured: streams by language."""

    training: Mapping[str, Stream]
    held_out: Mapping[str, Stream]
    special: SpecialIds


def tokenise_corpora(
    run: Run, corpora: Mapping[str, Sequence[str]], tokenizer: Tokenizer, on_progress: OnProgress
) -> Corpora:
    """Encode each language's corpus once into `pretrain/data`, its held-out lines beside it.

    What is already there and sound is taken as it is: a stream's folder appears whole or not at all.
    """
    special = special_ids(tokenizer)
    training, held_out = {}, {}
    for number, (language, patterns) in enumerate(corpora.items()):
        on_progress(Progress("tokenise", number, len(corpora), f"tokenising {language}"))
        folder = run.pretraining / "data" / language
        names = {"training": folder.with_name(language), "held_out": folder.with_name(f"{language}.held-out")}
        if not all(store.is_published(target) for target in names.values()):
            corpus = split_corpus(run, language, patterns)
            write_stream(names["held_out"], encoded_lines(tokenizer, corpus.unseen()), special=special)
            write_stream(names["training"], encoded_lines(tokenizer, corpus.training()), special=special)
        training[language] = open_stream(names["training"], language)
        held_out[language] = open_stream(names["held_out"], language)
    on_progress(Progress("tokenise", len(corpora), len(corpora), "tokenised"))
    return Corpora(training, held_out, special)


def encoded_lines(tokenizer: Tokenizer, documents: Iterable[Document]) -> Iterator[EncodedLine]:
    """Ids and word starts of every document, in order, encoded in chunks."""
    chunk: list[Document] = []
    for document in documents:
        chunk.append(document)
        if len(chunk) == _CHUNK:
            yield from _encoded(tokenizer, chunk)
            chunk = []
    yield from _encoded(tokenizer, chunk)


def _encoded(tokenizer: Tokenizer, chunk: Sequence[Document]) -> Iterator[EncodedLine]:
    encodings = encode_batch(tokenizer, [document.text for document in chunk])
    for document, (ids, starts) in zip(chunk, encodings, strict=True):
        yield ids, starts, document.starts_document


def language_weights(
    corpora: Corpora, settings: PretrainSettings, *, replayed: Sequence[str]
) -> dict[str, float]:
    """Share of each language's blocks: replayed ones share `replay_share`, the others the rest.

    Within each group shares follow (tokens)^mix_exponent.
    """
    sizes = {language: len(stream.ids) for language, stream in corpora.training.items()}
    own = {language: size for language, size in sizes.items() if language not in replayed}
    old = {language: size for language, size in sizes.items() if language in replayed}
    share = settings.replay_share if old else 0.0
    weights: dict[str, float] = {}
    for group, part in ((own, 1.0 - share), (old, share)):
        if group:
            shares = mixture_weights(group, exponent=settings.mix_exponent)
            weights |= {language: part * weight for language, weight in shares.items()}
    return {language: weight for language, weight in weights.items() if weight > 0}


def batches(
    corpora: Corpora, weights: Mapping[str, float], settings: PretrainSettings, *, seed: int
) -> Callable[[int], MaskedBatch]:
    """The batch of every step, as a pure function of the step."""
    rule, special, length = masking_rule(settings), corpora.special, settings.length
    streams = tuple(corpora.training[language] for language in weights)
    shares = tuple(weights.values())

    def numbers(step: int) -> Ids:
        return np.arange(step * settings.batch_size, (step + 1) * settings.batch_size)

    if settings.nsp:
        sources = [SentencePairs(stream, length=length, seed=seed) for stream in streams]
        return lambda step: paired_batch(
            sources, shares, numbers(step), special=special, rule=rule, seed=seed
        )
    mixture = Mixture(streams, shares, length, seed)

    def batch_at(step: int) -> MaskedBatch:
        ids, starts = mixture.read(numbers(step), special)
        masked, positions = mask_batch(ids, starts, numbers(step), rule=rule, special=special, seed=seed)
        return as_batch(ids, masked, positions)

    return batch_at


def masking_rule(settings: PretrainSettings) -> MaskingRule:
    """The masking that these settings ask for."""
    return MaskingRule(rate=settings.mask_rate, whole_word=settings.whole_word)
