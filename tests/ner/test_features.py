"""Word vectors: the first piece of each word, whatever the batch; no word lost, no label shifted."""

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from extend.errors import CheckpointError
from ner.features import WordPieces, _stretches, word_features
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


def test_mean_of_layers(model: torch.nn.Module, pieces: WordPieces) -> None:
    torch.testing.assert_close(  # the tiny encoder has one layer, so its mean is its last
        word_features(model, pieces, SENTENCES, mix="mean").vectors,
        word_features(model, pieces, SENTENCES).vectors,
    )


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
    ranges = _stretches(starts, capacity)
    assert {word for begin, end in ranges for word in range(begin, end)} == set(range(len(sizes)))
    assert all(starts[end] - starts[begin] <= capacity for begin, end in ranges)
    assert all(first[0] < second[0] <= first[1] for first, second in itertools.pairwise(ranges))


def test_long_sentences_are_read_in_windows(model: torch.nn.Module, pieces: WordPieces) -> None:
    words = [word for rows in made_sentences(300, seed=2) for word, _ in rows]
    assert len(words) > 1000
    found = word_features(model, pieces, [words, ["anna"]], window=64)
    assert found.vectors.shape == (len(words) + 1, 32)
    head = word_features(model, pieces, [words[:62]], window=64)
    torch.testing.assert_close(found.vectors[:20], head.vectors[:20], atol=1e-5, rtol=1e-5)
    middle = found.vectors[500]
    assert any(  # a word far inside is read in some window around it
        torch.allclose(
            middle, word_features(model, pieces, [words[start : start + 62]]).vectors[500 - start], atol=1e-5
        )
        for start in range(440, 501)
    )


def test_a_word_longer_than_a_window(model: torch.nn.Module, pieces: WordPieces) -> None:
    found = word_features(model, pieces, [["anna", "z" * 90, "oslo"]], window=20)
    assert found.length(0) == 3
    assert torch.isfinite(found.vectors).all()


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot load the tokenizer"):
        WordPieces(tmp_path)
