"""Batches of a run: a pure function of the step and of which samples are asked for, in every form."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from extend.blocks import Stream, open_stream, write_stream
from extend.blocks.packing import Packs, write_plan
from extend.config import PretrainSettings
from extend.errors import UsageError
from extend.masking import IGNORED, MaskedBatch
from extend.recipe.data import (
    BatchAt,
    Corpora,
    active_ids,
    batches,
    data_fingerprint,
    epochs_of,
    language_weights,
)
from extend.types import SpecialIds

SPECIAL = SpecialIds(mask=4, pad=0, unk=1, start=2, end=3, unmaskable=frozenset(range(5)), vocab_size=600)
FORMS: dict[str, dict[str, Any]] = {
    "blocks": {},
    "documents": {"packing": "documents"},
    "pairs": {"nsp": True},
    "duplicates": {"duplicates": 2},
    "pairs-duplicates": {"nsp": True, "duplicates": 2},
    "active": {"softmax": "active", "max_predictions": 3},
}


def stream_of(folder: Path, language: str, *, first: int, seed: int) -> Stream:
    """Sentences of ids from `first` to `first` + 99, three or so a document."""
    draw = np.random.default_rng(seed)
    lines = []
    for _ in range(300):
        size = int(draw.integers(3, 15))
        ids = (first + draw.integers(0, 100, size)).tolist()
        lines.append((ids, (draw.random(size) < 0.6).tolist(), bool(draw.random() < 0.35)))
    write_stream(folder / language, lines, special=SPECIAL)
    return open_stream(folder / language, language)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    folder = tmp_path_factory.mktemp("text")
    training = {
        "ka": stream_of(folder, "ka", first=10, seed=1),
        "en": stream_of(folder, "en", first=300, seed=2),
    }
    packs = {}
    for language, stream in training.items():
        write_plan(folder / f"{language}-packed", stream, length=32)
        packs[language] = Packs(folder / f"{language}-packed", stream)
    return Corpora(training, {}, SPECIAL, packs)


def settings_of(form: str = "blocks", **more: Any) -> PretrainSettings:
    given = {"length": 32, "batch_size": 12, "replay": {"en": ["en.txt"]}, "replay_share": 0.25}
    return PretrainSettings(**{**given, **FORMS[form], **more})


def batches_of(corpora: Corpora, settings: PretrainSettings, seed: int = 1) -> BatchAt:
    weights = language_weights(corpora, settings, replayed=list(settings.replay))
    return batches(corpora, weights, settings, seed=seed)


def counted(batch: MaskedBatch, first: int = 0) -> list[tuple[int, int]]:
    """Place and target of each prediction that counts, places moved by `first` rows."""
    real = batch.targets != IGNORED
    places = (batch.positions[real] + first * batch.input_ids.shape[1]).tolist()
    return list(zip(places, batch.targets[real].tolist(), strict=True))


def by_sample(batch: MaskedBatch) -> dict[str, torch.Tensor]:
    named = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    return {
        name: value
        for name, value in named.items()
        if value is not None and name not in ("positions", "targets")
    }


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
@pytest.mark.parametrize("form", FORMS)
def test_parts_together_are_the_batch_in_the_same_order(corpora: Corpora, form: str, parts: int) -> None:
    batch_at = batches_of(corpora, settings_of(form))
    for step in (0, 7, 10**6):
        whole = batch_at(step)
        edges = [12 * part // parts for part in range(parts + 1)]
        cut = [batch_at(step, begin, end) for begin, end in itertools.pairwise(edges)]
        for name, value in by_sample(whole).items():
            assert torch.equal(torch.cat([by_sample(part)[name] for part in cut]), value), name
        found = [pair for begin, part in zip(edges, cut, strict=False) for pair in counted(part, begin)]
        assert found == counted(whole)
        of_whole = [whole.part(begin, end) for begin, end in itertools.pairwise(edges)]
        assert [counted(part) for part in of_whole] == [counted(part) for part in cut]
        assert {len(part.targets) for part in cut} == {len(cut[0].targets)}


@pytest.mark.parametrize("form", FORMS)
def test_batches_are_the_same_again_and_others_for_another_seed(corpora: Corpora, form: str) -> None:
    first, again = (batches_of(corpora, settings_of(form))(5) for _ in range(2))
    assert torch.equal(first.input_ids, again.input_ids)
    assert counted(first) == counted(again)
    assert not torch.equal(first.input_ids, batches_of(corpora, settings_of(form), seed=2)(5).input_ids)


@pytest.mark.parametrize("form", FORMS)
def test_shapes_do_not_depend_on_the_draw(corpora: Corpora, form: str) -> None:
    batch_at = batches_of(corpora, settings_of(form))
    shapes = {
        (name, tuple(value.shape))
        for batch in map(batch_at, range(60))
        for name, value in {**by_sample(batch), "targets": batch.targets}.items()
    }
    names = [name for name, _ in shapes]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("form", FORMS)
def test_replayed_samples_are_marked_and_have_their_share(corpora: Corpora, form: str) -> None:
    batch_at, replayed = batches_of(corpora, settings_of(form)), 0
    for step in range(100):
        batch = batch_at(step)
        assert batch.replayed is not None
        targets = torch.full_like(batch.input_ids, -1)
        real = batch.targets != IGNORED
        targets.view(-1)[batch.positions[real]] = batch.targets[real]
        rows = targets.max(dim=1).values
        assert torch.equal(rows[rows >= 0] >= 300, batch.replayed[rows >= 0])
        replayed += int(batch.replayed.sum())
    assert replayed / 1200 == pytest.approx(0.25, abs=0.02)


def test_without_replay_nothing_is_marked(corpora: Corpora) -> None:
    settings = settings_of(replay={}, replay_share=0.0)
    assert batches_of(corpora, settings)(0).replayed is None


def test_full_blocks_have_no_mask_and_packed_samples_their_documents(corpora: Corpora) -> None:
    assert batches_of(corpora, settings_of())(0).attention_mask is None
    batch = batches_of(corpora, settings_of("documents"))(0)
    assert batch.documents is not None
    assert batch.attention_mask is not None
    assert torch.equal(batch.attention_mask, batch.documents >= 0)
    assert torch.equal(batch.attention_mask, batch.input_ids != SPECIAL.pad)


@pytest.mark.parametrize("form", ["duplicates", "pairs-duplicates"])
def test_masks_come_again_after_as_many_epochs(corpora: Corpora, form: str) -> None:
    settings = settings_of(form, replay={}, replay_share=0.0, mix_exponent=0.0, batch_size=1024)
    one = Corpora({"ka": corpora.training["ka"]}, {}, SPECIAL)
    samples = int(epochs_of(one, {"ka": 1.0}, settings)["ka"]["samples"])
    pool = 2 * (samples if form == "duplicates" else len(one.training["ka"].ids) // 32)
    batch_at = batches(one, {"ka": 1.0}, settings, seed=1)
    rows = np.concatenate([batch_at(step).input_ids.numpy() for step in range(3)])
    masked = [tuple(row) for row in rows.tolist()]
    assert len(set(masked[:pool])) > 0.98 * pool
    assert set(masked[pool : 2 * pool]) == set(masked[:pool])
    assert masked[pool : 2 * pool] != masked[:pool]
    fresh = batches(one, {"ka": 1.0}, settings.model_copy(update={"duplicates": 0}), seed=1)
    other = {tuple(row) for step in range(3) for row in fresh(step).input_ids.tolist()}
    assert len(other) > 0.9 * len(masked)


def test_active_ids_are_the_only_replacements(corpora: Corpora) -> None:
    found = active_ids(corpora)
    occurring = {token for stream in corpora.training.values() for token in stream.ids.tolist()}
    assert found.tolist() == sorted(occurring)
    batch_at = batches_of(corpora, settings_of("active"))
    seen = {token for step in range(200) for token in batch_at(step).input_ids.unique().tolist()}
    assert seen <= occurring | {SPECIAL.start, SPECIAL.mask}
    full = batches_of(corpora, settings_of("blocks"))
    assert {token for step in range(200) for token in full(step).input_ids.unique().tolist()} - occurring


def test_predictions_are_bounded(corpora: Corpora) -> None:
    batch = batches_of(corpora, settings_of("active"))(0)
    rows = batch.positions[batch.targets != IGNORED] // 32
    assert rows.bincount().max() == 3
    assert len(batch.targets) == 40


def test_how_far_the_text_goes_is_told(corpora: Corpora) -> None:
    settings = settings_of(steps=1000)
    told = epochs_of(corpora, {"ka": 0.75, "en": 0.25}, settings)
    blocks = (len(corpora.training["ka"].ids) - 30) // 31
    assert told["ka"] == {
        "samples": blocks,
        "steps": round(blocks / 9, 1),
        "epochs": pytest.approx(9000 / blocks),
    }
    packed = epochs_of(corpora, {"ka": 0.75, "en": 0.25}, settings_of("documents"))
    assert packed["ka"]["samples"] == len(corpora.packs["ka"])


def test_one_fingerprint_a_language(corpora: Corpora, tmp_path: Path) -> None:
    again = stream_of(tmp_path, "ka", first=10, seed=1)
    other = stream_of(tmp_path, "xx", first=10, seed=3)
    known = data_fingerprint(corpora)
    assert set(known) == {"ka", "en"}
    assert known["ka"] == again.sha256 != other.sha256


def test_pairs_and_packed_documents_exclude_each_other(corpora: Corpora) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        batches_of(corpora, settings_of("documents", nsp=True))
