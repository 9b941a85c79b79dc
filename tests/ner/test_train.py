"""Training heads: learns, repeats itself, keeps the best epoch; predictions do not depend on batches."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from extend.errors import DivergedError
from ner.features import WordFeatures
from ner.score import count_spans
from ner.tagger import Tagger, TaggerSettings, tags_inside, tags_outside
from ner.tags import illegal_transitions
from ner.train import (
    LabelledFeatures,
    TrainedHead,
    TrainSettings,
    predict,
    predict_all,
    train_tagger,
    training_batches,
)
from ner.train.weights import Average, Best
from tests.ner.tiny import made_sentences

LABELS = ("LOC", "PER")
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


def trained(settings: TrainSettings, *, seed: int = 1, **more: Any) -> TrainedHead:
    tagger = settings.tagger(12, LABELS)
    return train_tagger(TRAIN, DEV, tagger=tagger, settings=settings, seed=seed, **more)


def test_learns_what_can_be_learned() -> None:
    head = trained(QUICK)
    predicted = predict(head.tagger, TEST.features)
    assert count_spans(TEST.tags, predicted).total().f1 > 95


def test_same_seed_same_weights_and_another_seed_others() -> None:
    settings = TrainSettings(epochs=2, hidden_size=8)
    state = torch.random.get_rng_state()
    first, second, other = (trained(settings, seed=seed).tagger.state_dict() for seed in (1, 1, 2))
    assert all(first[name].equal(second[name]) for name in first)
    assert not first["linear.weight"].equal(other["linear.weight"])
    assert torch.random.get_rng_state().equal(state)


def test_best_epoch_is_kept_and_patience_ends() -> None:
    told: list[tuple[int, float, float]] = []
    settings = TrainSettings(epochs=40, patience=3, hidden_size=16, dropout=0.2, learning_rate=1e-2)
    head = trained(settings, on_epoch=lambda *step: told.append(step))
    assert [epoch for epoch, _, _ in told] == list(range(1, len(head.dev_f1) + 1))
    assert len(head.dev_f1) == min(40, head.best_epoch + 3)
    assert head.dev_f1[head.best_epoch - 1] == max(head.dev_f1)
    assert head.dev_f1.index(max(head.dev_f1)) == head.best_epoch - 1
    again = count_spans(DEV.tags, predict(head.tagger, DEV.features)).total().f1
    assert again == pytest.approx(max(head.dev_f1))
    assert told[-1][1] < told[0][1]


@pytest.mark.parametrize("words", [1, 7, 64, 100_000])
def test_predictions_do_not_depend_on_batches(words: int) -> None:
    torch.manual_seed(0)
    tagger = Tagger(TaggerSettings(12, LABELS, hidden_size=16))
    assert predict(tagger, TEST.features, words_a_batch=words) == predict(tagger, TEST.features)


def test_padding_has_no_effect() -> None:
    torch.manual_seed(0)
    tagger = Tagger(TaggerSettings(12, LABELS, hidden_size=16)).eval()
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
    settings = TrainSettings(epochs=1, hidden_size=4)
    head = train_tagger(blank, blank, tagger=settings.tagger(12, ()), settings=settings, seed=1)
    assert head.dev_f1 == (0.0,)
    assert set(sum(predict(head.tagger, TEST.features), ())) == {"O"}


@pytest.mark.parametrize("head", ["bilstm-crf", "bilstm-softmax", "linear"])
@pytest.mark.parametrize("scheme", ["IOB2", "BIOUL"])
def test_every_head_learns_in_every_scheme(head: str, scheme: str) -> None:
    settings = replace(QUICK, head=head, scheme=scheme, epochs=30, patience=30)
    found = trained(settings)
    assert len(found.tag_names) == (5 if scheme == "IOB2" else 9)
    prediction = predict_all(found.tagger, TEST.features)
    assert count_spans(TEST.tags, prediction.tags).total().f1 > (40 if head == "linear" else 85)
    assert sum(map(illegal_transitions, prediction.tags)) == 0
    assert [len(row) for row in prediction.confidence] == [len(row) for row in prediction.tags]
    assert all(0 < chance <= 1 + 1e-6 for row in prediction.confidence for chance in row)


def test_schemes_inside_and_outside_are_inverse() -> None:
    tags = ("B-PER", "I-PER", "B-PER", "O", "B-LOC")
    assert tags_inside(tags, "BIOUL") == ("B-PER", "L-PER", "U-PER", "O", "U-LOC")
    for scheme in ("IOB2", "BIOUL"):
        assert tags_outside(tags_inside(tags, scheme), scheme) == tags


def test_ten_thousand_words_have_the_same_tags_in_batches_of_any_size() -> None:
    head = trained(replace(QUICK, epochs=2))
    many = made_features(2000, seed=9)
    whole = predict_all(head.tagger, many.features)
    assert sum(map(len, whole.tags)) > 10_000
    for sentences in (1, 2, 7, 64):
        widest = max(len(tags) for tags in many.tags)
        again = predict_all(head.tagger, many.features, words_a_batch=sentences * widest)
        assert again.tags == whole.tags
        for mine, other in zip(again.confidence, whole.confidence, strict=True):
            assert mine == pytest.approx(other, abs=1e-6)


def test_ten_thousand_words_have_the_same_tags_under_padding() -> None:
    head = trained(replace(QUICK, epochs=2))
    many = made_features(2000, seed=9)
    for begin in range(0, 2000, 400):
        vectors, lengths = many.features.batch(range(begin, begin + 400), torch.device("cpu"))
        padded = torch.cat([vectors, torch.full((400, 37, 12), 1e4)], dim=1)
        with torch.no_grad():
            short, long = (head.tagger.decode(one, lengths) for one in (vectors, padded))
        assert long[:, : short.shape[1]].equal(short)
        assert not long[:, short.shape[1] :].any()


def test_other_weights_are_kept_beside_the_best() -> None:
    settings = TrainSettings(epochs=4, patience=9, hidden_size=8, dropout=0.2, learning_rate=1e-2)
    other = made_features(30, seed=8)
    after: list[dict[str, torch.Tensor]] = []

    head = trained(settings, oracles={"xx": other}, on_epoch=lambda *_: None)
    assert head.weights.keys() == {"source-dev", "last", "averaged", "target-dev oracle xx"}
    for epochs in range(1, 5):
        after.append(dict(trained(replace(settings, epochs=epochs)).weights["last"]))
    for name, value in head.weights["averaged"].items():
        expected = torch.stack([one[name].double() for one in after]).mean(dim=0).to(value.dtype)
        torch.testing.assert_close(value, expected)
    assert all(head.weights["last"][name].equal(after[-1][name]) for name in after[-1])
    scores = []
    for weights in after:
        head.tagger.load_state_dict({name.removeprefix("tagger."): one for name, one in weights.items()})
        scores.append(count_spans(other.tags, predict(head.tagger, other.features)).total().f1)
    found = predict(head.select("target-dev oracle xx"), other.features)
    assert count_spans(other.tags, found).total().f1 == pytest.approx(max(scores))
    best = predict(head.select("source-dev"), DEV.features)
    assert count_spans(DEV.tags, best).total().f1 == pytest.approx(max(head.dev_f1))


def test_the_first_of_the_best_is_kept_and_never_one_that_is_no_number() -> None:
    module, best = torch.nn.Linear(1, 1), Best()
    for epoch, f1 in enumerate([float("nan"), 0.0, 50.0, float("nan"), 50.0, 40.0], 1):
        torch.nn.init.constant_(module.weight, epoch)
        best.offer(f1, epoch, module)
    assert (best.f1, best.epoch, best.weights["weight"].item()) == (50.0, 3, 3.0)
    never = Best()
    never.offer(float("nan"), 1, module)
    assert never.weights


def test_means_keep_what_is_no_float() -> None:
    module = torch.nn.BatchNorm1d(1)
    average = Average()
    for epoch in (1, 2):
        module.num_batches_tracked.fill_(epoch)
        torch.nn.init.constant_(module.weight, epoch)
        average.add(module)
    assert average.mean(module)["num_batches_tracked"] == 2
    assert average.mean(module)["weight"] == 1.5


def test_unsorted_batches_are_in_shuffled_order() -> None:
    batches = list(training_batches(TRAIN.features, 16, torch.Generator().manual_seed(0), pool=1))
    assert sorted(index for batch in batches for index in batch) == list(range(200))
    sorted_ones = list(training_batches(TRAIN.features, 16, torch.Generator().manual_seed(0)))

    def spread(some: list[list[int]]) -> int:
        return sum(
            max(map(TRAIN.features.length, one)) - min(map(TRAIN.features.length, one)) for one in some
        )

    assert spread(batches) > 2 * spread(sorted_ones)


def test_several_layers_are_mixed_by_trained_weights() -> None:
    """The second of two layers is noise: its weight falls."""

    def layered(one: LabelledFeatures, seed: int) -> LabelledFeatures:
        words = one.features.vectors
        noise = 3 * torch.randn(words.shape, generator=torch.Generator().manual_seed(seed))
        return LabelledFeatures(
            WordFeatures(torch.stack([words, noise], dim=1), one.features.offsets), one.tags
        )

    settings = replace(QUICK, epochs=6, head="linear")
    head = train_tagger(
        layered(TRAIN, 1),
        layered(DEV, 2),
        tagger=settings.tagger(12, LABELS, mixed_layers=2),
        settings=settings,
        seed=1,
    )
    weights = head.tagger.mix.weights.softmax(dim=0)
    assert weights[0] > weights[1] + 0.1


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ValueError, match="tags without an index"):
        train_tagger(TRAIN, DEV, tagger=QUICK.tagger(12, ("LOC",)), settings=QUICK, seed=1)
    with pytest.raises(ValueError, match="one tag for each word"):
        LabelledFeatures(TRAIN.features, TEST.tags)
    broken = LabelledFeatures(
        WordFeatures(torch.full_like(TRAIN.features.vectors, float("nan")), TRAIN.features.offsets),
        TRAIN.tags,
    )
    with pytest.raises(DivergedError, match="loss became nan"):
        train_tagger(broken, DEV, tagger=QUICK.tagger(12, LABELS), settings=QUICK, seed=1)
