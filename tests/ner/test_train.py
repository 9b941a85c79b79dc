"""Training heads: learns, repeats itself, keeps the best epoch; predictions do not depend on batches."""

import pytest
import torch

from extend.errors import DivergedError
from ner.features import WordFeatures
from ner.score import count_spans
from ner.tagger import BiLstmCrfTagger, constrained_crf
from ner.tags import tag_names
from ner.train import LabelledFeatures, TrainSettings, predict, train_tagger, training_batches
from tests.ner.tiny import made_sentences

NAMES = tag_names(["LOC", "PER"])
QUICK = TrainSettings(epochs=8, patience=8, hidden_size=16, layers=2, dropout=0.2, learning_rate=1e-2)


def made_features(count: int, *, seed: int) -> LabelledFeatures:
    """One fixed random vector a word: the words of the made task without an encoder."""
    sentences = made_sentences(count, seed=seed)
    words = sorted({word for rows in made_sentences(500, seed=0) for word, _ in rows})
    table = dict(
        zip(words, torch.randn(len(words), 12, generator=torch.Generator().manual_seed(5)), strict=True)
    )
    offsets = [0]
    for rows in sentences:
        offsets.append(offsets[-1] + len(rows))
    vectors = torch.stack([table[word] for rows in sentences for word, _ in rows])
    return LabelledFeatures(
        WordFeatures(vectors, tuple(offsets)), tuple(tuple(tag for _, tag in rows) for rows in sentences)
    )


TRAIN, DEV, TEST = (made_features(count, seed=seed) for count, seed in ((200, 1), (60, 2), (100, 3)))


def test_learns_what_can_be_learned() -> None:
    head = train_tagger(TRAIN, DEV, tag_names=NAMES, settings=QUICK, seed=1)
    predicted = predict(head.tagger, TEST.features, head.tag_names)
    assert count_spans(TEST.tags, predicted).total().f1 > 95


def test_same_seed_same_weights_and_another_seed_others() -> None:
    settings = TrainSettings(epochs=2, hidden_size=8)
    state = torch.random.get_rng_state()
    first, second, other = (
        train_tagger(TRAIN, DEV, tag_names=NAMES, settings=settings, seed=seed).tagger.state_dict()
        for seed in (1, 1, 2)
    )
    assert all(first[name].equal(second[name]) for name in first)
    assert not first["linear.weight"].equal(other["linear.weight"])
    assert torch.random.get_rng_state().equal(state)


def test_best_epoch_is_kept_and_patience_ends() -> None:
    told: list[tuple[int, float, float]] = []
    settings = TrainSettings(epochs=40, patience=3, hidden_size=16, dropout=0.2, learning_rate=1e-2)
    head = train_tagger(
        TRAIN, DEV, tag_names=NAMES, settings=settings, seed=1, on_epoch=lambda *step: told.append(step)
    )
    assert [epoch for epoch, _, _ in told] == list(range(1, len(head.dev_f1) + 1))
    assert len(head.dev_f1) == min(40, head.best_epoch + 3)
    assert head.dev_f1[head.best_epoch - 1] == max(head.dev_f1)
    assert head.dev_f1.index(max(head.dev_f1)) == head.best_epoch - 1
    again = count_spans(DEV.tags, predict(head.tagger, DEV.features, NAMES)).total().f1
    assert again == pytest.approx(max(head.dev_f1))
    assert told[-1][1] < told[0][1]


@pytest.mark.parametrize("words", [1, 7, 64, 100_000])
def test_predictions_do_not_depend_on_batches(words: int) -> None:
    torch.manual_seed(0)
    tagger = BiLstmCrfTagger(12, constrained_crf(NAMES), hidden_size=16)
    assert predict(tagger, TEST.features, NAMES, words_a_batch=words) == predict(tagger, TEST.features, NAMES)


def test_padding_has_no_effect() -> None:
    torch.manual_seed(0)
    tagger = BiLstmCrfTagger(12, constrained_crf(NAMES), hidden_size=16).eval()
    vectors, lengths = torch.randn(3, 6, 12), torch.tensor([6, 2, 4])
    padded = torch.cat([vectors, torch.full((3, 5, 12), 1e6)], dim=1)
    short, long = tagger.emissions(vectors, lengths), tagger.emissions(padded, lengths)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(short[row, :length], long[row, :length])
        alone = tagger.emissions(vectors[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(alone[0], short[row, :length])


def test_batches_hold_every_sentence_once_and_like_lengths() -> None:
    batches = list(training_batches(TRAIN.features, 16, torch.Generator().manual_seed(0)))
    assert sorted(index for batch in batches for index in batch) == list(range(200))
    spread = max(
        max(map(TRAIN.features.length, batch)) - min(map(TRAIN.features.length, batch)) for batch in batches
    )
    assert spread <= 4
    other = list(training_batches(TRAIN.features, 16, torch.Generator().manual_seed(1)))
    assert batches != other


def test_nothing_but_outside_trains() -> None:
    tags = tuple(("O",) * len(one) for one in TRAIN.tags)
    blank = LabelledFeatures(TRAIN.features, tags)
    head = train_tagger(
        blank, blank, tag_names=("O",), settings=TrainSettings(epochs=1, hidden_size=4), seed=1
    )
    assert head.dev_f1 == (0.0,)
    assert set(sum(predict(head.tagger, TEST.features, ("O",)), ())) == {"O"}


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ValueError, match="tags without an index"):
        train_tagger(TRAIN, DEV, tag_names=("O",), settings=QUICK, seed=1)
    with pytest.raises(ValueError, match="one tag for each word"):
        LabelledFeatures(TRAIN.features, TEST.tags)
    broken = LabelledFeatures(
        WordFeatures(torch.full_like(TRAIN.features.vectors, float("nan")), TRAIN.features.offsets),
        TRAIN.tags,
    )
    with pytest.raises(DivergedError, match="loss became nan"):
        train_tagger(broken, DEV, tag_names=NAMES, settings=QUICK, seed=1)
