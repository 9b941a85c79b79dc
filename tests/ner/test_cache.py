"""Word vectors on disk: the same bits, made again when anything changes, bounded, never in the way."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from extend import store
from extend.errors import PathError, SpaceError
from ner.cache import VECTORS, FeatureCache, checkpoint_facts, words_sha256
from ner.evaluate.encoder import Encoder
from ner.features import FeatureSettings, WordFeatures, WordPieces, word_features
from ner.tags import TaggedSentence
from tests.ner.tiny import made_sentences, tiny_encoder

CPU = torch.device("cpu")
SENTENCES = tuple(TaggedSentence(*map(tuple, zip(*rows, strict=True))) for rows in made_sentences(20, seed=1))
WORDS = [sentence.words for sentence in SENTENCES]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_encoder(tmp_path / "encoder", layers=2)


def load(directory: Path) -> torch.nn.Module:
    return AutoModel.from_pretrained(directory).eval()


def encoder(folder: Path, cache: FeatureCache | None, **settings: str) -> Encoder:
    return Encoder(folder, load, settings=FeatureSettings(**settings), device=CPU, cache=cache)


def unused(_: Path) -> torch.nn.Module:
    raise AssertionError("the weights were asked for")


@pytest.mark.parametrize("settings", [{}, {"layers": "mix"}, {"layers": "mix", "precision": "float16"}])
def test_vectors_from_disk_are_those_without_a_cache(
    folder: Path, tmp_path: Path, settings: dict[str, str]
) -> None:
    direct = encoder(folder, None, **settings).features(SENTENCES)
    cache = FeatureCache(tmp_path / "cache")
    made = encoder(folder, cache, **settings).features(SENTENCES)
    later = FeatureCache(tmp_path / "cache")
    kept = Encoder(folder, unused, settings=FeatureSettings(**settings), device=CPU, cache=later)
    found = kept.features(SENTENCES)
    for one in (made, found):
        assert one.vectors.equal(direct.vectors)
        assert one.vectors.dtype == direct.vectors.dtype
        assert one.offsets == direct.offsets
    assert (cache.told, later.told) == ({"made": 1}, {"found": 1})


def change_weights(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def change_tokenizer(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text().replace('"lowercase":false', '"lowercase":true')
    (folder / "tokenizer.json").write_text(text + "\n")


def change_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))


@pytest.mark.parametrize("change", [change_weights, change_tokenizer, change_config])
def test_another_checkpoint_is_never_met_with_old_vectors(folder: Path, tmp_path: Path, change) -> None:
    cache = FeatureCache(tmp_path / "cache")
    encoder(folder, cache).features(SENTENCES)
    change(folder)
    encoder(folder, cache).features(SENTENCES)
    assert cache.told == {"made": 2}


def test_other_words_and_other_reading_have_entries_of_their_own(folder: Path, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    ways = [{}, {"layers": "mean"}, {"pooling": "mean"}, {"precision": "float16"}]
    for settings in ways:
        encoder(folder, cache, **settings).features(SENTENCES)
    encoder(folder, cache).features(SENTENCES[1:])
    assert cache.told == {"made": len(ways) + 1}
    joined = [["a", "b"], ["c"]], [["a"], ["b", "c"]], [["a b"], ["c"]], [["ab"], ["c"]]
    assert len({words_sha256(one) for one in joined}) == len(joined)
    assert checkpoint_facts(folder).keys() >= {"config.json", "model.safetensors", "tokenizer.json"}


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "manifest"])
def test_a_damaged_entry_is_set_aside_and_made_again(folder: Path, tmp_path: Path, damage: str) -> None:
    cache = FeatureCache(tmp_path / "cache")
    whole = encoder(folder, cache).features(SENTENCES).vectors.clone()
    (entry,) = (path for path in cache.directory.iterdir() if path.is_dir())
    data = bytearray((entry / VECTORS).read_bytes())
    if damage == "manifest":
        (entry / store.MANIFEST).write_text("{}")
    else:
        data[7] ^= 64
        shortened = {"flip": data, "cut": data[:-4], "empty": b""}[damage]
        (entry / VECTORS).write_bytes(shortened)
    assert encoder(folder, cache).features(SENTENCES).vectors.equal(whole)
    assert cache.told == {"made": 2, "damaged": 1}
    assert entry.with_name(f"{entry.name}.bad").is_dir()
    assert not store.verify(entry)


def vectors_of(value: float, sentences: list[list[str]], cache: FeatureCache) -> WordFeatures:
    rows = sum(map(len, sentences))
    return cache.features({"value": value}, sentences, lambda: iter([torch.full((rows, 4), float(value))]))


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, limit=5000)
    sentences = [["a"] * 60]  # 960 bytes and a manifest
    for value in (1, 2, 3):
        vectors_of(value, sentences, cache)
    vectors_of(1, sentences, cache)
    vectors_of(4, sentences, cache)
    assert cache.told == {"made": 4, "found": 1, "removed": 1}
    again = FeatureCache(tmp_path, limit=5000)
    for value in (1, 3, 4):
        assert vectors_of(value, sentences, again).vectors.eq(value).all()
    assert again.told == {"found": 3}
    assert vectors_of(2, sentences, again).vectors.eq(2).all()
    assert again.told["made"] == 1


def test_vectors_in_use_outlive_their_entry(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, limit=2000)
    first = vectors_of(1, [["a"] * 60], cache)
    vectors_of(2, [["a"] * 60], cache)
    assert cache.told["removed"] == 1
    assert first.vectors.eq(1).all()


def test_what_does_not_fit_is_held_in_memory(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, limit=100)
    found = vectors_of(1, [["a"] * 60], cache)
    assert found.vectors.shape == (60, 4)
    assert cache.told == {"not kept": 1}
    assert not any(path.is_dir() for path in tmp_path.iterdir())


@pytest.mark.parametrize("error", [SpaceError, PathError])
def test_a_full_disk_costs_time_alone(
    tmp_path: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise error("cannot write", name="E-NO-SPACE")

    monkeypatch.setattr("extend.store.require_space", full)
    cache = FeatureCache(tmp_path)
    assert vectors_of(3, [["a", "b"], ["c"]], cache).vectors.eq(3).all()
    assert cache.told == {"not kept": 1}


def test_what_fails_while_vectors_are_computed_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[torch.Tensor]:
        yield torch.zeros(1, 4)
        raise ValueError("no more")

    cache = FeatureCache(tmp_path)
    with pytest.raises(ValueError, match="no more"):
        cache.features({}, [["a", "b"]], broken)
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith(".used")]


def test_no_words_need_no_entry(folder: Path, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    found = cache.features({}, [], lambda: iter(()))
    assert len(found) == 0
    assert not cache.told


def test_a_moved_cache_and_a_moved_checkpoint_are_still_good(folder: Path, tmp_path: Path) -> None:
    encoder(folder, FeatureCache(tmp_path / "cache")).features(SENTENCES)
    shutil.move(folder, tmp_path / "elsewhere")
    shutil.move(tmp_path / "cache", tmp_path / "other")
    cache = FeatureCache(tmp_path / "other")
    found = encoder(tmp_path / "elsewhere", cache).features(SENTENCES)
    assert cache.told == {"found": 1}
    words = WordPieces(tmp_path / "elsewhere")
    assert found.vectors.equal(word_features(load(tmp_path / "elsewhere"), words, WORDS).vectors)
