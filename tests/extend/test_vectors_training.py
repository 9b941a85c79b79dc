"""Vectors trained on pieces: what has one, what they say, the same bytes each time, and how they are kept."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from extend import store
from extend.types import Progress
from extend.vectors import Cbow, PieceVectors, cached_vectors, train_piece_vectors, vectors_key

ROOT = Path(__file__).parents[2]
PIECES = ("[UNK]", "red", "green", "one", "two", "of", "seldom", "redder", "zzz", "##xyq", "never")
RED, GREEN, ONE, TWO, OF, SELDOM, REDDER, ZZZ = 1, 2, 3, 4, 5, 6, 7, 8
SMALL = Cbow(dimension=12, epochs=8, buckets=512)
PROGRAM = "from tests.extend.test_vectors_training import digest; print(digest())"


class Sequences:
    """Colours stand beside colours and numbers beside numbers; what is seldom comes once."""

    def __init__(self):
        self.readings = 0

    def __iter__(self):
        self.readings += 1
        drawn = np.random.default_rng(0)
        for _ in range(400):
            yield [OF, *drawn.choice([RED, GREEN], 3).tolist(), OF]
            yield [OF, *drawn.choice([ONE, TWO], 3).tolist(), OF]
            yield []
        yield [SELDOM, REDDER, ZZZ]


def trained(**changes):
    given = {"pieces": PIECES, "first_new": 3, "seed": 1, "cbow": SMALL, **changes}
    return train_piece_vectors(Sequences(), **given)


def digest():
    return hashlib.sha256(trained().vectors.tobytes()).hexdigest()


def cosine(vectors, first, second):
    one, two = vectors[first], vectors[second]
    return one @ two / np.linalg.norm(one) / np.linalg.norm(two)


def test_pieces_used_alike_lie_near():
    vectors = trained().vectors
    assert (vectors.shape, vectors.dtype) == ((len(PIECES), 12), np.float32)
    assert np.isfinite(vectors).all()
    for one, alike, other in ((RED, GREEN, TWO), (ONE, TWO, GREEN)):
        assert cosine(vectors, one, alike) > cosine(vectors, one, other) + 0.2


def test_frequent_pieces_have_a_vector_and_new_rare_ones_that_share_an_ngram():
    found = trained()
    assert np.flatnonzero(found.present).tolist() == [RED, GREEN, ONE, TWO, OF, REDDER]
    assert cosine(found.vectors, RED, REDDER) > 0.5
    assert not trained(first_new=len(PIECES)).present[SELDOM:].any()


def test_every_rare_piece_has_a_vector_with_a_count_of_one():
    found = trained(cbow=Cbow(dimension=4, epochs=1, min_count=1, buckets=64))
    assert found.present[RED : ZZZ + 1].all()


def test_nothing_frequent_gives_nothing():
    found = trained(cbow=Cbow(dimension=4, min_count=10**6))
    assert (found.vectors.shape, found.present.any()) == ((len(PIECES), 4), False)
    assert not train_piece_vectors([], pieces=PIECES, first_new=3, seed=1).present.any()


def test_one_piece_alone():
    found = train_piece_vectors([[RED] * 5] * 20, pieces=PIECES, first_new=3, seed=1, cbow=SMALL)
    assert found.present[RED]
    assert np.isfinite(found.vectors).all()


def test_long_sequences_are_read_to_their_end():
    """gensim drops what comes after 10,000 pieces: red stands only there."""
    long = [ONE, TWO] * 6_000 + [RED, GREEN] * 200
    found = train_piece_vectors([long], pieces=PIECES, first_new=3, seed=1, cbow=SMALL)
    apart = [long[:10_000], long[10_000:]]
    same = train_piece_vectors(apart, pieces=PIECES, first_new=3, seed=1, cbow=SMALL)
    assert np.array_equal(found.vectors, same.vectors)
    untrained = train_piece_vectors(
        [long], pieces=PIECES, first_new=3, seed=1, cbow=Cbow(dimension=12, epochs=1)
    )
    assert not np.allclose(found.vectors[RED], untrained.vectors[RED])


def test_the_corpus_is_streamed_and_progress_told():
    sequences, heard = Sequences(), list[Progress]()
    train_piece_vectors(sequences, pieces=PIECES, first_new=3, seed=1, cbow=SMALL, on_progress=heard.append)
    assert sequences.readings == 1 + SMALL.epochs
    assert [(progress.done, progress.total) for progress in heard] == [(n + 1, 8) for n in range(8)]


def test_the_same_bytes_whatever_the_hash_seed_and_other_ones_for_another_seed():
    seen = {digest()}
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": hash_seed}
        program = [sys.executable, "-c", PROGRAM]
        ended = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        seen.add(ended.stdout.strip())
    assert len(seen) == 1
    assert not np.array_equal(trained().vectors, trained(seed=2).vectors)


@pytest.mark.parametrize("changes", [{"pieces": PIECES[:-4]}, {"pieces": [*PIECES, "red"]}])
def test_what_does_not_fit_is_refused(changes):
    with pytest.raises(ValueError, match=r"ids are below|each piece once"):
        trained(**changes)


@pytest.mark.parametrize("changes", [
    {"dimension": 0}, {"ngrams": (4, 3)}, {"ngrams": (0, 3)}, {"learning_rate": 0.0}, {"sample": 2.0},
    {"epochs": 0}, {"buckets": 0},
])  # fmt: skip
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match="got Cbow"):
        Cbow(**changes)


class Maker:
    """Counts how often vectors are really made."""

    def __init__(self):
        self.made = 0

    def __call__(self):
        self.made += 1
        return PieceVectors(np.array([[0, 0], [1, 2], [0, 0], [3, -4]], np.float32))


def test_kept_vectors_are_taken_and_damaged_ones_made_anew(tmp_path):
    make = Maker()
    first = cached_vectors(tmp_path, "a" * 64, make)
    again = cached_vectors(tmp_path, "a" * 64, make)
    assert make.made == 1
    assert np.array_equal(first.vectors, again.vectors)
    cached_vectors(tmp_path, "b" * 64, make)
    assert make.made == 2

    folder = tmp_path / f"vectors-{'a' * 32}"
    for number, name in enumerate(("rows.npy", "ids.npy", "facts.json", store.MANIFEST)):
        content = bytearray((folder / name).read_bytes())
        content[-9] ^= 1
        (folder / name).write_bytes(content)
        healed = cached_vectors(tmp_path, "a" * 64, make)
        assert make.made == 3 + number, name
        assert np.array_equal(healed.vectors, first.vectors)
        assert folder.with_name(f"{folder.name}.bad").is_dir()


def test_an_entry_of_another_key_or_with_a_pickle_is_never_taken(tmp_path):
    make, key = Maker(), "c" * 64
    cached_vectors(tmp_path, key, make)
    folder = tmp_path / f"vectors-{'c' * 32}"
    cached_vectors(tmp_path, "c" * 32 + "d" * 32, make)
    assert make.made == 2

    rows = folder / "rows.npy"
    np.save(rows, np.array([{"not": "numbers"}] * 2, dtype=object), allow_pickle=True)
    store.write_json(folder / store.MANIFEST, {"schema": 1, "files": store.fingerprint(folder)})
    assert store.verify(folder) == []
    cached_vectors(tmp_path, "c" * 32 + "d" * 32, make)
    assert make.made == 3


def test_the_key_depends_on_everything():
    base = {"corpus": "c", "tokenizer": "t", "first_new": 5, "seed": 1, "cbow": Cbow()}
    changes = [{"corpus": "d"}, {"tokenizer": "u"}, {"first_new": 6}, {"seed": 2}]
    changes += [{"cbow": Cbow(**change)} for change in (
        {"dimension": 99}, {"window": 4}, {"negative": 9}, {"min_count": 9}, {"epochs": 2},
        {"learning_rate": 0.2}, {"sample": 1e-4}, {"ngrams": (3, 5)}, {"buckets": 9},
    )]  # fmt: skip
    keys = {vectors_key(**{**base, **change}) for change in [{}, *changes]}
    assert len(keys) == 1 + len(changes)
    assert vectors_key(**base) in keys
    assert all(len(key) == 64 for key in keys)
