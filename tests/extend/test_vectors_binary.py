"""fastText's binary form: our reading beside gensim's and beside fastText's algorithm byte by byte."""

import dataclasses
import gzip
import random
import struct
from collections import Counter

import numpy as np
import pytest
from gensim.models.fasttext import load_facebook_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.errors import DataError, ExtendError
from extend.vectors import fasttext_bin, is_fasttext_model, read_vectors
from extend.vectors.ngrams import NgramRule, ngram_buckets
from tests.extend.vector_files import Model, slow_ngram_rows, slow_vector

WORDS = ("</s>", "the", "Kigali", "##වචනය", "слово", "a", "𝒜b", "é")
ASKED = ("the", "thesis", "වචන", "словом", "x", "</s>", "##", "", "𝒜𝒜𝒜")
MODEL = Model([word.encode() for word in WORDS])


def put(tmp_path, content, name="model.bin"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("changes", [
    {}, {"shortest": 1, "longest": 6}, {"shortest": 2, "longest": 2}, {"buckets": 1}, {"version": 11},
    {"buckets": 0, "longest": 0}, {"dimension": 1}, {"kind": 2, "seed": 5},
])  # fmt: skip
def test_all_words_of_a_model(changes, tmp_path):
    model = dataclasses.replace(MODEL, **changes)
    found = read_vectors(put(tmp_path, model.written()))
    assert found.words == WORDS
    expected = [slow_vector(word.encode(), model) for word in WORDS]
    assert np.allclose(found.vectors, expected, rtol=1e-5, atol=1e-6)


def test_wanted_words_known_and_not(tmp_path):
    found = read_vectors(put(tmp_path, MODEL.written()), wanted=[*ASKED, "lone\ud800"])
    assert found.words == tuple(sorted(set(ASKED) - {""}))
    expected = [slow_vector(word.encode(), MODEL) for word in found.words]
    assert np.allclose(found.vectors, expected, rtol=1e-5, atol=1e-6)


def test_without_ngrams_only_known_words_are_found(tmp_path):
    model = dataclasses.replace(MODEL, buckets=0, longest=0)
    assert read_vectors(put(tmp_path, model.written()), wanted=ASKED).words == ("</s>", "the")


def test_gensim_reads_the_same(tmp_path):
    path = put(tmp_path, MODEL.written())
    theirs = load_facebook_vectors(str(path))
    ours = read_vectors(path, wanted=[*WORDS, *ASKED])
    for word, vector in zip(ours.words, ours.vectors, strict=True):
        if word != "</s>":  # fastText gives the end of a sentence no n-grams; gensim does
            assert np.allclose(vector, theirs.get_vector(word), rtol=1e-5, atol=1e-6), word


def test_a_matrix_read_in_many_blocks_and_slabs(tmp_path, monkeypatch):
    path = put(tmp_path, MODEL.written())
    whole = read_vectors(path, wanted=[*WORDS, *ASKED])
    monkeypatch.setattr(fasttext_bin, "_BLOCK", 3 * 4 * MODEL.dimension)
    monkeypatch.setattr(fasttext_bin, "_SLAB", 2)
    parts = read_vectors(path, wanted=[*WORDS, *ASKED])
    assert parts.words == whole.words
    assert np.allclose(parts.vectors, whole.vectors, rtol=1e-5, atol=1e-6)


def test_words_that_are_not_utf8_keep_their_row(tmp_path):
    model = Model([b"one", b"\xff\xfe", b"two"])
    found = read_vectors(put(tmp_path, model.written()))
    assert (found.words, found.left_out) == (("one", "two"), 1)
    assert np.allclose(found.vectors[1], slow_vector(b"two", model), rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=6),
    st.integers(0, 4), st.integers(0, 6), st.integers(1, 3000),
)  # fmt: skip
def test_ngrams_are_those_of_fasttext(words, shortest, longest, buckets):
    owners, found = ngram_buckets(words, NgramRule(shortest, longest, buckets))
    model = Model([], shortest=shortest, longest=longest, buckets=buckets)
    for place, word in enumerate(words):
        expected = Counter(slow_ngram_rows(word.encode(), model) if longest else [])
        assert Counter(found[owners == place].tolist()) == expected
    assert (np.diff(owners) >= 0).all()


@pytest.mark.parametrize(("changes", "why"), [
    ({"kind": 3}, "supervised"),
    ({"labels": 2}, "supervised"),
    ({"entry_type": 1}, "supervised"),
    ({"pruned": 0}, "quantised"),
    ({"quantised": (1, 0)}, "quantised"),
    ({"quantised": (0, 1)}, "quantised"),
    ({"version": 13}, "byte 4: version 13"),
    ({"size": 2**31 - 1}, "byte 64: a file of this size cannot hold 2,147,483,647 words"),
    ({"size": -1}, "byte 64"),
    ({"rows": 2**60}, "matrix of 1,152,921,504,606,846,976 x 4"),
    ({"dimension": 0}, "byte 8"),
    ({"buckets": 50, "longest": -1}, "byte 8"),
    ({"words": [b"one", b"two", b"one"]}, "byte 118: 'one' is in the dictionary already"),
])  # fmt: skip
def test_what_is_no_model_of_words_is_told(changes, why, tmp_path):
    with pytest.raises(DataError) as told:
        read_vectors(put(tmp_path, dataclasses.replace(MODEL, **changes).written()))
    assert told.value.name == "E-VECTORS"
    assert why in told.value.what


def test_a_number_that_is_not_finite_is_told_with_its_byte(tmp_path):
    model = dataclasses.replace(MODEL, poison={(2, 3): np.nan})
    content = model.written()
    with pytest.raises(DataError) as told:
        read_vectors(put(tmp_path, content))
    offset = int(told.value.what.split("byte ")[1].split(":")[0])
    assert told.value.name == "E-NONFINITE"
    assert np.isnan(struct.unpack_from("<f", content, offset)[0])


def test_huge_sizes_are_refused_before_memory_is_taken(tmp_path):
    model = dataclasses.replace(MODEL, buckets=0, longest=0).written()
    huge = bytearray(model)
    struct.pack_into("<i", huge, 8, 2**31 - 1)  # dimension
    struct.pack_into("<i", huge, 40, 2**31 - 1)  # buckets
    with pytest.raises(DataError):
        read_vectors(put(tmp_path, bytes(huge)))


def test_a_model_is_known_by_its_first_bytes(tmp_path):
    assert is_fasttext_model(put(tmp_path, MODEL.written(), "model.vec"))
    assert not is_fasttext_model(put(tmp_path, b"1 2\na 1 2\n"))
    assert not is_fasttext_model(put(tmp_path, b""))


def test_compressed_and_foreign_files_say_what_to_do(tmp_path):
    with pytest.raises(DataError) as told:
        read_vectors(put(tmp_path, gzip.compress(MODEL.written())))
    assert "gunzip" in told.value.next
    with pytest.raises(DataError) as told:
        read_vectors(put(tmp_path, b"2 2\nword " + struct.pack("<2f", 1, 2)))
    assert told.value.name in {"E-VECTORS", "E-LINE"}


def test_damage_anywhere_is_told_or_harmless(tmp_path):
    whole, ends = MODEL.written(), Counter()
    for case in range(300):
        drawn, data = random.Random(case), bytearray(whole)
        at = drawn.randrange(200 if case % 2 else len(data))
        if case % 3 == 0:
            del data[at:]
        elif case % 3 == 1:
            data[at] = drawn.randrange(256)
        else:
            data[at:at] = drawn.randbytes(drawn.randint(1, 5))
        try:
            found = read_vectors(put(tmp_path, bytes(data)), wanted=ASKED)
            assert np.isfinite(found.vectors).all()
            ends["read"] += 1
        except ExtendError as error:
            ends[error.name] += 1
    assert ends["read"] > 10
    assert {"E-VECTORS"} <= ends.keys() <= {"read", "E-VECTORS", "E-NONFINITE", "E-LINE", "E-ENCODING"}
