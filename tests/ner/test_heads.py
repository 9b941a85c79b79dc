"""Heads side by side are those trained one by one, whatever the threads; a failure stops them all."""

import pytest
import torch

from extend.errors import DivergedError
from ner.heads import train_heads
from ner.train import TrainSettings, train_tagger
from tests.ner.test_train import DEV, LABELS, TRAIN

SETTINGS = TrainSettings(seeds=3, epochs=2, hidden_size=8)


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_heads_are_those_trained_alone(threads: int) -> None:
    told: list[tuple[int, int]] = []
    heads = train_heads(
        TRAIN,
        DEV,
        tagger=SETTINGS.tagger(12, LABELS),
        settings=SETTINGS,
        first_seed=4,
        on_epoch=lambda seed, epoch, *_: told.append((seed, epoch)),
    )
    assert torch.get_num_threads() == threads
    assert sorted(told) == [(seed, epoch) for seed in (4, 5, 6) for epoch in (1, 2)]
    torch.set_num_threads(1)
    for seed, head in zip((4, 5, 6), heads, strict=True):
        alone = train_tagger(TRAIN, DEV, tagger=SETTINGS.tagger(12, LABELS), settings=SETTINGS, seed=seed)
        assert head.dev_f1 == alone.dev_f1
        weights, expected = head.tagger.state_dict(), alone.tagger.state_dict()
        assert all(weights[name].equal(expected[name]) for name in expected)


def test_one_failure_stops_all(threads: int) -> None:
    settings = TrainSettings(seeds=3, epochs=1000, patience=1000, hidden_size=8)
    told: list[int] = []

    def fail(seed: int, epoch: int, *_: float) -> None:
        told.append(epoch)
        if epoch == 2:
            raise DivergedError("the NER loss became nan", name="E-NAN-LOSS")

    with pytest.raises(DivergedError):
        train_heads(TRAIN, DEV, tagger=SETTINGS.tagger(12, LABELS), settings=settings, on_epoch=fail)
    assert max(told) <= 3
    assert torch.get_num_threads() == threads
