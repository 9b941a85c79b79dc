"""Word vectors: the first piece of each word, whatever the batch; no word lost, no label shifted."""

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from extend.errors import CheckpointError, UsageError
from ner.features import (
    FeatureSettings,
    LiveFeatures,
    WordPieces,
    feature_chunks,
    word_features,
    word_offsets,
)
from ner.features.windows import stretches, windows_of
from tests.ner.tiny import made_sentences, tiny_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def model(encoder: Path) -> torch.nn.Module:
    return AutoModel.from_pretrained(encoder).eval()


@pytest.fixture(scope="module")
def pieces(encoder: Path) -> WordPieces:
    return WordPieces(encoder)


SENTENCES = [["anna", "wa", "zebra"], ["oslo"], ["wb", "quiz", "wc", "clara", "w", "yes"]]


def test_vectors_are_those_of_the_model_run_by_hand(
    encoder: Path, model: torch.nn.Module, pieces: WordPieces
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    found = word_features(model, pieces, SENTENCES)
    for number, words in enumerate(SENTENCES):
        ids, firsts = [tokenizer.cls_token_id], []
        for word in words:
            firsts.append(len(ids))
            ids += tokenizer(word, add_special_tokens=False)["input_ids"]
        ids.append(tokenizer.sep_token_id)
        with torch.no_grad():
            hidden = model(torch.tensor([ids])).last_hidden_state[0]
        torch.testing.assert_close(found.sentence(number), hidden[firsts], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["bert-mlm", "modernbert"])
def test_layers_and_pooling_by_hand(architecture: str, tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, architecture=architecture, layers=3)
    model, words = AutoModel.from_pretrained(folder).eval(), WordPieces(folder)
    sentence = ["anna", "zebra", "w"]
    cut = words.cut([sentence])[0]
    ids = [*words.before, *(piece for pieces in cut for piece in pieces), *words.after]
    with torch.no_grad():
        output = model(torch.tensor([ids]), output_hidden_states=True)
    layers = torch.stack(output.hidden_states[1:])[:, 0]
    ends = list(itertools.accumulate([len(words.before), *map(len, cut)]))
    expected = {
        "first": torch.stack([layers[:, begin] for begin in ends[:-1]]),
        "mean": torch.stack([layers[:, a:b].mean(dim=1) for a, b in itertools.pairwise(ends)]),
    }
    for pooling, vectors in expected.items():
        for read, wanted in (("mix", vectors), ("mean", vectors.mean(dim=1)), ("last", vectors[:, -1])):
            found = word_features(model, words, [sentence], settings=FeatureSettings(read, pooling))
            torch.testing.assert_close(found.vectors, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layers[-1], output.last_hidden_state[0])


def test_half_precision_is_the_same_rounded(model: torch.nn.Module, pieces: WordPieces) -> None:
    whole = word_features(model, pieces, SENTENCES)
    half = word_features(model, pieces, SENTENCES, settings=FeatureSettings(precision="float16"))
    assert half.vectors.equal(whole.vectors.half())
    assert half.batch([0, 1], torch.device("cpu"))[0].dtype == torch.float32
    with torch.no_grad():
        large = AutoModel.from_config(model.config).eval()
        for parameter in large.encoder.layer[-1].output.LayerNorm.parameters():
            parameter.fill_(1e6)
    with pytest.raises(UsageError, match="float16"):
        word_features(large, pieces, SENTENCES, settings=FeatureSettings(precision="float16"))


def test_chunks_are_the_whole_in_order(
    model: torch.nn.Module, pieces: WordPieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences = [[word for word, _ in rows] for rows in made_sentences(40, seed=3)]
    whole = word_features(model, pieces, sentences)
    monkeypatch.setattr("ner.features.encoding.SENTENCES_A_CHUNK", 7)
    chunks = list(feature_chunks(model, pieces, sentences, FeatureSettings()))
    assert len(chunks) == 6
    torch.testing.assert_close(torch.cat(chunks), whole.vectors, atol=1e-5, rtol=1e-5)
    assert whole.offsets == word_offsets(sentences)


@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("layers", ["last", "mix"])
def test_vectors_computed_anew_are_those_that_are_kept(
    model: torch.nn.Module, pieces: WordPieces, pooling: str, layers: str
) -> None:
    chosen = FeatureSettings(layers, pooling, window=12)
    sentences = [[word for word, _ in rows] for rows in made_sentences(30, seed=4)]
    kept = word_features(model, pieces, sentences, settings=chosen)
    live = LiveFeatures(model, pieces, sentences, settings=chosen)
    assert len(live) == len(kept)
    place = torch.device("cpu")
    for indices in ([3], [29, 0, 7], list(range(30))):
        (mine, lengths), (expected, others) = (one.batch(indices, place) for one in (live, kept))
        assert lengths.equal(others)
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)
        assert not mine.requires_grad


def test_dropout_and_gradients_are_given_when_asked_for(encoder: Path, pieces: WordPieces) -> None:
    model = AutoModel.from_pretrained(encoder)
    place = torch.device("cpu")
    dropped = LiveFeatures(model, pieces, SENTENCES, settings=FeatureSettings(), dropout=True)
    first, second = (dropped.batch([0, 1], place)[0] for _ in range(2))
    assert not first.equal(second)
    still = LiveFeatures(model, pieces, SENTENCES, settings=FeatureSettings(), gradients=True)
    first, second = (still.batch([0, 1], place)[0] for _ in range(2))
    assert first.equal(second)
    first.square().sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in model.parameters())
    with torch.no_grad():
        assert not still.batch([0], place)[0].requires_grad


def test_the_wordpiece_model_alone(encoder: Path, pieces: WordPieces) -> None:
    """As the release cuts words: "anna.oslo" is one word to WordPiece, three to the whole tokenizer."""
    alone = WordPieces(encoder, wordpiece_only=True)
    assert alone.wordpiece_only
    assert alone.cut([["anna", "zebra"]]) == pieces.cut([["anna", "zebra"]])
    (own,), (whole,) = alone.cut([["anna.oslo"]]), pieces.cut([["anna.oslo"]])
    assert own == [(pieces.unknown,)]
    assert len(whole[0]) == 3
    assert alone.cut([["", "\u200b", "[SEP]", "\ud800"]]) == [[(pieces.unknown,)] * 4]


def test_windows_of_a_very_long_sentence_take_linear_time() -> None:
    windows = list(windows_of([(1, 2)] * 50_000, 0, 510))
    assert [row for window in windows for row in sorted(window.rows)] == list(range(50_000))


def test_batches_do_not_matter(model: torch.nn.Module, pieces: WordPieces) -> None:
    sentences = [[word for word, _ in rows] for rows in made_sentences(40, seed=1)]
    whole = word_features(model, pieces, sentences)
    for tokens in (1, 30, 200):
        again = word_features(model, pieces, sentences, tokens_a_batch=tokens)
        assert again.offsets == whole.offsets
        torch.testing.assert_close(again.vectors, whole.vectors, atol=1e-5, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(
        st.text(max_size=5) | st.sampled_from(["\u200b", "\ufe0f", "\x00", "[SEP]", "\ud800"]), min_size=1
    )
)
def test_every_word_has_a_vector(words: list[str], model: torch.nn.Module, pieces: WordPieces) -> None:
    (cut,) = pieces.cut([words])
    assert len(cut) == len(words)
    assert all(cut)
    found = word_features(model, pieces, [words])
    assert found.length(0) == len(words)
    assert torch.isfinite(found.vectors).all()


def test_words_without_pieces_and_special_words_are_unknown(pieces: WordPieces) -> None:
    unknown = (pieces.unknown,)
    assert pieces.cut([["\u200b", "[SEP]", "[CLS]", "日本"]]) == [
        [unknown, unknown, unknown, unknown * 2]  # BERT puts every CJK character apart
    ]


def test_statistics_by_hand(pieces: WordPieces) -> None:
    found = pieces.statistics([["anna", "zoo", "ж"], ["anna"]])
    assert (found.words, found.fertility, found.unk_rate) == (4, (1 + 3 + 1 + 1) / 4, 1 / 4)
    assert pieces.statistics([]).fertility == 0
    assert pieces.unknown_words([["anna", "ж"]]) == {"ж"}


@given(st.lists(st.integers(1, 8), min_size=1, max_size=40), st.integers(8, 20))
def test_windows_cover_every_word_and_cut_none(sizes: list[int], capacity: int) -> None:
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    ranges = stretches(starts, capacity)
    assert {word for begin, end in ranges for word in range(begin, end)} == set(range(len(sizes)))
    assert all(starts[end] - starts[begin] <= capacity for begin, end in ranges)
    assert all(first[0] < second[0] <= first[1] for first, second in itertools.pairwise(ranges))


def test_long_sentences_are_read_in_windows(model: torch.nn.Module, pieces: WordPieces) -> None:
    words = [word for rows in made_sentences(300, seed=2) for word, _ in rows]
    assert len(words) > 1000
    found = word_features(model, pieces, [words, ["anna"]], settings=FeatureSettings(window=64))
    assert found.vectors.shape == (len(words) + 1, 32)
    head = word_features(model, pieces, [words[:62]], settings=FeatureSettings(window=64))
    torch.testing.assert_close(found.vectors[:20], head.vectors[:20], atol=1e-5, rtol=1e-5)
    middle = found.vectors[500]
    assert any(  # a word far inside is read in some window around it
        torch.allclose(
            middle, word_features(model, pieces, [words[start : start + 62]]).vectors[500 - start], atol=1e-5
        )
        for start in range(440, 501)
    )


def test_a_word_longer_than_a_window(model: torch.nn.Module, pieces: WordPieces) -> None:
    found = word_features(model, pieces, [["anna", "z" * 90, "oslo"]], settings=FeatureSettings(window=20))
    assert found.length(0) == 3
    assert torch.isfinite(found.vectors).all()


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot load the tokenizer"):
        WordPieces(tmp_path)
