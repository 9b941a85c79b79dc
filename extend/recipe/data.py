"""Corpora to token streams on disk, and streams to batches."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer

from extend.blocks import (
    HELD_OUT,
    TRAINING,
    EncodedLine,
    Ids,
    Mixture,
    PackedMixture,
    Packs,
    Stream,
    language_turns,
    mixture_weights,
    write_plan,
)
from extend.config import PretrainSettings
from extend.errors import CheckpointError, UsageError
from extend.masking import MaskedBatch, MaskingRule, as_batch, mask_batch
from extend.recipe.run import OnProgress, Run
from extend.recipe.tokenising import forget_index, tokenise_text
from extend.sentence_pairs import SentencePairs, paired_batch
from extend.tokenizer import encode_batch, special_ids
from extend.types import Document, Progress, SpecialIds

_CHUNK = 2000


@dataclass(frozen=True)
class Corpora:
    """What is trained on and what is only measured: streams by language, and how documents are packed."""

    training: Mapping[str, Stream]
    held_out: Mapping[str, Stream]
    special: SpecialIds
    packs: Mapping[str, Packs] = field(default_factory=dict)


class BatchAt(Protocol):
    """The batch of every step, as a pure function of the step.

    `start` and `stop` choose samples of the step's global batch, all by default: a process or a forward pass
    reads its own part only, and all parts together are the batch, however it is cut.
    """

    def __call__(self, step: int, start: int = 0, stop: int | None = None) -> MaskedBatch: ...


def tokenise_corpora(
    run: Run,
    corpora: Mapping[str, Sequence[str]],
    tokenizer: Tokenizer,
    on_progress: OnProgress,
    *,
    special: SpecialIds | None = None,
    under: str = "data",
    accept_change: bool = False,
) -> Corpora:
    """Encode each language's corpus once into a folder of `pretrain/data`, its held-out lines apart.

    What is there already is taken as it is when it still fits. `under` names another folder than `data`, for
    text that is not trained on. Raises CheckpointError E-DATA-CHANGED when the text or the way of reading it
    is another than then, unless `accept_change`: the text is then tokenised anew, its unchanged ranges kept,
    and the old index set aside. DataError when a language has no text. `special` is by default what the kind
    of tokenizer says.
    """
    special = special or special_ids(tokenizer)
    training, held_out, packs = {}, {}, {}
    for language, patterns in corpora.items():
        folder = run.pretraining / under / language
        tokenise = partial(
            tokenise_text,
            *(run, language, patterns, tokenizer),
            special=special,
            directory=folder,
            on_progress=on_progress,
        )
        try:
            index = tokenise()
        except CheckpointError as error:
            if error.name != "E-DATA-CHANGED" or not accept_change:
                raise
            forget_index(folder)
            index = tokenise()
        training[language] = index.stream(folder, language, TRAINING)
        held_out[language] = index.stream(folder, language, HELD_OUT)
        if run.settings.pretrain.packing == "documents":
            length = run.settings.pretrain.length
            plan = folder / f"packed-{length}"
            write_plan(plan, training[language], length=length)
            packs[language] = Packs(plan, training[language])
    on_progress(Progress("tokenise", 1, 1, "tokenised"))
    return Corpora(training, held_out, special, packs)


def active_ids(corpora: Corpora) -> Ids:
    """The ids that occur in the training text, ascending: special ones only where text has them."""
    found = np.zeros(corpora.special.vocab_size, dtype=bool)
    for stream in corpora.training.values():
        found |= stream.active(len(found))
    return np.flatnonzero(found)


def data_fingerprint(corpora: Corpora) -> dict[str, str]:
    """One sha256 a language: of the tokens, their word starts, lines and documents, in order."""
    return {language: stream.sha256 for language, stream in corpora.training.items()}


def epochs_of(
    corpora: Corpora, weights: Mapping[str, float], settings: PretrainSettings
) -> dict[str, dict[str, Any]]:
    """By language, how far its text goes: `samples` an epoch, `steps` an epoch at its share, `epochs` in all.

    Text that is shorter than the run is repeated, in another order each time.
    """
    found = {}
    for language, weight in weights.items():
        samples = _samples_of(corpora, language, settings)
        steps = samples / (settings.batch_size * weight)
        found[language] = {"samples": samples, "steps": round(steps, 1), "epochs": settings.steps / steps}
    return found


def _samples_of(corpora: Corpora, language: str, settings: PretrainSettings) -> int:
    tokens, length = len(corpora.training[language].ids), settings.length
    if settings.nsp:
        return max(1, tokens // length)
    if settings.packing == "documents":
        return len(corpora.packs[language])
    return (tokens - (length - 2)) // (length - 1)


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
) -> BatchAt:
    """The batch of every step, as a pure function of the step; see `BatchAt`.

    With `softmax` "active", random replacements are drawn from the ids that occur in the text. Languages of
    `settings.replay` are marked as replayed. Raises UsageError for settings that exclude each other.
    """
    shares, languages = tuple(weights.values()), tuple(weights)
    allowed = None
    if settings.softmax == "active":
        special = np.fromiter(corpora.special.unmaskable, dtype=np.int64)
        allowed = np.setdiff1d(active_ids(corpora), special)
    sample = _sampler(corpora, languages, shares, settings, seed=seed)
    is_replayed = np.array([language in settings.replay for language in languages])

    def batch_at(step: int, start: int = 0, stop: int | None = None) -> MaskedBatch:
        first, last = (step * settings.batch_size + part for part in (start, settings.batch_size))
        numbers = np.arange(first, last if stop is None else step * settings.batch_size + stop)
        batch = sample(numbers, allowed)
        if not is_replayed.any():
            return batch
        drawn, _ = language_turns(numbers, shares, seed=seed)
        return dataclasses.replace(batch, replayed=torch.from_numpy(is_replayed[drawn]))

    return batch_at


class _Sampler(Protocol):
    def __call__(self, samples: Ids, allowed: Ids | None) -> MaskedBatch: ...


def _sampler(
    corpora: Corpora,
    languages: Sequence[str],
    shares: tuple[float, ...],
    settings: PretrainSettings,
    *,
    seed: int,
) -> _Sampler:
    """Sample numbers to a masked batch, in the form that the settings ask for."""
    rule, special, length = masking_rule(settings), corpora.special, settings.length
    streams = tuple(corpora.training[language] for language in languages)
    documents = settings.packing == "documents"
    if settings.nsp:
        if documents:
            raise UsageError(
                "pretrain.nsp and pretrain.packing = 'documents' exclude each other",
                name="E-CONFIG",
                why="a sample of next-sentence prediction is one pair of texts",
            )
        sources = [
            SentencePairs(stream, length=length, seed=seed, duplicates=settings.duplicates)
            for stream in streams
        ]
        return lambda samples, allowed: paired_batch(
            sources, shares, samples, special=special, rule=rule, seed=seed, replacements=allowed
        )

    if documents:
        packed = tuple(corpora.packs[language] for language in languages)
        packs = PackedMixture(packed, shares, length, seed, settings.duplicates)
    else:
        blocks = Mixture(streams, shares, length, seed, settings.duplicates)

    def sample(samples: Ids, allowed: Ids | None) -> MaskedBatch:
        more: dict[str, torch.Tensor] = {}
        if documents:
            ids, starts, numbers = packs.read(samples, special)
            more = {"documents": torch.from_numpy(numbers), "attention_mask": torch.from_numpy(numbers >= 0)}
            keys = packs.order.mask_keys(samples)
        else:
            ids, starts = blocks.read(samples, special)
            keys = blocks.order.mask_keys(samples)
        masked, positions = mask_batch(
            ids, starts, keys, rule=rule, special=special, seed=seed, replacements=allowed
        )
        return as_batch(ids, masked, positions, offered=rule.offered(*ids.shape), **more)

    return sample


def masking_rule(settings: PretrainSettings) -> MaskingRule:
    """The masking that these settings ask for."""
    return MaskingRule(rate=settings.mask_rate, whole_word=settings.whole_word, most=settings.max_predictions)
